/**
 * The audit log as the server writes it: lines wait for one another, not the runs
 * for each line.
 *
 * A line that cannot be written is kept and tried again, up to a bound; beyond it the
 * oldest are given up and counted, and the log says how many (`gap`). Who must know
 * that its line is there (PYEXEC_AUDIT=required) waits for it, and is told when it
 * is not: that line is then not written later.
 */
import type { AuditChain, AuditEntry } from './audit-chain.ts';

const WAITING_MAX = 10_000;
const BATCH_MAX = 256;
const RETRY_MS = 1_000;

interface Waiting {
  readonly entry: AuditEntry;
  readonly settle?: { readonly written: () => void; readonly failed: (error: unknown) => void };
}

export interface AuditLogOptions {
  readonly chain: Pick<AuditChain, 'append'>;
  /** Called for each attempt that failed, with the lines that wait. */
  readonly onFailure: (error: unknown, waiting: number) => void;
}

export class AuditLog {
  readonly #options: AuditLogOptions;
  #waiting: Waiting[] = [];
  #lost = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: AuditLogOptions) {
    this.#options = options;
  }

  /** Lines that are not written yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Writes an entry soon. */
  note(entry: AuditEntry): void {
    this.#add({ entry: { time: new Date().toISOString(), ...entry } });
  }

  /** Resolves when the entry is written. @throws what kept it from being written; it then never is. */
  async write(entry: AuditEntry): Promise<void> {
    await new Promise<void>((written, failed) => {
      this.#add({ entry: { time: new Date().toISOString(), ...entry }, settle: { written, failed } });
    });
  }

  /** Writes what waits; what cannot be written is lost. */
  close(): void {
    while (this.#waiting.length > 0 && this.#flush());
    this.#clearTimer();
  }

  #add(waiting: Waiting): void {
    this.#waiting.push(waiting);
    if (this.#waiting.length > WAITING_MAX) {
      this.#waiting.shift()?.settle?.failed(new Error('the audit log has fallen behind'));
      this.#lost += 1;
    }
    // One that must be known at once does not wait for the next attempt.
    if (waiting.settle) this.#clearTimer();
    this.#timer ??= setTimeout(() => this.#flush(), 0);
  }

  #clearTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** @returns whether it was written. */
  #flush(): boolean {
    this.#clearTimer();
    const batch = this.#waiting.slice(0, BATCH_MAX);
    const gap: AuditEntry[] = this.#lost > 0 ? [{ kind: 'gap', lost_lines: this.#lost }] : [];
    try {
      this.#options.chain.append([...gap, ...batch.map(({ entry }) => entry)]);
    } catch (error) {
      for (const { settle } of this.#waiting) settle?.failed(error);
      this.#waiting = this.#waiting.filter(({ settle }) => settle === undefined);
      this.#options.onFailure(error, this.#waiting.length);
      if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#flush(), RETRY_MS).unref();
      return false;
    }
    this.#lost = 0;
    this.#waiting = this.#waiting.slice(batch.length);
    for (const { settle } of batch) settle?.written();
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#flush(), 0);
    return true;
  }
}
