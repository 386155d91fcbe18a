/** Who has the turn, by name: of those who ask for one name, each waits until the one before has left. */
export class Turns {
  readonly #taken = new Map<string, Promise<undefined>>();

  /** Resolves, with the way to leave, when nobody else of this name has the turn. */
  async of(name: string): Promise<() => void> {
    while (this.#taken.has(name)) await this.#taken.get(name);
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#taken.set(name, promise);
    return () => {
      this.#taken.delete(name);
      resolve(undefined);
    };
  }
}
