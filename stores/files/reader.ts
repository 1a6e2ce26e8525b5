import { close, open, read } from 'node:fs';
import { Readable } from 'node:stream';
import { systemCode, UploadError } from '../../src/errors.ts';

/** Few, large reads: a handler's body comes from the page cache. */
const chunkSize = 256 * 1024;

/**
 * The bytes `[start, end)` of the first of `paths` that exists. Errors with `gone` when none does, or when
 * the file ends early.
 */
export class FileReader extends Readable {
  readonly #id: string;
  readonly #paths: readonly string[];
  readonly #end: number;
  #position: number;
  #fd: number | undefined;

  constructor(id: string, paths: readonly string[], start: number, end: number) {
    super({ highWaterMark: chunkSize });
    this.#id = id;
    this.#paths = paths;
    this.#position = start;
    this.#end = end;
  }

  override _construct(done: (error?: Error | null) => void): void {
    const attempt = (index: number, last?: Error): void => {
      const path = this.#paths[index];
      if (path === undefined) return done(this.#gone(last));
      open(path, 'r', (error, fd) => {
        if (error !== null) return systemCode(error) === 'ENOENT' ? attempt(index + 1, error) : done(error);
        this.#fd = fd;
        done();
      });
    };
    attempt(0);
  }

  override _read(): void {
    const wanted = Math.min(chunkSize, this.#end - this.#position);
    if (wanted === 0) {
      this.push(null);
      return;
    }
    const chunk = Buffer.allocUnsafeSlow(wanted);
    read(this.#fd as number, chunk, 0, wanted, this.#position, (error, count) => {
      if (error !== null) return void this.destroy(error);
      if (count === 0) return void this.destroy(this.#gone());
      this.#position += count;
      this.push(count === wanted ? chunk : chunk.subarray(0, count));
    });
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#fd === undefined) return done(error);
    close(this.#fd, (failure) => done(error ?? failure));
    this.#fd = undefined;
  }

  #gone(cause?: Error): UploadError {
    return new UploadError('gone', 'the bytes are not there', {
      id: this.#id,
      offset: this.#position,
      cause,
    });
  }
}
