import { close, constants, read } from 'node:fs';
import { Readable } from 'node:stream';
import { ignoring, UploadError } from '../../src/errors.ts';
import { openFd } from './io.ts';

/** Few, large reads: a handler's body comes from the page cache. */
const chunkSize = 256 * 1024;

/** The descriptor of a file, the reader's from then on; or the content itself; or neither, when it is gone. */
export type OpenContent = () => Promise<number | Uint8Array | undefined>;

/** The bytes `[start, end)` of a content. Errors with `gone` when it is not there, or ends early. */
export class ContentReader extends Readable {
  readonly #id: string;
  readonly #open: OpenContent;
  readonly #end: number;
  #position: number;
  #content: number | Uint8Array | undefined;

  constructor(id: string, open: OpenContent, start: number, end: number) {
    super({ highWaterMark: chunkSize });
    this.#id = id;
    this.#open = open;
    this.#position = start;
    this.#end = end;
  }

  override _construct(done: (error?: Error | null) => void): void {
    this.#open().then((content) => {
      this.#content = content;
      done(content === undefined ? this.#gone() : null);
    }, done);
  }

  override _read(): void {
    const wanted = Math.min(chunkSize, this.#end - this.#position);
    if (wanted === 0) this.push(null);
    else if (typeof this.#content === 'number') this.#readFile(this.#content, wanted);
    else this.#take(this.#content?.subarray(this.#position, this.#position + wanted) ?? new Uint8Array());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const content = this.#content;
    this.#content = undefined;
    if (typeof content !== 'number') return done(error);
    close(content, (failure) => done(error ?? failure));
  }

  #readFile(fd: number, wanted: number): void {
    const chunk = Buffer.allocUnsafeSlow(wanted);
    read(fd, chunk, 0, wanted, this.#position, (error, count) => {
      if (error !== null) this.destroy(error);
      else this.#take(count === wanted ? chunk : chunk.subarray(0, count));
    });
  }

  #take(chunk: Uint8Array): void {
    if (chunk.byteLength === 0) return void this.destroy(this.#gone());
    this.#position += chunk.byteLength;
    this.push(chunk);
  }

  #gone(): UploadError {
    return new UploadError('gone', 'the bytes are not there', { id: this.#id, offset: this.#position });
  }
}

/** The first of the files that exists. */
export const openFirst = async (paths: readonly string[]): Promise<number | undefined> => {
  for (const path of paths) {
    const fd = await openFd(path, constants.O_RDONLY).catch(ignoring('ENOENT'));
    if (fd !== undefined) return fd;
  }
  return undefined;
};
