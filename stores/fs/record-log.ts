import { closeSync, constants, fstatSync, openSync, readFile, readSync, write, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { ignoring, UploadError } from '../../src/errors.ts';
import { openFd, syncFd } from '../files/io.ts';
import { encodeEntry, type RecordVersion, replay } from './record-entry.ts';

const readAll = promisify((fd: number, done: (error: Error | null, bytes: Buffer) => void) =>
  readFile(fd, done),
);

/** The kernel puts each write at the end, whole, whoever else appends at the same time. */
const appending = constants.O_APPEND | constants.O_RDWR;

/**
 * The log of one upload's record (record-entry.ts), open for appending. What is read here synchronously was
 * written just before, so it comes from memory.
 */
export class RecordLog {
  readonly #path: string;
  readonly #fd: number;
  /** Up to here the log is in `current`. */
  #end = 0;
  /** Every version that was seen to be in force, by name. */
  readonly #names = new Set<string>();
  #current: RecordVersion | 'unreadable' | undefined;

  private constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  /** A new log with its first entry. */
  static async create(path: string, first: RecordVersion, sync: boolean): Promise<RecordLog> {
    const log = new RecordLog(path, await openFd(path, appending | constants.O_CREAT | constants.O_EXCL));
    try {
      const bytes = encodeEntry(first);
      await append(log.#fd, bytes);
      if (sync) await syncFd(log.#fd);
      log.#current = first;
      log.#end = bytes.byteLength;
      return log;
    } catch (error) {
      log.close();
      throw error;
    }
  }

  /** Undefined when there is none (any more). */
  static async open(path: string): Promise<RecordLog | undefined> {
    const fd = await openFd(path, appending).catch(ignoring('ENOENT', 'ENOTDIR'));
    if (fd === undefined) return undefined;
    const log = new RecordLog(path, fd);
    try {
      log.#takeIn(await readAll(fd));
      return log;
    } catch (error) {
      log.close();
      throw error;
    }
  }

  /** The version in force, as far as it has been read; undefined when there is none, which is damage. */
  get current(): RecordVersion | undefined {
    return this.#current === 'unreadable' ? undefined : this.#current;
  }

  /** Whether it is still that of an upload. */
  get isLinked(): boolean {
    return fstatSync(this.#fd).nlink > 0;
  }

  /** Takes in what has been appended since; says whether the log is still that of an upload. */
  #catchUp(): boolean {
    const { size, nlink } = fstatSync(this.#fd);
    const bytes = Buffer.allocUnsafe(Math.max(0, size - this.#end));
    const count = bytes.byteLength === 0 ? 0 : readSync(this.#fd, bytes, 0, bytes.byteLength, this.#end);
    this.#takeIn(bytes.subarray(0, count));
    return nlink > 0;
  }

  /** Appends `next`; resolves with whether it came into force. */
  async append(next: RecordVersion, sync: boolean): Promise<boolean> {
    const bytes = encodeEntry(next, this.current?.record);
    await append(this.#fd, bytes);
    if (sync) {
      await syncFd(this.#fd).catch((error: unknown) => {
        this.#takeBack(bytes);
        throw error;
      });
    }
    return this.#catchUp() && this.#names.has(next.name);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #takeIn(bytes: Buffer): void {
    if (this.#current === 'unreadable') return;
    const { current, names, end } = replay(bytes, this.#current);
    this.#current = current;
    for (const name of names) this.#names.add(name);
    this.#end += end;
  }

  /**
   * What was not synced must not count, whoever finds it: its pages are marked clean, so that no later sync
   * would write them. Left alone where others have built on it.
   */
  #takeBack(bytes: Buffer): void {
    const { size } = fstatSync(this.#fd);
    const tail = Buffer.alloc(bytes.byteLength);
    const start = size - bytes.byteLength;
    readSync(this.#fd, tail, 0, tail.byteLength, start);
    if (!tail.equals(bytes)) return;
    const fd = openSync(this.#path, constants.O_WRONLY); // in append mode nothing can be overwritten
    try {
      writeSync(fd, Buffer.alloc(bytes.byteLength, '\n'), 0, bytes.byteLength, start);
    } finally {
      closeSync(fd);
    }
  }
}

/** In one call or not at all: what came of a second one could be behind somebody else's entry. */
const append = (fd: number, bytes: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    write(fd, bytes, 0, bytes.byteLength, null, (error, written) => {
      if (error !== null) reject(error);
      else if (written < bytes.byteLength) reject(new UploadError('no_space', 'the log takes no more bytes'));
      else resolve();
    });
  });
