/**
 * One unprivileged uid per live container: per-uid kernel objects (keyrings, user
 * limits) and signals then never cross between runs.
 */
export const FIRST_UID = 10_000;

export class UidAllocator {
  readonly #free: number[] = [];
  readonly #taken = new Set<number>();
  #next = FIRST_UID;

  /** A uid no other live container has. The lowest free one, so that image passwd entries cover it. */
  take(): number {
    const uid = this.#free.pop() ?? this.#next++;
    this.#taken.add(uid);
    return uid;
  }

  /** Gives a uid back once its container is gone. Giving back twice has no effect. */
  release(uid: number): void {
    if (!this.#taken.delete(uid)) return;
    this.#free.push(uid);
    this.#free.sort((a, b) => b - a);
  }
}
