/**
 * What a request repeated under the same key means: the execution it already is.
 *
 * A program starts at most once for a key, unless the execution was interrupted, or
 * ended before its program started and not because its caller wanted so: it failed on
 * our side, waited for too long, or the service shut down. Then the key may run it again.
 */
import { createHash } from 'node:crypto';
import { ServiceError } from '../domain/errors.ts';
import type { DoorForm, ExecutionResult } from '../domain/execution.ts';
import type { RunRequest } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';
import type { IdempotencyKey } from '../store/execution-store.ts';

/** The key with what is asked for under it: the program, its options and the door. */
export function keyFor(key: string, request: RunRequest, project: Project, form: DoorForm | undefined): IdempotencyKey {
  const asked = canonical({ door: form?.door ?? '', project: project.sha256, request });
  return { key, request: createHash('sha256').update(asked).digest('hex') };
}

/** @throws {ServiceError} idempotency_key_reused when the key stands for another request. */
export function refuseOtherRequest(known: { readonly request: string }, { request }: IdempotencyKey): void {
  if (known.request === request) return;
  throw new ServiceError('idempotency_key_reused', 'This Idempotency-Key was used for another request.');
}

/** Whether a key whose execution came to this may run its program again. Pure. */
export function mayRunAgain({ outcome, started_at }: ExecutionResult): boolean {
  if (outcome?.kind === 'interrupted' || outcome?.kind === 'queue_timeout') return true;
  if (started_at !== undefined) return false;
  return outcome?.kind === 'infrastructure_error' || (outcome?.kind === 'cancelled' && outcome.reason === 'shutdown');
}

/** JSON in which the order of fields does not matter, and bytes are their hash. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, part: unknown) => {
    if (part instanceof Uint8Array) return createHash('sha256').update(part).digest('hex');
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
