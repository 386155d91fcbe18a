/** How a run ended that something was thrown at, as callers may know it. */
import { ServiceError } from '../domain/errors.ts';
import type { Outcome } from '../domain/outcome.ts';
import { SandboxBroken } from '../sandbox/sandbox.ts';
import type { ExecutionRecord } from './execution-record.ts';

export function failureOutcome(error: unknown, record: ExecutionRecord): Outcome {
  if (record.cancellation.aborted) return { kind: 'cancelled', reason: record.cancelReason };
  if (error instanceof ServiceError) {
    const { queueTimeoutMs } = record.plan;
    if (error.code === 'queue_timeout' && queueTimeoutMs !== undefined) {
      return { kind: 'queue_timeout', limit_ms: queueTimeoutMs };
    }
    return { kind: 'infrastructure_error', code: error.code, detail: error.message };
  }
  if (error instanceof SandboxBroken) {
    return { kind: 'infrastructure_error', code: 'sandbox_failed', detail: 'The sandbox broke while the program ran.' };
  }
  return { kind: 'infrastructure_error', code: 'internal', detail: 'The service failed while it ran the program.' };
}
