/**
 * The answers of the source, kept by list of packages.
 *
 * A young answer is given at once. One that is due is given at once, too, and asked
 * for anew beside it. One that is too old, or none, is waited for. However many ask
 * for the same list, the source is asked once; and a source that failed is left alone
 * for a moment, so that nobody waits for it in a row.
 */
import { createHash } from 'node:crypto';
import type { AdvisoryAnswer, AdvisoryTable, KeptAnswer } from '../../domain/advisories.ts';
import { SourceFailure } from './osv-source.ts';

export interface AdvisoryBookOptions {
  readonly ask: (packages: readonly string[]) => Promise<AdvisoryAnswer>;
  /** Which source it is: answers of one are not those of another. */
  readonly source: string;
  readonly table: AdvisoryTable;
  /** From this age on an answer is asked for anew, in milliseconds. */
  readonly refreshMs: number;
  /** Up to this age an answer is good enough meanwhile, in milliseconds. */
  readonly ageMsMax: number;
  /** Lists of packages whose answers are kept. */
  readonly keptMax?: number;
  /** How long a source that failed is left alone, in milliseconds. */
  readonly pauseMs?: number;
  readonly observe: (event: AskedEvent) => void;
}

/** The source was asked. */
export interface AskedEvent {
  /** Absent: it answered. */
  readonly failure?: unknown;
  readonly durationMs: number;
}

const KEPT_MAX = 1000;
const KEPT_CHARACTERS_MAX = 32 * 2 ** 20;
const PAUSE_MS = 5000;
/** Faults that are about the source, whatever it is asked. */
const GENERAL: ReadonlySet<string> = new Set(['unreachable', 'refused', 'timed_out', 'redirected']);

interface Pause {
  readonly failure: Error;
  readonly until: number;
}

export class AdvisoryBook {
  readonly #options: AdvisoryBookOptions;
  /** The one used longest ago first. */
  readonly #answers = new Map<string, KeptAnswer>();
  /** Characters of each. */
  readonly #sizes = new Map<string, number>();
  readonly #asking = new Map<string, Promise<KeptAnswer>>();
  readonly #pauses = new Map<string, Pause>();
  #pause: Pause | undefined;

  constructor(options: AdvisoryBookOptions) {
    this.#options = options;
    for (const kept of options.table.load(options.keptMax ?? KEPT_MAX).toReversed()) {
      this.#answers.set(kept.key, kept);
      this.#sizes.set(kept.key, sizeOf(kept));
    }
  }

  /**
   * A good enough answer for these packages, `name==version`.
   * @throws what the source failed with, when there is none.
   */
  async answerFor(packages: readonly string[]): Promise<KeptAnswer> {
    return this.keptFor(packages) ?? this.#ask(this.#keyOf(packages), packages);
  }

  /** The same, where nobody has to be waited for. */
  keptFor(packages: readonly string[]): KeptAnswer | undefined {
    const { ageMsMax, refreshMs } = this.#options;
    const key = this.#keyOf(packages);
    const kept = this.#answers.get(key);
    const age = kept ? ageOf(kept) : Infinity;
    if (!kept || age > ageMsMax) return undefined;
    this.#answers.delete(key);
    this.#answers.set(key, kept);
    if (age > refreshMs || isPartial(kept)) void this.#ask(key, packages).catch(() => undefined);
    return kept;
  }

  /** What is kept, however old it is. */
  anyFor(packages: readonly string[]): KeptAnswer | undefined {
    return this.#answers.get(this.#keyOf(packages));
  }

  /** Resolves when nothing is asked any more. */
  async settled(): Promise<void> {
    while (this.#asking.size > 0) await Promise.allSettled(this.#asking.values());
  }

  #keyOf(packages: readonly string[]): string {
    return createHash('sha256')
      .update(JSON.stringify([this.#options.source, packages.toSorted()]))
      .digest('hex');
  }

  #ask(key: string, packages: readonly string[]): Promise<KeptAnswer> {
    const running = this.#asking.get(key);
    if (running) return running;
    const pause = [this.#pause, this.#pauses.get(key)].find((each) => each && each.until > performance.now());
    if (pause) return Promise.reject(pause.failure);
    const asking = this.#asked(key, packages).finally(() => this.#asking.delete(key));
    this.#asking.set(key, asking);
    return asking;
  }

  async #asked(key: string, packages: readonly string[]): Promise<KeptAnswer> {
    const { ask, observe, pauseMs = PAUSE_MS } = this.#options;
    const started = performance.now();
    try {
      // What is published while it answers is not in the answer.
      const checkedMs = Date.now();
      const kept = { key, checkedMs, answer: await ask(packages) };
      this.#pause = undefined;
      // Not at once again, where the rest of it is missing.
      if (isPartial(kept)) this.#pauseKey(key, new SourceFailure('invalid', 'part of the answer is missing'));
      else this.#pauses.delete(key);
      this.#keep(kept);
      observe({ durationMs: performance.now() - started });
      return kept;
    } catch (error) {
      const failure = error instanceof Error ? error : new Error('the source could not be asked', { cause: error });
      const isGeneral = failure instanceof SourceFailure && GENERAL.has(failure.fault);
      if (isGeneral) this.#pause = { failure, until: performance.now() + pauseMs };
      else this.#pauseKey(key, failure);
      observe({ failure, durationMs: performance.now() - started });
      throw failure;
    }
  }

  #pauseKey(key: string, failure: Error): void {
    const now = performance.now();
    for (const [other, { until }] of this.#pauses) if (until <= now) this.#pauses.delete(other);
    this.#pauses.set(key, { failure, until: now + (this.#options.pauseMs ?? PAUSE_MS) });
  }

  #keep(kept: KeptAnswer): void {
    const { keptMax = KEPT_MAX, table } = this.#options;
    this.#answers.delete(kept.key);
    this.#answers.set(kept.key, kept);
    this.#sizes.set(kept.key, sizeOf(kept));
    table.put(kept);
    let characters = [...this.#sizes.values()].reduce((sum, size) => sum + size, 0);
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= keptMax && characters <= KEPT_CHARACTERS_MAX) break;
      characters -= this.#sizes.get(oldest) ?? 0;
      this.#answers.delete(oldest);
      this.#sizes.delete(oldest);
      table.remove(oldest);
    }
  }
}

/** Milliseconds; without end for one from the future, whose age nobody knows. */
function ageOf({ checkedMs }: KeptAnswer): number {
  const age = Date.now() - checkedMs;
  return age >= 0 ? age : Infinity;
}

function sizeOf({ answer }: KeptAnswer): number {
  return JSON.stringify(answer).length;
}

function isPartial({ answer }: KeptAnswer): boolean {
  return answer.advisories.some(({ details }) => details === undefined);
}
