/**
 * What the routes share, built once by server.ts.
 */
import type { ErrorAnswers } from '../plugins/error-handler.ts';
import type { Exchanges } from '../exchanges.ts';
import type { HttpDependencies } from '../http-settings.ts';
import type { ProjectGate } from '../project-gate.ts';

export interface RouteContext extends HttpDependencies {
  readonly exchanges: Exchanges;
  readonly answers: ErrorAnswers;
  readonly gate: ProjectGate;
  readonly heartbeatMs: number;
  readonly stallTimeoutMs: number;
  readonly jsonBytesMax: number;
}
