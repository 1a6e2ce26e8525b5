import { UploadError } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { StoreWriter } from '../../src/store.ts';
import { byteLength, closeFd, syncFd, writeVector } from './io.ts';

/** Where a writer's ranges become known to everybody. */
export interface RangeIndex {
  /** Adds ranges whose bytes are safe; safe itself when it resolves. Nobody finds what it rejected. */
  append(ranges: readonly Range[]): Promise<void>;
  close(): Promise<void>;
}

export interface ContentWriterOptions {
  readonly id: string;
  /** The descriptor of the content; the writer's from here on. */
  readonly content: number;
  /** The writer's from here on, too. */
  readonly index: RangeIndex;
  /** Whether to sync (`power`) or only to hand over to the operating system (`process`). */
  readonly power: boolean;
  readonly onClose?: () => void;
}

/** Writes content at offsets, and then, never before, tells the index so. */
export class ContentWriter implements StoreWriter {
  readonly #options: ContentWriterOptions;
  /** Written since the last sync began. */
  #pending = new IntervalSet();
  #content: number | undefined;
  #failure: UploadError | undefined;
  #syncing: Promise<unknown> = Promise.resolve();
  /** Calls the kernel has not answered: a descriptor closed under one could be another file's by then. */
  #running = 0;
  #onIdle: (() => void) | undefined;

  constructor(options: ContentWriterOptions) {
    this.#options = options;
    this.#content = options.content;
  }

  write(buffers: readonly Uint8Array[], offset: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const fd = this.#content;
      if (fd === undefined || this.#failure !== undefined) return reject(this.#failure ?? this.#closed());
      const bytes = byteLength(buffers);
      this.#running++;
      writeVector(fd, buffers, bytes, offset, (error) => {
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
      await Promise.all([closeFd(content), this.#options.index.close()]);
    } finally {
      this.#options.onClose?.();
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
      if (this.#options.power) await syncFd(this.#content);
      await this.#options.index.append(ranges);
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
