import { Readable } from 'node:stream';
import { UploadError } from '../../src/errors.ts';
import type { Range } from '../../src/intervals.ts';
import type { Store, StoreWriter } from '../../src/store.ts';
import { memoryStore } from '../../stores/memory.ts';

// Stores with one defect each, of the kind that users of other servers have met. And one without any, which can do less
// than others and says so.

const withWriters = (wrap: (writer: StoreWriter) => StoreWriter): Store => {
  const store = memoryStore();
  return { ...store, writer: async (id) => wrap(await store.writer(id)) };
};

/** Of the ranges that one sync acknowledges, the second was never stored. */
export const losesRange = (): Store =>
  withWriters((writer) => {
    let lost: Range[] = [];
    let writes = 0;
    return {
      write: async (buffers, offset) => {
        if (++writes % 2 === 1) return writer.write(buffers, offset);
        const length = buffers.reduce((sum, { byteLength }) => sum + byteLength, 0);
        lost.push({ start: offset, end: offset + length });
      },
      sync: async () => {
        const acknowledged = [...(await writer.sync()), ...lost];
        lost = [];
        return acknowledged;
      },
      close: () => writer.close(),
    };
  });

/** The 1,000th byte of a write is stored as another. Every size and every range is right. */
export const rewritesByte = (): Store =>
  withWriters((writer) => ({
    write: async (buffers, offset) => {
      const bytes = Buffer.concat(buffers);
      if (bytes.length >= 1000) bytes[999] = (bytes[999] ?? 0) ^ 1;
      return writer.write([bytes], offset);
    },
    sync: () => writer.sync(),
    close: () => writer.close(),
  }));

/** Syncs what the sync before it has acknowledged. */
export const acknowledgesEarly = (): Store =>
  withWriters((writer) => {
    let waiting: { readonly bytes: Buffer; readonly offset: number }[] = [];
    return {
      write: async (buffers, offset) => {
        waiting.push({ bytes: Buffer.concat(buffers), offset });
      },
      sync: async () => {
        await writer.sync();
        const acknowledged = waiting.map(({ bytes, offset }) => ({
          start: offset,
          end: offset + bytes.length,
        }));
        for (const { bytes, offset } of waiting) await writer.write([bytes], offset);
        waiting = [];
        return acknowledged;
      },
      close: async () => {
        await writer.sync();
        await writer.close();
      },
    };
  });

/** Replaces a record whichever version was meant: of two completions, the second wins too. */
export const completesTwice = (): Store => {
  const store = memoryStore();
  return {
    ...store,
    update: async (version, record) => {
      const stored = await store.load(record.id);
      return stored !== undefined && version <= stored.version && store.update(stored.version, record);
    },
  };
};

/** Takes bytes only behind those it has, gives none back before they are complete, and takes no long content. */
export const modestStore = (): Store => {
  const store = memoryStore();
  const supports = { ...store.supports, sparse: false, readOpen: false, maxLength: 100 * 1024 };
  const refused = (what: string): UploadError => new UploadError('not_supported', what);
  async function* bytes(id: string, start: number, end: number): AsyncGenerator<unknown> {
    if ((await store.load(id))?.record.state === 'open') throw refused('reading an upload that is open');
    yield* store.read(id, start, end);
  }
  return {
    ...store,
    supports,
    create: async (record, content) => {
      if ((record.length ?? 0) > supports.maxLength) throw refused('too long');
      await store.create(record, content);
    },
    writer: async (id) => {
      const writer = await store.writer(id);
      let end = (await store.load(id))?.received.at(-1)?.end ?? 0;
      return {
        write: async (buffers, offset) => {
          if (offset !== end) throw refused('a gap, or an overlap');
          await writer.write(buffers, offset);
          end += buffers.reduce((sum, { byteLength }) => sum + byteLength, 0);
        },
        sync: () => writer.sync(),
        close: () => writer.close(),
      };
    },
    read: (id, start, end) => Readable.from(bytes(id, start, end), { objectMode: false }),
  };
};
