/**
 * What the routes share, built once by server.ts.
 */
import type { DoorForm, Execution } from '../../domain/execution.ts';
import type { ErrorAnswers } from '../plugins/error-handler.ts';
import type { Exchanges } from '../exchanges.ts';
import type { HttpDependencies } from '../http-settings.ts';
import type { ProjectGate } from '../../execution/project-gate.ts';

export interface RouteContext extends HttpDependencies {
  readonly exchanges: Exchanges;
  readonly answers: ErrorAnswers;
  readonly gate: ProjectGate;
  /** How an execution is written when it is fetched, by the door it came through. */
  readonly resultForms: Map<string, (execution: Execution, facts: NonNullable<DoorForm['facts']>) => unknown>;
  readonly heartbeatMs: number;
  readonly jsonBytesMax: number;
}
