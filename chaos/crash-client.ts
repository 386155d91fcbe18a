/**
 * A client that submits in every way there is, and writes down every word it is told.
 * That the server dies under it is what it expects.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/** What an answer says of an execution. */
export interface Seen {
  readonly execution_id: string;
  readonly status?: string;
  readonly exit_code?: number;
  /** Absent: its program never began. */
  readonly started_at?: string;
  readonly outcome?: { readonly kind: string; readonly reason?: string };
  readonly stdout?: string;
}

/** An execution somebody was told of. */
export interface Answered {
  readonly id: string;
  readonly key: string | undefined;
  /** What its program prints when it is let. */
  readonly prints: string;
  /** Every answer that told how it ended. */
  readonly ends: Seen[];
  /** The events that were streamed, as they came. */
  readonly events: Map<number, string>;
  /** Whether its end is to be told by a webhook. */
  readonly isTold: boolean;
}

interface Program {
  readonly code: string;
  readonly prints: string;
  readonly webhook: Webhook | undefined;
}

/** Whom a request names to be told. */
export interface Webhook {
  readonly url: string;
  readonly secret: string;
}

const TOLD = 0.5;

export class Client {
  readonly #url: string;
  readonly #answered: Map<string, Answered>;
  readonly #webhook: Webhook;
  readonly #next: () => number;
  /** Sentences about answers there is no reason for. */
  readonly wrong = new Set<string>();
  #keyed: { readonly key: string; readonly program: Program } | undefined;

  constructor(url: string, answered: Map<string, Answered>, webhook: Webhook, next: () => number) {
    this.#url = url;
    this.#answered = answered;
    this.#webhook = webhook;
    this.#next = next;
  }

  /** Works until `stop`. */
  async work(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await this.#turn(stop).catch(() => undefined);
      await sleep(this.#next() * 20);
    }
  }

  #program(): Program {
    const lines = Math.floor(this.#next() * 40);
    const pauseS = this.#next() < 0.3 ? 0.03 : 0;
    const tag = randomUUID();
    // Now and then more than is kept in a row of the database.
    const width = this.#next() < 0.1 ? 5000 : 10;
    const prints = Array.from({ length: lines }, (_, n) => `${tag} ${String(n)} ${'x'.repeat(width)}\n`).join('');
    const code = `import time\nfor n in range(${String(lines)}):\n    print("${tag}", n, "x" * ${String(width)})\n    time.sleep(${String(pauseS)})\n`;
    return { code, prints, webhook: this.#next() < TOLD ? this.#webhook : undefined };
  }

  async #turn(stop: AbortSignal): Promise<void> {
    const way = this.#next();
    if (way < 0.1) return this.#fetchOne(stop);
    if (way < 0.3) return this.#submitKeyed(stop);
    const program = this.#program();
    if (way < 0.5) return this.#stream(program, stop);
    const isAsync = way < 0.75;
    const response = await this.#post(program, stop, isAsync ? { prefer: 'respond-async' } : {});
    if (response.status === 200 || response.status === 202)
      this.#note((await response.json()) as Seen, program, undefined);
  }

  /** Sends the same request under one key until it is answered, over crashes. */
  async #submitKeyed(stop: AbortSignal): Promise<void> {
    this.#keyed ??= { key: randomUUID(), program: this.#program() };
    const { key, program } = this.#keyed;
    const headers = this.#next() < 0.5 ? { prefer: 'respond-async' } : {};
    const response = await this.#post(program, stop, { 'idempotency-key': key, ...headers });
    if (response.status !== 200 && response.status !== 202) return;
    const seen = (await response.json()) as Seen;
    this.#note(seen, program, key);
    if (seen.outcome?.kind === 'exited' && this.#next() < 0.5) this.#keyed = undefined;
  }

  async #stream(program: Program, stop: AbortSignal): Promise<void> {
    const response = await this.#post(program, stop, { accept: 'application/x-ndjson' });
    const id = response.headers.get('x-execution-id');
    if (id === null) return;
    const { events, ends } = this.#note({ execution_id: id }, program, undefined);
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of response.body ?? []) {
      const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const event = JSON.parse(line) as Seen & { seq?: number; type: string };
        if (event.seq !== undefined) events.set(event.seq, line);
        if (event.type === 'result' || event.type === 'error') {
          const { status, exit_code, outcome } = event;
          ends.push({
            execution_id: id,
            ...(status !== undefined && { status }),
            ...(exit_code !== undefined && { exit_code }),
            ...(outcome && { outcome }),
          });
        }
      }
    }
  }

  async #fetchOne(stop: AbortSignal): Promise<void> {
    const all = [...this.#answered.values()];
    const one = all[Math.floor(this.#next() * all.length)];
    if (!one) return;
    const response = await fetch(`${this.#url}/api/v1/executions/${one.id}`, { signal: stop });
    if (response.status !== 200) return;
    const seen = (await response.json()) as Seen;
    if (seen.outcome) one.ends.push(seen);
  }

  async #post(
    { code, webhook }: Program,
    stop: AbortSignal,
    headers: Readonly<Record<string, string>>,
  ): Promise<Response> {
    const response = await fetch(`${this.#url}/api/v1/exec`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ code, ...(webhook ? { webhook } : {}) }),
      signal: stop,
    });
    // Nothing is broken but that it is killed, and then it answers nothing.
    if (!response.ok)
      this.wrong.add(`answered ${String(response.status)} ${response.headers.get('x-error-code') ?? ''}`);
    return response;
  }

  #note(seen: Seen, { prints, webhook }: Program, key: string | undefined): Answered {
    const id = seen.execution_id;
    const isTold = webhook !== undefined;
    const answered: Answered = this.#answered.get(id) ?? { id, key, prints, ends: [], events: new Map(), isTold };
    this.#answered.set(id, answered);
    if (seen.outcome) answered.ends.push(seen);
    return answered;
  }
}
