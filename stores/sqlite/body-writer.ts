import { UploadError } from '../../src/errors.ts';
import type { Range } from '../../src/intervals.ts';
import type { StoreWriter } from '../../src/store.ts';

/**
 * Writes an upload whose bytes are all there, in the index: whoever made it at the same moment as somebody else
 * does that. What is there wins, and nothing is left to write.
 */
export class BodyWriter implements StoreWriter {
  readonly #id: string;
  readonly #length: number;
  readonly #isThere: () => boolean;
  #pending: Range[] = [];
  #isClosed = false;

  /** `isThere` says whether the content still is. */
  constructor(id: string, length: number, isThere: () => boolean) {
    this.#id = id;
    this.#length = length;
    this.#isThere = isThere;
  }

  async write(buffers: readonly Uint8Array[], offset: number): Promise<void> {
    this.#assertOpen();
    const end = buffers.reduce((position, { byteLength }) => position + byteLength, offset);
    if (end > this.#length) {
      const facts = { id: this.#id, expected: this.#length, actual: end };
      throw new UploadError('range_past_length', 'the content is complete, and not that long', facts);
    }
    if (end > offset) this.#pending.push({ start: offset, end });
  }

  async sync(): Promise<readonly Range[]> {
    this.#assertOpen();
    if (!this.#isThere()) throw new UploadError('gone', 'the upload was removed', { id: this.#id });
    const ranges = this.#pending;
    this.#pending = [];
    return ranges;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new UploadError('invalid_argument', 'the writer is closed', { id: this.#id });
  }
}
