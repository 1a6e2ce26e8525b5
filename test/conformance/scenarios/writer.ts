import assert from 'node:assert/strict';
import type { Store } from '../../../src/store.ts';
import { inPieces, KiB, MiB, rangesOf, scribble } from '../content.ts';
import { refuses } from '../expect.ts';
import { seededRandom } from '../random.ts';
import type { Scenario } from '../scenario.ts';
import type { TrackedUpload } from '../tracked-upload.ts';

// One writer. Every write's buffers are overwritten as soon as it has resolved: see `TrackedWriter`.

/** Ways for an upload to end under a writer that is still open. */
const ends: readonly (readonly [string, (upload: TrackedUpload, store: Store) => Promise<void>])[] = [
  ['removed', (upload, store) => upload.remove(store)],
  [
    'finished and handed over',
    async (upload, store) => {
      await upload.claim(store);
      await upload.finish(store);
      await upload.handOver(store);
    },
  ],
  ['purged', (upload, store) => upload.purge(store)],
];

const afterTheEnd = ends.map(
  ([end, bringAbout]): Scenario => ({
    name: `writer: one that is open while its upload is ${end} brings nothing back`,
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store);
      const [idle, busy] = [await upload.writer(store), await upload.writer(await stage.another())];
      await busy.put({ start: 0, end: 2000 });
      await busy.write({ start: 2000, end: 3000 });
      await bringAbout(upload, store);
      await busy.writeInVain({ start: 3000, end: 5000 });
      await idle.writeInVain({ start: 2000, end: 5000 });
      await stage.verify();
      await busy.close();
      await idle.close();
    },
  }),
);

export const writerScenarios: readonly Scenario[] = [
  {
    name: 'writer: bytes that are appended are there, each time it has synced',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store);
      const writer = await upload.writer(store);
      for (const range of rangesOf(upload.length, 1100)) {
        await writer.put(range);
        await upload.verify(store);
      }
      await writer.close();
    },
  },
  {
    name: 'writer: bytes are taken at any offset, in any order and with gaps between them',
    needs: ['sparse'],
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store);
      const writer = await upload.writer(store);
      const ranges = rangesOf(upload.length, 311);
      const shuffled = seededRandom(1).shuffle(ranges.filter((_, n) => n % 3 !== 0));
      for (const range of shuffled) {
        await writer.put(range);
        await upload.verify(store);
      }
      await writer.put(...ranges.filter((_, n) => n % 3 === 0));
      await writer.close();
    },
  },
  {
    name: 'writer: an offset past 4 GiB is an offset like others',
    needs: ['sparse', 'readOpen'],
    bytes: 2 ** 33 + 10,
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store, { length: 2 ** 33 + 10 });
      const raw = await store.writer(upload.id);
      for (const offset of [2 ** 32 - 3, 2 ** 33]) {
        await raw.write([upload.bytes(0, 10)], offset);
        assert.deepEqual(await raw.sync(), [{ start: offset, end: offset + 10 }]);
      }
      await raw.close();
      const other = await stage.another();
      assert.deepEqual((await other.load(upload.id))?.received, [
        { start: 2 ** 32 - 3, end: 2 ** 32 + 7 },
        { start: 2 ** 33, end: 2 ** 33 + 10 },
      ]);
      for (const offset of [2 ** 32 - 3, 2 ** 33]) {
        const chunks = await other.read(upload.id, offset, offset + 10).toArray();
        assert.deepEqual(Buffer.concat(chunks), Buffer.from(upload.bytes(0, 10)));
      }
      await upload.purge(store);
    },
  },
  {
    name: 'writer: one write of 3 MiB in 12 buffers is taken whole',
    bytes: 3 * MiB,
    run: async (stage) => {
      const upload = stage.upload({ length: 3 * MiB });
      await upload.create(stage.store);
      const writer = await stage.store.writer(upload.id);
      const buffers = inPieces(upload.content, 12);
      await writer.write(buffers, 0);
      scribble(buffers);
      assert.deepEqual(await writer.sync(), [{ start: 0, end: 3 * MiB }]);
      upload.acknowledged.add(0, 3 * MiB);
      await writer.close();
    },
  },
  {
    name: 'writer: 1,000 small writes become one range',
    run: async (stage) => {
      const { store, supports } = stage;
      const upload = stage.upload({ length: 9000 });
      await upload.create(store);
      const writer = await upload.writer(store);
      const inOrder = rangesOf(upload.length, 9);
      const ranges = supports.sparse ? seededRandom(2).shuffle(inOrder) : inOrder;
      for (let n = 0; n < ranges.length; n += 100) await writer.put(...ranges.slice(n, n + 100));
      await writer.close();
      assert.deepEqual((await store.load(upload.id))?.received, [{ start: 0, end: 9000 }]);
    },
  },
  {
    name: 'writer: sync resolves with exactly the ranges that became safe since the last, and with none twice',
    run: async (stage) => {
      const upload = stage.upload();
      await upload.create(stage.store);
      const writer = await upload.writer(stage.store);
      assert.deepEqual(await writer.sync(), []);
      await writer.write({ start: 0, end: 100 });
      await writer.write({ start: 100, end: 250 });
      assert.deepEqual(await writer.sync(), [{ start: 0, end: 250 }]);
      assert.deepEqual(await writer.sync(), []);
      await writer.write({ start: 250, end: 300 });
      assert.deepEqual(await writer.sync(), [{ start: 250, end: 300 }]);
      await writer.close();
    },
  },
  {
    name: 'writer: what has a gap is acknowledged with the gap',
    needs: ['sparse'],
    run: async (stage) => {
      const upload = stage.upload();
      await upload.create(stage.store);
      const writer = await upload.writer(stage.store);
      await writer.write({ start: 300, end: 400 }, { start: 0, end: 100 });
      assert.deepEqual(await writer.sync(), [
        { start: 0, end: 100 },
        { start: 300, end: 400 },
      ]);
      await writer.close();
    },
  },
  {
    name: 'writer: nothing is acknowledged before it is safe, however syncs and writes overlap',
    needs: ['sparse'],
    bytes: 640 * KiB,
    run: async (stage) => {
      const { store } = stage;
      const other = await stage.another();
      const upload = stage.upload({ length: 640 * KiB });
      await upload.create(store);
      const writer = await upload.writer(store);
      const ranges = seededRandom(3).shuffle(rangesOf(upload.length, 20 * KiB));
      const acknowledge = async (): Promise<void> => {
        const acknowledged = await writer.sync();
        for (const view of new Set([store, other])) {
          const stored = await view.load(upload.id);
          assert.ok(stored);
          await upload.verifyContent(view, acknowledged);
          await upload.verify(view);
        }
      };
      for (let n = 0; n < ranges.length; n += 4) {
        const writing = ranges.slice(n, n + 4).map((range) => writer.write(range));
        await Promise.all([acknowledge(), acknowledge(), ...writing]);
      }
      await acknowledge();
      await writer.close();
    },
  },
  {
    name: 'writer: an acknowledged range is there for every instance, at once',
    run: async (stage) => {
      const { store } = stage;
      const other = await stage.another();
      const upload = stage.upload();
      await upload.create(store);
      const writer = await upload.writer(store);
      for (const range of rangesOf(upload.length, 500)) {
        await writer.write(range);
        await writer.sync();
        await upload.verify(other);
      }
      await writer.close();
    },
  },
  {
    name: 'writer: an acknowledged range is there when the data is opened again',
    needs: ['persistent'],
    run: async (stage) => {
      const upload = stage.upload();
      await upload.create(stage.store);
      for (const range of rangesOf(upload.length, 700)) {
        await upload.put(stage.store, range);
        await upload.verify(await stage.reopen());
      }
    },
  },
  {
    name: 'writer: closing acknowledges nothing, and what was not synced can be written again',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store);
      const writer = await upload.writer(store);
      await writer.put({ start: 0, end: 1000 });
      await writer.write({ start: 1000, end: 2000 });
      await writer.close();
      await stage.verify();
      const stored = await store.load(upload.id);
      const { end = 0 } = stored?.received.at(-1) ?? {};
      await upload.put(store, { start: end, end: 3000 });
    },
  },
  {
    name: 'writer: closing it again is harmless, and a closed one neither writes nor acknowledges',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store);
      const writer = await store.writer(upload.id);
      await writer.write([upload.bytes(0, 1000)], 0);
      await writer.sync();
      upload.acknowledged.add(0, 1000);
      for (let n = 0; n < 3; n++) await writer.close();
      await refuses(writer.write([upload.bytes(1000, 2000)], 1000), 'a write after close');
      await refuses(writer.sync(), 'a sync after close');
      await writer.close();
    },
  },
  {
    name: 'writer: one is closed when its writes have ended, however many were under way',
    needs: ['sparse'],
    bytes: 256 * KiB,
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload({ length: 256 * KiB });
      await upload.create(store);
      const writer = await upload.writer(store);
      const writing = rangesOf(upload.length, 32 * KiB).map((range) => writer.write(range));
      await Promise.all([Promise.allSettled(writing), writer.close()]);
    },
  },
  {
    name: 'writer: a write of nothing is a write of nothing',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store);
      const writer = await upload.writer(store);
      for (let n = 0; n < 3; n++) {
        await writer.write({ start: n * 10, end: n * 10 });
        assert.deepEqual(await writer.sync(), []);
        await writer.put({ start: n * 10, end: n * 10 + 10 });
      }
      await writer.close();
    },
  },
  {
    name: 'writer: 30 writers, one after another, lose nothing',
    run: async (stage) => {
      const upload = stage.upload();
      await upload.create(stage.store);
      for (const range of rangesOf(upload.length, Math.ceil(upload.length / 30)))
        await upload.put(stage.store, range);
    },
  },
  ...afterTheEnd,
  {
    name: 'writer: one of an upload that was purged writes nothing into the next of that id',
    run: async (stage) => {
      const { store } = stage;
      const old = stage.upload();
      await old.create(store);
      const writer = await old.writer(store);
      await writer.put({ start: 0, end: 2000 });
      await old.purge(store);
      const made = stage.upload({ id: old.id, name: 'another', length: 4000 });
      await made.create(store);
      await writer.writeInVain({ start: 2000, end: 3000 });
      await stage.verify();
      await made.put(store, { start: 0, end: 1000 });
      await writer.writeInVain({ start: 3000, end: 4000 });
      await stage.verify();
      await writer.close();
    },
  },
];
