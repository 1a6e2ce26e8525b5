import { close, fdatasync, type NoParamCallback, writev } from 'node:fs';
import { promisify } from 'node:util';
import { UploadError } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { StoreWriter } from '../../src/store.ts';
import type { JournalFile } from './journal-file.ts';

const closeFd = promisify(close);
const dataSync = promisify(fdatasync);

export interface FsWriterOptions {
  readonly id: string;
  /** The descriptor of the content; the writer's from here on. */
  readonly content: number;
  readonly journal: JournalFile;
  /** Whether to sync (`power`) or only to hand over to the operating system (`process`). */
  readonly power: boolean;
  readonly onClose: () => void;
}

/** Writes content at offsets, and then, never before, the journal entry that says so. */
export class FsWriter implements StoreWriter {
  readonly #options: FsWriterOptions;
  /** Written since the last sync began. */
  #pending = new IntervalSet();
  #content: number | undefined;
  #failure: UploadError | undefined;
  #syncing: Promise<unknown> = Promise.resolve();
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

  /** One after another: two would append to one place. */
  sync(): Promise<readonly Range[]> {
    const sync = this.#syncing.then(() => this.#sync());
    this.#syncing = sync.catch(() => undefined);
    return sync;
  }

  async close(): Promise<void> {
    const content = this.#content;
    if (content === undefined) return;
    this.#content = undefined;
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    try {
      await Promise.all([closeFd(content), this.#options.journal.close()]);
    } finally {
      this.#options.onClose();
    }
  }

  async #sync(): Promise<readonly Range[]> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#content === undefined) throw this.#closed();
    if (this.#pending.count === 0) return [];
    const ranges = this.#pending.ranges();
    this.#pending = new IntervalSet();
    this.#running++;
    try {
      if (this.#options.power) await dataSync(this.#content);
      await this.#options.journal.append(ranges);
    } catch (cause) {
      this.#failure = new UploadError('store_failed', 'a sync failed', { id: this.#options.id, cause });
      throw cause;
    } finally {
      this.#settled();
    }
    return ranges;
  }

  #settled(): void {
    if (--this.#running === 0) this.#onIdle?.();
  }

  #closed(): UploadError {
    return new UploadError('invalid_argument', 'the writer is closed', { id: this.#options.id });
  }
}

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
