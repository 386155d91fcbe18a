/**
 * One line of jobs: first come, first served, with leaving from anywhere and the
 * number of those ahead, each in logarithmic time.
 *
 * A place that became free stays in the array until the line is closed up, which
 * happens when the array is full; so a step costs little on average.
 */
import { CountTree } from './count-tree.ts';

const CAPACITY_MIN = 8;

export interface InLine {
  /** Where it stands; belongs to the line. */
  lineIndex: number;
}

export class WaitingLine<Job extends InLine> {
  #jobs: (Job | undefined)[] = [];
  #present = new CountTree(CAPACITY_MIN);
  #capacity = CAPACITY_MIN;
  #head = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  append(job: Job): void {
    if (this.#jobs.length === this.#capacity) this.#closeUp();
    this.#put(job);
    this.#size += 1;
  }

  /** Takes out a job that is in this line. */
  remove(job: Job): void {
    this.#jobs[job.lineIndex] = undefined;
    this.#present.add(job.lineIndex, -1);
    this.#size -= 1;
    while (this.#head < this.#jobs.length && this.#jobs[this.#head] === undefined) this.#head += 1;
  }

  first(): Job | undefined {
    return this.#jobs[this.#head];
  }

  /** How many stand before a job that is in this line. */
  ahead(job: Job): number {
    return this.#present.upTo(job.lineIndex - 1);
  }

  #put(job: Job): void {
    job.lineIndex = this.#jobs.length;
    this.#jobs.push(job);
    this.#present.add(job.lineIndex, 1);
  }

  #closeUp(): void {
    const left = this.#jobs.filter((job) => job !== undefined);
    this.#capacity = Math.max(CAPACITY_MIN, left.length * 2);
    this.#present = new CountTree(this.#capacity);
    this.#jobs = [];
    this.#head = 0;
    for (const job of left) this.#put(job);
  }
}
