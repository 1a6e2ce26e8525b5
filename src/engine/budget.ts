/**
 * One bound on the bytes that all connections together hold between socket and store. Whoever finds it used
 * up is held back and woken in order of arrival. Nothing can deadlock on it: bytes in it are always on their
 * way to the store, so they are released without anybody's help.
 */
export class MemoryBudget {
  readonly limit: number;
  #used = 0;
  readonly #waiting = new Set<() => void>();

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  get exhausted(): boolean {
    return this.#used >= this.limit;
  }

  take(bytes: number): void {
    this.#used += bytes;
  }

  release(bytes: number): void {
    this.#used -= bytes;
    while (!this.exhausted) {
      const [first] = this.#waiting;
      if (first === undefined) return;
      this.#waiting.delete(first);
      first();
    }
  }

  /** Calls `wake` once there is room again; a second wait with the same function keeps its place. */
  wait(wake: () => void): void {
    this.#waiting.add(wake);
  }

  cancel(wake: () => void): void {
    this.#waiting.delete(wake);
  }
}
