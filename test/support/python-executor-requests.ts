/**
 * Raw requests to the python-executor door: what is sent is what the test writes,
 * what comes back is not interpreted.
 */
import { startService, type ExampleService } from './examples-service.ts';
import { formOf, metadataPart, tarPart } from './python-executor-client.ts';
import { SLIM } from './images.ts';
import { plainTar } from './python-executor-tars.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; undefined when it is none. */
  readonly body: Readonly<Record<string, unknown>>;
}

async function answerOf(pending: Promise<Response>): Promise<Answer> {
  const response = await pending;
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = {};
  }
  return { status: response.status, headers: response.headers, text, body: body as Answer['body'] };
}

/** The door of a running service. */
export class Door implements AsyncDisposable {
  readonly service: ExampleService;

  private constructor(service: ExampleService) {
    this.service = service;
  }

  static async open(settings: Readonly<Record<string, string>> = {}): Promise<Door> {
    return new Door(await startService({ PYEXEC_POOL_SIZE: '3', PYEXEC_DEFAULT_IMAGE: SLIM, ...settings }));
  }

  get url(): string {
    return this.service.url;
  }

  request(path: string, init: RequestInit = {}): Promise<Answer> {
    return answerOf(fetch(this.url + path, { redirect: 'manual', ...init }));
  }

  /** POST /api/v1/eval with this document; text is sent as it is. */
  eval(document: unknown, init: { contentType?: string; signal?: AbortSignal } = {}): Promise<Answer> {
    const text = typeof document === 'string' ? document : JSON.stringify(document);
    const { contentType = 'application/json', signal } = init;
    return this.request('/api/v1/eval', {
      method: 'POST',
      headers: { 'content-type': contentType },
      body: text,
      ...(signal ? { signal } : {}),
    });
  }

  /** POST /api/v1/exec/sync (or async) as its Python client would, with these files. */
  exec(
    files: Readonly<Record<string, string>> | Uint8Array,
    metadata: Readonly<Record<string, unknown>> = {},
    { mode = 'sync', signal }: { mode?: 'sync' | 'async'; signal?: AbortSignal } = {},
  ): Promise<Answer> {
    const tar = files instanceof Uint8Array ? files : plainTar(files);
    const form = formOf(tarPart(tar), metadataPart({ entrypoint: 'main.py', ...metadata }));
    return this.request(`/api/v1/exec/${mode}`, {
      method: 'POST',
      headers: { 'content-type': form.contentType },
      body: form.body,
      ...(signal ? { signal } : {}),
    });
  }

  /** Runs one main.py. */
  run(code: string, metadata: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    return this.exec({ 'main.py': code }, metadata);
  }

  /** The execution, fetched by its id. */
  async fetched(id: unknown): Promise<Answer> {
    return this.request(`/api/v1/executions/${String(id)}`);
  }

  /** Polls until `holds`; the last answer is returned. */
  async until(id: unknown, holds: (body: Answer['body']) => boolean, timeoutMs = 20_000): Promise<Answer> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const answer = await this.fetched(id);
      if (holds(answer.body)) return answer;
      if (performance.now() > deadline) throw new Error(`it never came to that: ${answer.text.slice(0, 2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service[Symbol.asyncDispose]();
  }
}
