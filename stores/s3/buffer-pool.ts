/** What nobody has wanted for so long goes back to the system. */
const idleMs = 10_000;

/**
 * Memory for whole parts, used again: the system clears whatever it hands out, which costs as much as to fill it, and
 * what is given back in pieces of other sizes stays with the process.
 */
export class BufferPool {
  readonly #most: number;
  #free: Uint8Array[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** `most`: so many bytes are kept at most. */
  constructor(most: number) {
    this.#most = most;
  }

  /** With whatever it held before. */
  take(size: number): Uint8Array {
    const at = this.#free.findIndex(({ byteLength }) => byteLength === size);
    return this.#free.splice(at, at < 0 ? 0 : 1)[0] ?? Buffer.allocUnsafeSlow(size);
  }

  /** Nobody reads it any more: a request that failed may still be doing that. */
  give(buffer: Uint8Array): void {
    let bytes = buffer.byteLength;
    for (const { byteLength } of this.#free) bytes += byteLength;
    if (bytes > this.#most) return;
    this.#free.push(buffer);
    this.#timer ??= setTimeout(() => {
      this.#free = [];
      this.#timer = undefined;
    }, idleMs).unref();
    this.#timer.refresh();
  }
}
