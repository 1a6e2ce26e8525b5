import { Readable } from 'node:stream';
import { UploadError } from '../src/errors.ts';
import { IntervalSet, type Range } from '../src/intervals.ts';
import type { Store, StoredUpload, StoreWriter, UploadRecord } from '../src/store.ts';

/** Content is kept in pages, so that a sparse upload costs what it holds. */
const pageSize = 256 * 1024;

interface Entry {
  record: UploadRecord;
  version: number;
  activeAt: number;
  received: IntervalSet;
  /** Undefined once discarded. */
  pages: Map<number, Buffer> | undefined;
}

/**
 * The reference store, and the one for tests: everything in this process's memory, gone with it. Its size is
 * bounded only by what is uploaded.
 */
export const memoryStore = (): Store => {
  const uploads = new Map<string, Entry>();

  return {
    name: 'memory',
    supports: {
      sparse: true,
      readOpen: true,
      multiProcess: false,
      persistent: false,
      link: false,
      maxLength: Number.MAX_SAFE_INTEGER,
      writesInFlight: 1,
    },

    async create(record, content = []) {
      if (uploads.has(record.id)) throw new UploadError('exists', 'the id is taken', { id: record.id });
      const pages = new Map<number, Buffer>();
      const length = put(pages, content, 0);
      const received = IntervalSet.from([{ start: 0, end: length }]);
      uploads.set(record.id, { record, version: 1, activeAt: Date.now(), received, pages });
    },

    async load(id): Promise<StoredUpload | undefined> {
      const entry = uploads.get(id);
      if (entry === undefined) return undefined;
      const { record, version, activeAt } = entry;
      const whole = { start: 0, end: record.length ?? 0 };
      const received = record.state === 'finished' ? IntervalSet.from([whole]) : entry.received;
      return { record, version, activeAt, received: received.ranges() };
    },

    async update(version, record) {
      const entry = uploads.get(record.id);
      if (entry?.version !== version) return false;
      entry.record = record;
      entry.version++;
      entry.activeAt = Date.now();
      return true;
    },

    async writer(id) {
      const entry = uploads.get(id);
      if (entry?.pages === undefined) throw new UploadError('gone', 'the upload has no content', { id });
      return new MemoryWriter(entry, entry.pages);
    },

    read(id, start, end) {
      return Readable.from(slices(id, uploads.get(id), start, end), { objectMode: false });
    },

    async discard(id) {
      const entry = uploads.get(id);
      if (entry === undefined) return;
      entry.pages = undefined;
      entry.received = new IntervalSet();
    },

    async purge(id) {
      uploads.delete(id);
    },

    async *list() {
      yield* uploads.keys();
    },

    async close() {
      uploads.clear();
    },
  };
};

class MemoryWriter implements StoreWriter {
  readonly #entry: Entry;
  readonly #pages: Map<number, Buffer>;
  #pending: Range[] = [];
  #closed = false;

  constructor(entry: Entry, pages: Map<number, Buffer>) {
    this.#entry = entry;
    this.#pages = pages;
  }

  async write(buffers: readonly Uint8Array[], offset: number): Promise<void> {
    this.#assertOpen();
    this.#pending.push({ start: offset, end: offset + put(this.#pages, buffers, offset) });
  }

  async sync(): Promise<readonly Range[]> {
    this.#assertOpen();
    const ranges = this.#pending;
    this.#pending = [];
    if (ranges.length > 0) this.#entry.activeAt = Date.now();
    if (this.#entry.pages !== undefined) this.#entry.received.addAll(ranges);
    return ranges;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #assertOpen(): void {
    if (this.#closed) throw new UploadError('invalid_argument', 'the writer is closed');
  }
}

/**
 * Copies the buffers to `offset` and returns their length: a buffer may be reused once `write` has resolved.
 */
const put = (pages: Map<number, Buffer>, buffers: readonly Uint8Array[], offset: number): number => {
  let position = offset;
  for (const buffer of buffers) {
    for (let taken = 0; taken < buffer.byteLength; ) {
      const index = Math.floor(position / pageSize);
      const page = pages.get(index) ?? Buffer.alloc(pageSize);
      pages.set(index, page);
      const at = position - index * pageSize;
      const count = Math.min(buffer.byteLength - taken, pageSize - at);
      page.set(buffer.subarray(taken, taken + count), at);
      position += count;
      taken += count;
    }
  }
  return position - offset;
};

function* slices(id: string, entry: Entry | undefined, start: number, end: number): Generator<Buffer> {
  const pages = entry?.pages;
  if (pages === undefined || !entry?.received.covers(start, end)) {
    throw new UploadError('gone', 'the bytes are not there', { id, offset: start });
  }
  for (let position = start; position < end; ) {
    const index = Math.floor(position / pageSize);
    const at = position - index * pageSize;
    const count = Math.min(end - position, pageSize - at);
    // A covered page exists. It is never written again where it is covered, so no copy is needed.
    yield (pages.get(index) as Buffer).subarray(at, at + count);
    position += count;
  }
}
