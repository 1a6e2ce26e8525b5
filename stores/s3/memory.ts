/** Bytes that wait for the rest of their parts. */
export interface Holder {
  readonly heldBytes: number;
  /** How many these parts still lack. */
  readonly missingBytes: number;
  /** When it was given some last, in milliseconds since the epoch. */
  readonly activeAt: number;
  /** Sends off what it holds as it is, so that the memory comes back without anybody else's help. */
  spill(): void;
}

interface Waiter {
  readonly holder: Holder;
  readonly bytes: number;
  readonly admit: () => void;
}

/** Who has not come with more for so long is not waited for. */
const idleMs = 100;

/**
 * One bound on the bytes that all uploads together hold in memory. What has arrived waits until there is room for it.
 *
 * Half of the room is for whoever comes. The other half is for those whose parts can be completed in it, the fullest
 * first, so that memory comes back however many there are. When nothing is on its way to the bucket that would make
 * room, what only waits for more is sent off as it is: that of silent clients before that of others. So nobody waits for
 * a client.
 */
export class PartMemory {
  readonly limit: number;
  #used = 0;
  /** Of `used`, what is on its way to the bucket. */
  #leaving = 0;
  readonly #holders = new Set<Holder>();
  readonly #waiting = new Set<Waiter>();
  #timer: NodeJS.Timeout | undefined;

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
    this.#admit();
  }

  /** Resolves when the bytes may be held; from then on they count. */
  take(holder: Holder, bytes: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.add({ holder, bytes, admit: resolve });
      this.#admit();
    });
  }

  /** They are on their way to the bucket. */
  leave(bytes: number): void {
    this.#leaving += bytes;
    this.#admit();
  }

  /** … and have got there, or never will. */
  release(bytes: number, wasLeaving = true): void {
    this.#used -= bytes;
    if (wasLeaving) this.#leaving -= bytes;
    this.#admit();
  }

  #admit(): void {
    clearTimeout(this.#timer);
    for (const waiter of this.#waiting) {
      if (!this.#mayEnter(waiter)) continue;
      this.#waiting.delete(waiter);
      this.#used += waiter.bytes;
      waiter.admit();
    }
    if (this.#waiting.size > 0 && this.#leaving === 0) this.#makeRoom();
  }

  #mayEnter({ holder, bytes }: Waiter): boolean {
    if (this.#used === 0) return true;
    const free = this.limit - this.#used;
    if (bytes > free) return false;
    if (this.#used - this.#leaving + bytes <= this.limit / 2) return true;
    let wanted = Math.max(holder.missingBytes, bytes);
    for (const other of this.#holders) if (other.heldBytes > holder.heldBytes) wanted += other.missingBytes;
    return wanted <= free;
  }

  #makeRoom(): void {
    const waiting = new Set([...this.#waiting].map(({ holder }) => holder));
    const others = [...this.#holders].filter((holder) => holder.heldBytes > 0 && !waiting.has(holder));
    const until = Date.now() - idleMs;
    const idle = others.filter(({ activeAt }) => activeAt <= until);
    if (idle.length > 0) largest(idle)?.spill();
    else if (others.length === 0) largest(this.#holders)?.spill();
    else this.#timer = setTimeout(() => this.#admit(), idleMs);
  }
}

const largest = (holders: Iterable<Holder>): Holder | undefined => {
  let found: Holder | undefined;
  for (const holder of holders) if (holder.heldBytes > (found?.heldBytes ?? 0)) found = holder;
  return found;
};

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
