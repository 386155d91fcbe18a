/**
 * What the routes share, built once by server.ts.
 */
import type { Execution } from '../../domain/execution.ts';
import type { Submitted } from '../../execution/executions.ts';
import type { ErrorAnswers } from '../plugins/error-handler.ts';
import type { Exchanges } from '../exchanges.ts';
import type { HttpDependencies } from '../http-settings.ts';
import type { ProjectGate } from '../../execution/project-gate.ts';

export interface RouteContext extends HttpDependencies {
  readonly exchanges: Exchanges;
  readonly answers: ErrorAnswers;
  readonly gate: ProjectGate;
  /** How an execution is written when it is fetched, where the door it came through has a form of its own. */
  readonly resultForms: WeakMap<Submitted, (execution: Execution) => unknown>;
  readonly heartbeatMs: number;
  readonly jsonBytesMax: number;
}
