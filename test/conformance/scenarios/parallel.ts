import assert from 'node:assert/strict';
import type { Store } from '../../../src/store.ts';
import { KiB, rangesOf } from '../content.ts';
import { seededRandom } from '../random.ts';
import type { Scenario } from '../scenario.ts';
import type { TrackedUpload } from '../tracked-upload.ts';

// Many writers of one upload. They exclude nobody: one offset always carries the same byte.

const length = 200 * KiB;

/** Shares ranges out among writers, each of which writes and syncs in its own time. */
const writeTogether = async (
  stores: readonly Store[],
  upload: TrackedUpload,
  ranges: readonly { start: number; end: number }[],
): Promise<void> => {
  const writers = await Promise.all(stores.map((store) => upload.writer(store)));
  await Promise.all(
    writers.map(async (writer, n) => {
      const own = ranges.filter((_, index) => index % writers.length === n);
      for (const range of own) await writer.put(range);
      await writer.close();
    }),
  );
};

export const parallelScenarios: readonly Scenario[] = [
  {
    name: 'writers: four of one instance write an upload together',
    needs: ['sparse'],
    bytes: length,
    run: async (stage) => {
      const upload = stage.upload({ length });
      await upload.create(stage.store);
      const ranges = seededRandom(4).shuffle(rangesOf(length, 7 * KiB));
      await writeTogether(
        Array.from({ length: 4 }, () => stage.store),
        upload,
        ranges,
      );
      assert.deepEqual((await stage.store.load(upload.id))?.received, [{ start: 0, end: length }]);
    },
  },
  {
    name: 'writers: four of as many instances write an upload together',
    needs: ['sparse', 'multiProcess'],
    bytes: length,
    run: async (stage) => {
      const upload = stage.upload({ length });
      await upload.create(stage.store);
      const ranges = seededRandom(5).shuffle(rangesOf(length, 7 * KiB));
      await writeTogether(await stage.several(4), upload, ranges);
      assert.deepEqual((await stage.store.load(upload.id))?.received, [{ start: 0, end: length }]);
    },
  },
  {
    name: 'writers: those that overlap with equal bytes spoil nothing',
    needs: ['sparse'],
    bytes: length,
    run: async (stage) => {
      const upload = stage.upload({ length });
      await upload.create(stage.store);
      const random = seededRandom(6);
      const ranges = Array.from({ length: 60 }, () => {
        const start = random.below(length);
        return { start, end: start + 1 + random.below(Math.min(20 * KiB, length - start)) };
      });
      await writeTogether(await stage.several(3), upload, ranges);
      await stage.verify();
      await writeTogether(await stage.several(3), upload, [...ranges, { start: 0, end: length }]);
    },
  },
  {
    name: 'writers: one that was cut off does not take back what another wrote meanwhile',
    needs: ['sparse'],
    run: async (stage) => {
      const [one, other] = await stage.pair();
      const upload = stage.upload();
      await upload.create(one);
      const cut = await upload.writer(one);
      await cut.write({ start: 0, end: 3000 });
      const next = await upload.writer(other);
      await next.put({ start: 1000, end: 4000 });
      await cut.close();
      await next.close();
      await stage.verify();
      await upload.put(one, { start: 0, end: 1000 }, { start: 4000, end: 5000 });
    },
  },
  {
    name: 'writers: an upload made whole that gets its bytes once more, as when two processes make it at once, stays whole',
    needs: ['sparse'],
    bytes: length,
    run: async (stage) => {
      const [one, other] = await stage.pair();
      for (const size of [1000, length]) {
        const upload = stage.upload({ length: size });
        await upload.createWhole(one);
        await assert.rejects(upload.createWhole(other));
        const [late, later] = [await upload.writer(other), await upload.writer(one)];
        await late.write({ start: 0, end: size });
        await upload.verify(one);
        await late.sync();
        await later.put({ start: 100, end: 900 }, { start: 0, end: size });
        await upload.verify(one);
        await upload.claim(other);
        await later.put({ start: 500, end: size });
        await upload.finish(other);
        await late.close();
        await later.close();
      }
    },
  },
  {
    name: 'writers: an upload that is completed by one while another still writes is whole for all',
    needs: ['sparse'],
    run: async (stage) => {
      const [one, other] = await stage.pair();
      const upload = stage.upload();
      await upload.create(one);
      const [first, second] = [await upload.writer(one), await upload.writer(other)];
      await first.put({ start: 0, end: 3000 });
      await second.put({ start: 2000, end: 5000 });
      await upload.claim(one);
      await second.put({ start: 0, end: 5000 });
      await upload.verify(one);
      await upload.finish(one);
      await second.write({ start: 1000, end: 2000 });
      await second.sync();
      await first.close();
      await second.close();
    },
  },
  {
    name: 'writers: ten uploads are written at once, and none has a byte of another',
    run: async (stage) => {
      const stores = await stage.several(2);
      const uploads = stage.uploads(10, { length: 16 * KiB });
      await Promise.all(
        uploads.map(async (upload, n) => {
          const store = stores[n % 2] as Store;
          await upload.create(store);
          const writer = await upload.writer(store);
          for (const range of rangesOf(upload.length, 3 * KiB)) await writer.put(range);
          await writer.close();
        }),
      );
    },
  },
];
