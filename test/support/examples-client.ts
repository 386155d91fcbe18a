/**
 * Requests of the examples' tests: a tar and query parameters out, an execution or its events back.
 */
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import type { ExecutionEvent } from '../../src/domain/events.ts';
import type { Execution } from '../../src/domain/execution.ts';

export type Query = Readonly<Record<string, string | readonly string[]>>;

function target(server: string, query: Query): string {
  const parameters = Object.entries(query).flatMap(([name, value]) =>
    (typeof value === 'string' ? [value] : value).map((item): [string, string] => [name, item]),
  );
  return `${server}/api/v1/exec?${new URLSearchParams(parameters).toString()}`;
}

/** Posts a tar (gzip or not) and waits for the execution. */
export async function runTar(server: string, tar: Uint8Array<ArrayBuffer>, query: Query = {}): Promise<Execution> {
  const isGzip = tar[0] === 0x1f;
  const response = await fetch(target(server, query), {
    method: 'POST',
    headers: { 'content-type': isGzip ? 'application/gzip' : 'application/x-tar', accept: 'application/json' },
    body: tar,
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`answered ${String(response.status)}: ${text}`);
  return JSON.parse(text) as Execution;
}

/** Posts a tar with its options as a multipart form, as `curl -F` does. */
export async function runForm(
  server: string,
  tar: Uint8Array<ArrayBuffer>,
  metadata: Readonly<Record<string, unknown>>,
): Promise<Execution> {
  const form = new FormData();
  form.set('tar', new Blob([tar]), 'project.tar');
  form.set('metadata', JSON.stringify(metadata));
  const response = await fetch(`${server}/api/v1/exec`, { method: 'POST', body: form });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`answered ${String(response.status)}: ${text}`);
  return JSON.parse(text) as Execution;
}

export interface Arrival {
  readonly event: ExecutionEvent;
  /** When it was read here, in ms since the request was sent. */
  readonly atMs: number;
}

/** Posts a tar and follows the run's events as they arrive. */
export async function* streamTar(
  server: string,
  tar: Uint8Array<ArrayBuffer>,
  query: Query = {},
): AsyncGenerator<Arrival> {
  const sentAt = performance.now();
  const response = await fetch(target(server, query), {
    method: 'POST',
    headers: { 'content-type': 'application/x-tar', accept: 'application/x-ndjson' },
    body: tar,
  });
  if (response.status !== 200 || !response.body) {
    throw new Error(`answered ${String(response.status)}: ${await response.text()}`);
  }
  for await (const line of createInterface({ input: Readable.fromWeb(response.body) })) {
    const event = JSON.parse(line) as ExecutionEvent | { readonly type: 'heartbeat' };
    if (event.type !== 'heartbeat') yield { event, atMs: performance.now() - sentAt };
  }
}
