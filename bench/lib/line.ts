/**
 * A line of so many bytes a second, which all that use it share: whoever puts bytes on it waits until they are through.
 */
export class Line {
  readonly #bytesPerMs: number;
  /** When all that was put on it is through, on the clock of `performance.now`. */
  #freeAt = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** How many milliseconds from `now` it takes until these bytes are through, behind all that came before. */
  take(bytes: number, now: number = performance.now()): number {
    this.#freeAt = Math.max(this.#freeAt, now) + bytes / this.#bytesPerMs;
    return this.#freeAt - now;
  }
}
