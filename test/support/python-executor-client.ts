/**
 * A client of python-executor, written against its contract and against nothing of
 * ours: the requests its Python client sends, byte for byte in their shape, and the
 * ways it reads the answers.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';

type Bytes = Uint8Array<ArrayBuffer>;

/** One part of a form; a part with a file name is a file to python-executor, all else is a field. */
export interface Part {
  readonly name: string;
  readonly content: string | Uint8Array;
  readonly filename?: string;
  readonly type?: string;
}

export interface Form {
  readonly contentType: string;
  readonly body: Bytes;
}

export function formOf(...parts: readonly Part[]): Form {
  const boundary = randomUUID().replaceAll('-', '');
  const pieces: Uint8Array[] = [];
  for (const { name, content, filename, type } of parts) {
    const file = filename === undefined ? '' : `; filename="${filename}"`;
    const contentType = type === undefined ? '' : `Content-Type: ${type}\r\n`;
    pieces.push(
      Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n${contentType}\r\n`),
      Buffer.from(content as Uint8Array),
      Buffer.from('\r\n'),
    );
  }
  pieces.push(Buffer.from(`--${boundary}--\r\n`));
  return { contentType: `multipart/form-data; boundary=${boundary}`, body: Buffer.concat(pieces) };
}

export const tarPart = (tar: Uint8Array): Part => ({
  name: 'tar',
  filename: 'code.tar',
  type: 'application/octet-stream',
  content: tar,
});

/** As its Python client sends it; its Go client and curl leave the type out. */
export const metadataPart = (metadata: unknown, type: string | undefined = 'application/json'): Part => ({
  name: 'metadata',
  content: typeof metadata === 'string' ? metadata : JSON.stringify(metadata),
  ...(type === undefined ? {} : { type }),
});

const CONFIG_DEFAULTS = {
  timeout_seconds: 300,
  network_disabled: true,
  memory_mb: 1024,
  disk_mb: 2048,
  cpu_shares: 1024,
};

export type Config = Partial<typeof CONFIG_DEFAULTS>;

export interface Metadata {
  readonly entrypoint: string;
  readonly docker_image?: string;
  readonly requirements_txt?: string;
  readonly pre_commands?: readonly string[];
  readonly stdin?: string;
  readonly env_vars?: readonly string[];
  readonly script_args?: readonly string[];
  /** Where any field is given, all five are sent. */
  readonly config?: Config;
}

export interface EvalOptions {
  readonly code?: string;
  readonly files?: readonly { readonly name: string; readonly content: string }[];
  readonly entrypoint?: string;
  readonly stdin?: string;
  readonly python_version?: string;
  readonly eval_last_expr?: boolean;
  readonly timeout_seconds?: number;
}

/** What datetime.fromisoformat takes from Python 3.7 to 3.10. */
const OLD_ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}(?:\d{3})?)?$/;

const time = z.string().refine((text) => OLD_ISO.test(text.replace(/Z$/, '')), 'datetime.fromisoformat refuses it');

/** What its clients read: two fields they cannot do without, types they cannot do otherwise with. */
const resultSchema = z.looseObject({
  execution_id: z.string().regex(/^exe_[0-9a-f-]{36}$/),
  status: z.enum(['pending', 'running', 'completed', 'failed', 'killed']),
  stdout: z.string().optional(),
  stderr: z.string().optional(),
  exit_code: z.int(),
  error: z.string().optional(),
  error_type: z.string().optional(),
  error_line: z.int().positive().optional(),
  started_at: time.optional(),
  finished_at: time.optional(),
  duration_ms: z.int().optional(),
  result: z.string().optional(),
});

export type Result = z.output<typeof resultSchema>;

const ENDED = new Set(['completed', 'failed', 'killed']);

/** raise_for_status: the sentence of the server is not in it. */
export class HttpStatusError extends Error {
  override readonly name = 'HttpStatusError';
  readonly status: number;

  constructor(status: number) {
    super(`${String(status)} for this request`);
    this.status = status;
  }
}

export class WaitTimeoutError extends Error {
  override readonly name = 'WaitTimeoutError';
}

export class PythonExecutorClient {
  readonly #server: string;

  constructor(server: string) {
    this.#server = server;
  }

  async executeSync(tar: Uint8Array, metadata: Metadata): Promise<Result> {
    return resultSchema.parse(await this.#submit('sync', tar, metadata));
  }

  async executeAsync(tar: Uint8Array, metadata: Metadata): Promise<string> {
    return z.looseObject({ execution_id: z.string() }).parse(await this.#submit('async', tar, metadata)).execution_id;
  }

  async get(id: string): Promise<Result> {
    return resultSchema.parse(await this.#json(`/api/v1/executions/${id}`, {}));
  }

  /** Any 2xx is success; what it says is not read. */
  async kill(id: string): Promise<void> {
    await this.#json(`/api/v1/executions/${id}`, { method: 'DELETE' });
  }

  /** The first look is at once, the next ones an interval later each. */
  async waitForCompletion(
    id: string,
    { pollIntervalMs = 2000, maxWaitMs }: { pollIntervalMs?: number; maxWaitMs?: number } = {},
  ): Promise<Result> {
    const startedAt = performance.now();
    for (;;) {
      const result = await this.get(id);
      if (ENDED.has(result.status)) return result;
      if (maxWaitMs !== undefined && performance.now() - startedAt >= maxWaitMs) {
        throw new WaitTimeoutError(`not ended after ${String(maxWaitMs)} ms`);
      }
      await sleep(pollIntervalMs);
    }
  }

  async eval({ timeout_seconds, eval_last_expr = true, ...rest }: EvalOptions): Promise<Result> {
    const body = { ...rest, eval_last_expr, ...(timeout_seconds === undefined ? {} : { config: { timeout_seconds } }) };
    const answer = await this.#json('/api/v1/eval', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return resultSchema.parse(answer);
  }

  #submit(mode: 'sync' | 'async', tar: Uint8Array, { config, ...metadata }: Metadata): Promise<unknown> {
    // What is empty is left out, the entry point never.
    const sent = Object.fromEntries(
      Object.entries(metadata).filter(([name, value]) => name === 'entrypoint' || value.length > 0),
    );
    const form = formOf(
      tarPart(tar),
      metadataPart({ ...sent, ...(config ? { config: { ...CONFIG_DEFAULTS, ...config } } : {}) }),
    );
    return this.#json(`/api/v1/exec/${mode}`, {
      method: 'POST',
      headers: { 'content-type': form.contentType },
      body: form.body,
    });
  }

  async #json(path: string, init: RequestInit): Promise<unknown> {
    const response = await fetch(this.#server + path, init);
    const text = await response.text();
    if (!response.ok) throw new HttpStatusError(response.status);
    return JSON.parse(text);
  }
}
