/**
 * The callers whose turn it may be, the next one first; adding, leaving and a
 * change of standing each in logarithmic time (a binary heap that knows where
 * everybody is).
 *
 * Next is who has the fewest runs in progress; among those who has the earliest
 * turn; among those who was given it first.
 */
export interface TurnTaker {
  readonly running: number;
  /** Number of the round of turns it belongs to. */
  readonly turn: number;
  /** Counts up; tells apart turns of one round. */
  readonly turnGivenAt: number;
  /** Where it stands, -1 outside; belongs to the order. */
  turnIndex: number;
}

function isBefore(one: TurnTaker, other: TurnTaker): boolean {
  if (one.running !== other.running) return one.running < other.running;
  if (one.turn !== other.turn) return one.turn < other.turn;
  return one.turnGivenAt < other.turnGivenAt;
}

export class TurnOrder<Taker extends TurnTaker> {
  readonly #heap: Taker[] = [];

  first(): Taker | undefined {
    return this.#heap[0];
  }

  /** Puts the taker where it belongs now, whether it was in or not. */
  place(taker: Taker): void {
    if (taker.turnIndex < 0) {
      taker.turnIndex = this.#heap.length;
      this.#heap.push(taker);
    }
    this.#settle(taker);
  }

  /** Takes the taker out, if it is in. */
  remove(taker: Taker): void {
    const index = taker.turnIndex;
    if (index < 0) return;
    taker.turnIndex = -1;
    const last = this.#heap.pop();
    if (!last || last === taker) return;
    this.#set(index, last);
    this.#settle(last);
  }

  #settle(taker: Taker): void {
    for (let parent = this.#at((taker.turnIndex - 1) >> 1); parent && isBefore(taker, parent);) {
      this.#swap(taker, parent);
      parent = this.#at((taker.turnIndex - 1) >> 1);
    }
    for (;;) {
      const left = this.#at(2 * taker.turnIndex + 1);
      const right = this.#at(2 * taker.turnIndex + 2);
      const child = left && right && isBefore(right, left) ? right : left;
      if (!child || !isBefore(child, taker)) return;
      this.#swap(taker, child);
    }
  }

  #at(index: number): Taker | undefined {
    return index < 0 ? undefined : this.#heap[index];
  }

  #swap(one: Taker, other: Taker): void {
    const index = one.turnIndex;
    this.#set(other.turnIndex, one);
    this.#set(index, other);
  }

  #set(index: number, taker: Taker): void {
    this.#heap[index] = taker;
    taker.turnIndex = index;
  }
}
