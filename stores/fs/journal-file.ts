import { close, constants, fdatasync, ftruncate, open, writev } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { UploadError } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import { ignoring, syncDirectory } from './files.ts';
import { decodeEntries, encodeEntries, entryOffset } from './journal.ts';

const closeFd = promisify(close);
const dataSync = promisify(fdatasync);
const truncate = promisify(ftruncate);
const writeVector = promisify(writev);

/**
 * Bare descriptors: a FileHandle would close itself on garbage collection, with a warning, if one were ever
 * lost.
 */
const openFd = promisify((path: string, done: (error: Error | null, fd: number) => void) =>
  open(path, constants.O_CREAT | constants.O_RDWR, 0o600, done),
);

/** A journal that one writer appends to. Made with its first entry. */
export class JournalFile {
  readonly path: string;
  readonly #power: boolean;
  #fd: number | undefined;
  #entries = 0;

  constructor(path: string, power: boolean) {
    this.path = path;
    this.#power = power;
  }

  /**
   * How many entries are safe. Undefined before the first append: then the file is as its last writer left
   * it. An entry behind these is in the file already, and yet may not be believed: its sync has not ended, or
   * failed.
   */
  get safeEntries(): number | undefined {
    return this.#fd === undefined ? undefined : this.#entries;
  }

  /**
   * Adds entries for ranges whose bytes are safe. What is torn behind the last whole entry is overwritten,
   * never appended to; what fails is taken back, so that nobody finds it there.
   */
  async append(ranges: readonly Range[]): Promise<void> {
    const isNew = this.#fd === undefined;
    const fd = this.#fd ?? (await this.#open());
    const at = this.#entries === 0 ? 0 : entryOffset(this.#entries);
    const bytes = encodeEntries(ranges, this.#entries, Date.now());
    try {
      const { bytesWritten } = await writeVector(fd, [bytes], at);
      if (bytesWritten !== bytes.byteLength) throw new UploadError('no_space', 'a journal entry was torn');
      if (this.#power) await dataSync(fd);
      if (this.#power && isNew) await syncDirectory(dirname(this.path));
    } catch (error) {
      await truncate(fd, at).catch(() => undefined); // the failure to report is the first one
      throw error;
    }
    this.#entries += ranges.length;
  }

  async close(): Promise<void> {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) await closeFd(fd);
  }

  /** Goes on where the journal ends: a process that reconnects finds its own. */
  async #open(): Promise<number> {
    const before = await readFile(this.path).catch(ignoring('ENOENT'));
    const fd = await openFd(this.path);
    this.#entries = before === undefined ? 0 : decodeEntries(before, new IntervalSet()).entries;
    this.#fd = fd;
    return fd;
  }
}
