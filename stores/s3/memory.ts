/** Bytes that wait for the rest of their part. */
export interface Holder {
  readonly heldBytes: number;
  /** Sends them off as they are, so that their memory comes back without anybody else's help. */
  spill(): void;
}

/**
 * One bound on the bytes that all uploads together hold in memory. Who finds it used up waits; and as long as what is
 * on its way to the bucket would not make room, the largest of what only waits for more is sent off too. So nobody waits
 * for a client.
 */
export class PartMemory {
  readonly limit: number;
  #used = 0;
  #leaving = 0;
  readonly #holders = new Set<Holder>();
  #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  add(holder: Holder): void {
    this.#holders.add(holder);
  }

  remove(holder: Holder): void {
    this.#holders.delete(holder);
  }

  take(bytes: number): void {
    this.#used += bytes;
  }

  /** They are on their way to the bucket. */
  leave(bytes: number): void {
    this.#leaving += bytes;
  }

  /** … and have got there, or never will. */
  release(bytes: number, wasLeaving = true): void {
    this.#used -= bytes;
    if (wasLeaving) this.#leaving -= bytes;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Resolves when no more is held than may be. */
  async room(): Promise<void> {
    while (this.#used > this.limit) {
      this.#makeRoom();
      if (this.#leaving === 0) return; // nothing more can be done
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #makeRoom(): void {
    while (this.#used - this.#leaving > this.limit) {
      let largest: Holder | undefined;
      for (const holder of this.#holders) {
        if (holder.heldBytes > (largest?.heldBytes ?? 0)) largest = holder;
      }
      if (largest === undefined) return;
      largest.spill();
    }
  }
}

/** So many at a time; the others in turn. */
export class Permits {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
