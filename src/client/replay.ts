import { UploadError } from '../errors.ts';
import type { ByteSource, OpenStream } from './content.ts';

const blockBytes = 64 * 1024;
/** What a slow stream has given is sent after so long, even if it is little. */
const dueMs = 250;

/**
 * A stream that can be read again from the last byte the server is not known to hold: what comes is kept until
 * then, and when the buffer is full the stream has to wait.
 */
export class ReplaySource implements ByteSource {
  readonly capacity: number;
  /** Called when there is more to send. */
  onChange: () => void = () => {};
  readonly #stream: OpenStream;
  /** By the number of the block in the content. */
  readonly #blocks = new Map<number, Uint8Array>();
  #base = 0;
  #end = 0;
  #length: number | undefined;
  #failed: { readonly error: unknown } | undefined;
  #room: (() => void) | undefined;
  #closed = false;
  #due = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `capacity` in bytes. */
  constructor(stream: OpenStream, capacity: number) {
    this.capacity = capacity;
    this.#stream = stream;
    void this.#pump();
  }

  /** In bytes; undefined until the stream has ended. */
  get length(): number | undefined {
    return this.#length;
  }

  /** Where the bytes that are still kept begin. */
  get base(): number {
    return this.#base;
  }

  /** How far the stream was read. */
  get end(): number {
    return this.#end;
  }

  /** Whether what is there should be sent although it is little. */
  get isDue(): boolean {
    return this.#due || this.#length !== undefined || this.#end - this.#base >= this.capacity;
  }

  /** Why the stream ended before its end. */
  get failed(): { readonly error: unknown } | undefined {
    return this.#failed;
  }

  /** The server holds everything before `offset`, also what was not read yet: it is not needed any more. */
  release(offset: number): void {
    if (offset <= this.#base) return;
    this.#base = offset;
    for (const number of this.#blocks.keys()) {
      if ((number + 1) * blockBytes <= offset) this.#blocks.delete(number);
    }
    this.#assertLongEnough();
    this.#room?.();
  }

  /** What was there is on its way: the clock for what is to come starts anew. */
  taken(): void {
    this.#due = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async *chunks(start: number, end: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (let offset = start; offset < end; ) {
      const block = this.#blocks.get(Math.floor(offset / blockBytes));
      if (offset < this.#base || block === undefined) {
        throw new UploadError(
          'not_supported',
          'the server lost bytes of a stream that cannot be read again',
          {
            offset,
            expected: this.#base,
          },
        );
      }
      const from = offset % blockBytes;
      const chunk = block.subarray(from, Math.min(blockBytes, from + end - offset));
      offset += chunk.length;
      yield chunk;
    }
  }

  /** Ends the stream, if it has not ended. */
  close(): Promise<void> {
    this.#closed = true;
    this.taken();
    this.#room?.();
    this.#blocks.clear();
    // What it says to being left is of no use to anybody, nor is there a reason to wait for it.
    if (this.#length === undefined) void this.#stream.stop().catch(() => undefined);
    return Promise.resolve();
  }

  async #pump(): Promise<void> {
    try {
      for await (const chunk of this.#stream.bytes) {
        for (let rest = chunk; rest.length > 0 && !this.#closed; ) {
          const room = Math.max(0, this.#base + this.capacity - this.#end);
          const taken = this.#keep(rest.subarray(0, room));
          rest = rest.subarray(taken);
          if (rest.length > 0) await new Promise<void>((resolve) => (this.#room = resolve));
        }
        if (this.#closed) break;
      }
      if (this.#closed) return;
      this.#length = this.#end;
      this.#assertLongEnough();
    } catch (error) {
      this.#failed = { error };
    }
    this.onChange();
  }

  #assertLongEnough(): void {
    if (this.#length === undefined || this.#base <= this.#length) return;
    const facts = { expected: this.#base, actual: this.#length };
    const error = new UploadError(
      'length_changed',
      'the stream is shorter than what the server holds',
      facts,
    );
    this.#failed ??= { error };
    this.onChange();
  }

  /** Copies, since a stream may reuse its chunks; so small ones cost no more than their bytes. */
  #keep(bytes: Uint8Array): number {
    for (let done = 0; done < bytes.length; ) {
      const number = Math.floor(this.#end / blockBytes);
      const from = this.#end % blockBytes;
      const part = bytes.subarray(done, done + blockBytes - from);
      if (this.#end + part.length > this.#base) {
        const block = this.#blocks.get(number) ?? new Uint8Array(blockBytes);
        this.#blocks.set(number, block);
        block.set(part, from);
      }
      this.#end += part.length;
      done += part.length;
    }
    if (bytes.length > 0) {
      this.#timer ??= setTimeout(() => {
        this.#due = true;
        this.onChange();
      }, dueMs);
      this.onChange();
    }
    return bytes.length;
  }
}
