/**
 * One caller as admission knows it: what runs, what waits, and in which order its
 * own jobs go. It exists while something of the caller runs or waits.
 */
import type { Priority } from '../domain/plan.ts';
import type { TurnTaker } from './turn-order.ts';
import { WaitingLine, type InLine } from './waiting-line.ts';

const PRIORITIES: readonly Priority[] = ['high', 'normal', 'low'];

export interface Job extends InLine {
  readonly caller: WaitingCaller;
  readonly priority: Priority;
  readonly bytes: number;
  /** Gives it its place to run. */
  readonly enter: () => void;
}

export class WaitingCaller implements TurnTaker {
  readonly id: string;
  running = 0;
  turn = 0;
  turnGivenAt = 0;
  turnIndex = -1;
  waiting = 0;
  waitingBytes = 0;
  /** Runs it may have at one time. */
  concurrentMax: number;
  readonly #lines = new Map<Priority, WaitingLine<Job>>();

  constructor(id: string, concurrentMax: number) {
    this.id = id;
    this.concurrentMax = concurrentMax;
  }

  get isIdle(): boolean {
    return this.running === 0 && this.waiting === 0;
  }

  /** Whether one of its jobs could begin, if there were a place. */
  get isReady(): boolean {
    return this.waiting > 0 && this.running < this.concurrentMax;
  }

  append(job: Job): void {
    let line = this.#lines.get(job.priority);
    if (!line) this.#lines.set(job.priority, (line = new WaitingLine()));
    line.append(job);
    this.waiting += 1;
    this.waitingBytes += job.bytes;
  }

  remove(job: Job): void {
    this.#lines.get(job.priority)?.remove(job);
    this.waiting -= 1;
    this.waitingBytes -= job.bytes;
  }

  first(): Job | undefined {
    for (const priority of PRIORITIES) {
      const job = this.#lines.get(priority)?.first();
      if (job) return job;
    }
    return undefined;
  }

  /** 1 for the job of this caller that goes next. */
  rankOf(job: Job): number {
    let rank = 1 + (this.#lines.get(job.priority)?.ahead(job) ?? 0);
    for (const priority of PRIORITIES.slice(0, PRIORITIES.indexOf(job.priority))) {
      rank += this.#lines.get(priority)?.size ?? 0;
    }
    return rank;
  }
}
