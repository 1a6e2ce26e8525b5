/** What nobody has wanted for so long goes back to the system. */
const idleMs = 10_000;

/**
 * Memory for parts, used again: the system clears whatever it hands out, which costs as much as to fill it, and what is
 * given back to it in pieces of many sizes stays with the process.
 */
export class BufferPool {
  readonly #most: number;
  readonly #free: Uint8Array[] = [];
  #freeBytes = 0;
  #takenBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /** What is taken and what is kept are at most so many bytes, unless more than that is taken. */
  constructor(most: number) {
    this.#most = most;
  }

  /** With whatever it held before. Whoever takes it gives it back, or drops it. */
  take(size: number): Uint8Array {
    const at = this.#free.findIndex(({ byteLength }) => byteLength === size);
    const [known] = at < 0 ? [] : this.#free.splice(at, 1);
    if (known !== undefined) this.#freeBytes -= size;
    else this.#makeRoom(size);
    this.#takenBytes += size;
    return known ?? Buffer.allocUnsafeSlow(size);
  }

  /** Nobody reads it any more. */
  give(buffer: Uint8Array): void {
    this.drop(buffer);
    if (this.#takenBytes + this.#freeBytes + buffer.byteLength > this.#most) return;
    this.#free.push(buffer);
    this.#freeBytes += buffer.byteLength;
    this.#timer ??= setTimeout(() => {
      this.#makeRoom(this.#most);
      this.#timer = undefined;
    }, idleMs).unref();
    this.#timer.refresh();
  }

  /** Somebody may still read it, as a request that has failed. */
  drop(buffer: Uint8Array): void {
    this.#takenBytes -= buffer.byteLength;
  }

  /** What is of another size than is wanted now goes. */
  #makeRoom(size: number): void {
    while (this.#freeBytes > 0 && this.#freeBytes + size > this.#most - this.#takenBytes) {
      this.#freeBytes -= this.#free.shift()?.byteLength ?? 0;
    }
  }
}
