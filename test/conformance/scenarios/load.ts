import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { IntervalSet } from '../../../src/intervals.ts';
import type { Store, StoredUpload } from '../../../src/store.ts';
import { rangesOf } from '../content.ts';
import { assertCovers } from '../expect.ts';
import type { Scenario } from '../scenario.ts';
import { whileLooking } from '../together.ts';
import type { TrackedUpload } from '../tracked-upload.ts';

const mustLoad = async (store: Store, { id }: TrackedUpload): Promise<StoredUpload> => {
  const stored = await store.load(id);
  assert.ok(stored, 'an upload is missing');
  return stored;
};

/** Until the clock says another millisecond: in the same one nothing could be seen to grow. */
const later = async (time: number): Promise<void> => {
  while (Date.now() <= time) await turn();
};

export const loadScenarios: readonly Scenario[] = [
  {
    name: 'load: what is received is sorted, disjoint and merged, in whatever order it came',
    needs: ['sparse'],
    run: async (stage) => {
      const upload = stage.upload();
      await upload.create(stage.store);
      const writer = await upload.writer(stage.store);
      for (const start of [4000, 0, 2000, 1000, 4500]) await writer.put({ start, end: start + 500 });
      const expected = [0, 1000, 2000].map((start) => ({ start, end: start + 500 }));
      const { received } = await mustLoad(stage.store, upload);
      assert.deepEqual(received, [...expected, { start: 4000, end: 5000 }]);
      await writer.put({ start: 400, end: 2100 });
      assert.deepEqual((await mustLoad(stage.store, upload)).received, [
        { start: 0, end: 2500 },
        { start: 4000, end: 5000 },
      ]);
    },
  },
  {
    name: 'load: of a finished upload all is received, whatever has become of its content',
    run: async (stage) => {
      const { store } = stage;
      for (const upload of [stage.upload(), stage.upload({ length: 0 }), stage.upload({ length: 1 })]) {
        await upload.create(store);
        await upload.put(store, { start: 0, end: upload.length });
        await upload.claim(store);
        await upload.finish(store);
        await upload.verify(await stage.another());
        await upload.handOver(store);
        await upload.verify(await stage.another());
      }
    },
  },
  {
    name: 'load: activeAt grows with a byte that is synced, and with an update',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store);
      let { activeAt } = await mustLoad(store, upload);
      const grows = async (by: string): Promise<void> => {
        for (const view of new Set([store, await stage.another()])) {
          const now = (await mustLoad(view, upload)).activeAt;
          assert.ok(now > activeAt, `activeAt was ${activeAt} and is ${now} after ${by}`);
        }
        activeAt = (await mustLoad(store, upload)).activeAt;
      };
      const writer = await upload.writer(store);
      for (let n = 0; n < 3; n++) {
        await later(activeAt);
        await writer.put({ start: n, end: n + 1 });
        await grows('a byte');
        await later(activeAt);
        await upload.update(store, { attempt: n });
        await grows('an update');
      }
      await writer.close();
    },
  },
  {
    name: 'load: asking changes nothing, however often and however many at once',
    run: async (stage) => {
      const upload = stage.upload();
      await upload.createWhole(stage.store);
      const first = await mustLoad(stage.store, upload);
      const stores = await stage.several(4);
      const all = await Promise.all(
        Array.from({ length: 40 }, (_, n) => mustLoad(stores[n % 4] as Store, upload)),
      );
      for (const stored of all) assert.deepEqual(stored, first);
    },
  },
  {
    name: 'load: while bytes arrive, nothing that was acknowledged is ever missing again',
    run: async (stage) => {
      const other = await stage.another();
      const upload = stage.upload({ length: 16_000 });
      await upload.create(stage.store);
      const writer = await upload.writer(stage.store);
      const lookFrom = (store: Store) => async (): Promise<void> => {
        const before = upload.acknowledged.clone();
        const { received } = await mustLoad(store, upload);
        assertCovers(received, before, 'received lacks what was acknowledged before it was asked for');
      };
      await whileLooking([lookFrom(stage.store), lookFrom(other)], async () => {
        for (const range of rangesOf(upload.length, 500)) await writer.put(range);
      });
      assert.equal(IntervalSet.from((await mustLoad(other, upload)).received).size, upload.length);
      await writer.close();
    },
  },
];
