/**
 * What a run tells while it happens, as it goes over the wire.
 *
 * An execution's events are numbered from 1 without a gap (but before the end of one
 * that was interrupted, where events may have been lost), and end in exactly
 * one terminal event: `result` (the run ended; see outcome.ts) or `error` (the
 * service failed). Nothing follows it.
 */
import type { Artifact } from './artifacts.ts';
import type { Display } from './displays.ts';
import type { InputResult } from './inputs.ts';
import type { ExecutionResult, QueuePlace } from './execution.ts';

export type OutputStream = 'stdout' | 'stderr';

export type EventBody =
  | {
      readonly type: 'status';
      readonly status: 'pending' | 'running';
      /** Where it stood when it was accepted, if it had to wait. */
      readonly queue?: QueuePlace;
    }
  | {
      readonly type: OutputStream;
      /** The text, or base64 of the bytes when `encoding` says so. */
      readonly data: string;
      readonly encoding?: 'base64';
    }
  | { readonly type: 'truncated'; readonly stream: OutputStream; readonly omitted_bytes: number }
  | ({ readonly type: 'display' } & Display)
  /** One of many inputs ended: in their order, each once. */
  | ({ readonly type: 'input_result' } & InputResult)
  /** A file the run left; its content is fetched, or in the result. */
  | ({ readonly type: 'artifact' } & Artifact)
  | ({ readonly type: 'result' } & ExecutionResult)
  | ({ readonly type: 'error'; readonly code: string; readonly detail: string } & ExecutionResult);

export type ExecutionEvent = {
  /** 1, 2, 3, ... within the execution. */
  readonly seq: number;
  /** Milliseconds since the execution was accepted, monotonic. */
  readonly t_ms: number;
} & EventBody;

export function isTerminal(event: ExecutionEvent): boolean {
  return event.type === 'result' || event.type === 'error';
}
