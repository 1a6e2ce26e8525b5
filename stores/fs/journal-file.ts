import { constants, ftruncate } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { ignoring, UploadError } from '../../src/errors.ts';
import type { Range } from '../../src/intervals.ts';
import { syncDirectory } from '../../src/place-file.ts';
import { closeFd, openFd, syncFd, writeFully } from '../files/io.ts';
import type { RangeIndex } from '../files/writer.ts';
import { countEntries, encodeEntries, entryOffset } from './journal.ts';

const truncate = promisify(ftruncate);

/**
 * Room for entries is made before it is needed, in these steps: on a full disk what was written must still be
 * recorded, or it would have been written in vain.
 */
const roomBytes = 4096;

/** A journal that one writer appends to. */
export class JournalFile implements RangeIndex {
  readonly path: string;
  readonly #power: boolean;
  #fd: number | undefined;
  #entries = 0;
  /** Up to here the file has its blocks. */
  #room = 0;
  #isNew = false;

  constructor(path: string, power: boolean) {
    this.path = path;
    this.#power = power;
  }

  /**
   * How many entries are safe, while it is open. An entry behind these may be in the file already, and yet
   * may not be believed: its sync has not ended, or failed.
   */
  get safeEntries(): number | undefined {
    return this.#fd === undefined ? undefined : this.#entries;
  }

  /**
   * Opens it behind its last whole entry: a process that reconnects finds its own. What is torn there is
   * overwritten, never appended to.
   */
  async open(): Promise<void> {
    const before = await readFile(this.path).catch(ignoring('ENOENT'));
    const fd = await openFd(this.path, constants.O_CREAT | constants.O_RDWR);
    this.#entries = before === undefined ? 0 : countEntries(before);
    // Its name is safe since its first entry: one that was made and left without any may be on no disk.
    this.#isNew = this.#entries === 0;
    try {
      await this.#makeRoom(fd, this.#end);
    } catch (error) {
      await closeFd(fd);
      throw error;
    }
    this.#fd = fd;
  }

  /**
   * Adds entries for ranges whose bytes are safe. What fails is taken back, so that nobody finds it there.
   */
  async append(ranges: readonly Range[]): Promise<void> {
    const fd = this.#fd;
    if (fd === undefined) throw new UploadError('invalid_argument', 'the journal is closed');
    const bytes = encodeEntries(ranges, this.#entries, Date.now());
    const at = this.#end;
    try {
      await writeFully(fd, [bytes], at);
      if (this.#power) await syncFd(fd);
      if (this.#power && this.#isNew) await syncDirectory(dirname(this.path));
    } catch (error) {
      await truncate(fd, at).catch(() => undefined); // the failure to report is the first one
      throw error;
    }
    this.#isNew = false;
    this.#entries += ranges.length;
    if (this.#end + roomBytes / 2 > this.#room) {
      await this.#makeRoom(fd, Math.max(this.#room, this.#end)).catch(() => undefined); // reported when it is missed
    }
  }

  async close(): Promise<void> {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) await closeFd(fd);
  }

  /** Where the next entry goes; the first brings the header with it. */
  get #end(): number {
    return this.#entries === 0 ? 0 : entryOffset(this.#entries);
  }

  /** Zeros are no entry. */
  async #makeRoom(fd: number, from: number): Promise<void> {
    await writeFully(fd, [Buffer.alloc(roomBytes)], from);
    this.#room = from + roomBytes;
  }
}
