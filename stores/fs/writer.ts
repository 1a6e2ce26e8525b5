import { close, constants, fdatasync, type NoParamCallback, open, writev } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { UploadError } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { StoreWriter } from '../../src/store.ts';
import { ignoring, syncDirectory } from './files.ts';
import { decodeEntries, encodeEntries, entrySize, headerSize } from './journal.ts';

const closeFd = promisify(close);
const dataSync = promisify(fdatasync);
const writeVector = promisify(writev);

export interface FsWriterOptions {
  readonly id: string;
  readonly content: number;
  readonly journal: string;
  /** Whether to sync (`power`) or only to hand over to the operating system (`process`). */
  readonly power: boolean;
  readonly onClose: () => void;
}

/** Writes content at offsets, and then, never before, the journal entry that says so. */
export class FsWriter implements StoreWriter {
  readonly #options: FsWriterOptions;
  /** Written since the last sync began. */
  #pending = new IntervalSet();
  #journal: { readonly fd: number; entries: number } | undefined;
  #content: number | undefined;
  #failure: UploadError | undefined;
  /** Calls the kernel has not answered: a descriptor closed under one could be another file's by then. */
  #running = 0;
  #onIdle: (() => void) | undefined;

  constructor(options: FsWriterOptions) {
    this.#options = options;
    this.#content = options.content;
  }

  write(buffers: readonly Uint8Array[], offset: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const fd = this.#content;
      if (fd === undefined || this.#failure !== undefined) return reject(this.#failure ?? this.#closed());
      let bytes = 0;
      for (const buffer of buffers) bytes += buffer.byteLength;
      this.#running++;
      writeVectorAt(fd, buffers, bytes, offset, (error) => {
        this.#settled();
        if (error !== null) return reject(error);
        this.#pending.add(offset, offset + bytes);
        resolve();
      });
    });
  }

  async sync(): Promise<readonly Range[]> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#content === undefined) throw this.#closed();
    if (this.#pending.count === 0) return [];
    const ranges = this.#pending.ranges();
    this.#pending = new IntervalSet();
    this.#running++;
    try {
      if (this.#options.power) await dataSync(this.#content);
      await this.append(ranges);
    } catch (cause) {
      this.#failure = new UploadError('store_failed', 'a sync failed', { id: this.#options.id, cause });
      throw cause;
    } finally {
      this.#settled();
    }
    return ranges;
  }

  /** Adds entries for ranges whose bytes are already safe. */
  async append(ranges: readonly Range[]): Promise<void> {
    const isNew = this.#journal === undefined;
    this.#journal ??= await openJournal(this.#options.journal);
    const journal = this.#journal;
    const at = journal.entries === 0 ? 0 : headerSize + journal.entries * entrySize;
    const bytes = encodeEntries(ranges, journal.entries, Date.now());
    const { bytesWritten } = await writeVector(journal.fd, [bytes], at);
    if (bytesWritten !== bytes.byteLength) {
      throw new UploadError('no_space', 'a journal entry was torn', { id: this.#options.id });
    }
    if (this.#options.power) {
      await dataSync(journal.fd);
      if (isNew) await syncDirectory(dirname(this.#options.journal));
    }
    journal.entries += ranges.length;
  }

  async close(): Promise<void> {
    const content = this.#content;
    if (content === undefined) return;
    this.#content = undefined;
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    const journal = this.#journal?.fd;
    await Promise.all([content, journal].map((fd) => (fd === undefined ? undefined : closeFd(fd))));
    this.#options.onClose();
  }

  #settled(): void {
    if (--this.#running === 0) this.#onIdle?.();
  }

  #closed(): UploadError {
    return new UploadError('invalid_argument', 'the writer is closed', { id: this.#options.id });
  }
}

/**
 * Opens this process's own journal after its last whole entry: what is torn behind that is overwritten, never
 * appended to.
 */
const openJournal = async (path: string): Promise<{ fd: number; entries: number }> => {
  const before = await readFile(path).catch(ignoring('ENOENT'));
  const entries = before === undefined ? 0 : decodeEntries(before, new IntervalSet()).entries;
  return { fd: await openFd(path), entries };
};

/**
 * A bare descriptor: a FileHandle would close itself on garbage collection, with a warning, if one were ever
 * lost.
 */
const openFd = promisify((path: string, done: (error: Error | null, fd: number) => void) =>
  open(path, constants.O_CREAT | constants.O_RDWR, 0o600, done),
);

const writeVectorAt = (
  fd: number,
  buffers: readonly Uint8Array[],
  bytes: number,
  offset: number,
  done: NoParamCallback,
): void => {
  writev(fd, buffers, offset, (error, written) => {
    if (error !== null) return done(error);
    if (written === bytes) return done(null);
    // A short write: go on behind what the kernel took. Rare (a signal, the last block of a full disk), so
    // clarity first.
    writeVectorAt(fd, rest(buffers, written), bytes - written, offset + written, done);
  });
};

const rest = (buffers: readonly Uint8Array[], taken: number): Uint8Array[] => {
  let skip = taken;
  const out: Uint8Array[] = [];
  for (const buffer of buffers) {
    if (skip < buffer.byteLength) out.push(buffer.subarray(skip));
    skip = Math.max(0, skip - buffer.byteLength);
  }
  return out;
};
