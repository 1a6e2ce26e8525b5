import assert from 'node:assert/strict';
import type { Store } from '../../../src/store.ts';
import { KiB, newRecord } from '../content.ts';
import { idsOf } from '../expect.ts';
import type { Scenario } from '../scenario.ts';

export const removalScenarios: readonly Scenario[] = [
  {
    name: 'discard: the record survives the content, whole or in parts, for every instance',
    bytes: 300 * KiB,
    run: async (stage) => {
      const { store } = stage;
      const other = await stage.another();
      for (const length of [0, 1, 1000, 300 * KiB]) {
        const [whole, parts] = [stage.upload({ length }), stage.upload({ length })];
        await whole.createWhole(store, { context: 'c', metadata: { name: 'n' } });
        await parts.create(store);
        await parts.put(store, { start: 0, end: length });
        for (const upload of [whole, parts]) {
          await upload.claim(store);
          await upload.finish(store);
          await upload.update(store, { moved: true });
          for (const instance of [store, other, store]) {
            await upload.discard(instance);
            await upload.verify(store);
            await upload.verify(other);
          }
        }
      }
    },
  },
  {
    name: 'discard: a tombstone stays, and can be changed and discarded again',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.createWhole(store, { context: 'private', metadata: { name: 'private' } });
      await upload.remove(store);
      for (let n = 0; n < 3; n++) {
        await upload.update(store, { removedAt: n });
        await upload.discard(await stage.another());
        await upload.verify(store);
      }
    },
  },
  {
    name: 'discard: of an upload that is still whole it leaves no byte to read or to link',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.createWhole(store);
      await upload.claim(store);
      await upload.finish(store);
      const reading = store.read(upload.id, 0, 1);
      reading.destroy();
      await upload.handOver(store);
      if (store.link === undefined) return;
      await assert.rejects(store.link(upload.id, stage.target(), upload.length));
    },
  },
  {
    name: 'purge: frees the id, again and again, and the next upload has nothing of the last',
    run: async (stage) => {
      const stores = await stage.several(2);
      const { id } = newRecord();
      for (let round = 0; round < 6; round++) {
        const store = stores[round % 2] as Store;
        const upload = stage.upload({ id, name: `${id} ${round}`, length: 1000 * (6 - round) });
        if (round % 3 === 0) await upload.createWhole(store);
        else await upload.create(store);
        await stage.verify();
        if (round % 3 !== 0) await upload.put(store, { start: 0, end: 500 });
        if (round % 3 === 2) await upload.remove(store);
        await stage.verify();
        await upload.purge(stores[(round + 1) % 2] as Store);
        await stage.verify();
      }
    },
  },
  {
    name: 'purge: of ten at once, over several instances, each is harmless',
    run: async (stage) => {
      const stores = await stage.several(4);
      for (const upload of stage.uploads(5)) {
        await upload.createWhole(stage.store);
        await Promise.all(Array.from({ length: 10 }, (_, n) => upload.purge(stores[n % 4] as Store)));
      }
    },
  },
  {
    name: 'purge: touches no other upload, not one whose id begins alike',
    run: async (stage) => {
      const { store } = stage;
      const ids = ['abcdefghijklmnop', 'abcdefghijklmnopq', 'abcdefghijklmno_', 'abcdefghijklmnopqrstuvwxyz'];
      const uploads = ids.map((id) => stage.upload({ id, length: 300 }));
      for (const upload of uploads) await upload.createWhole(store);
      for (const upload of uploads) {
        await upload.purge(store);
        await stage.verify();
      }
    },
  },
  {
    name: 'purge: while an upload is looked at from all sides, nobody sees anything but it or nothing',
    run: async (stage) => {
      const { store } = stage;
      const other = await stage.another();
      for (const upload of stage.uploads(10)) {
        await upload.createWhole(store);
        await upload.remove(store);
        const record = upload.record;
        const [, ...looks] = await Promise.all([
          upload.purge(store),
          ...Array.from({ length: 10 }, () => other.load(upload.id)),
        ]);
        for (const stored of looks) if (stored !== undefined) assert.deepEqual(stored.record, record);
      }
      assert.deepEqual(await idsOf(other.list()), []);
    },
  },
  {
    name: 'close: what was stored is there when the data is opened again, in every state',
    needs: ['persistent'],
    bytes: 300 * KiB,
    run: async (stage) => {
      const { store } = stage;
      const [open, parts] = [stage.upload(), stage.upload()];
      const [claimed, finished] = [stage.upload(), stage.upload()];
      const [removed, purged] = [stage.upload(), stage.upload()];
      const large = stage.upload({ length: 300 * KiB });
      await open.create(store);
      await parts.create(store);
      await parts.put(store, { start: 0, end: 3000 });
      for (const upload of [claimed, finished, removed, purged, large]) await upload.createWhole(store);
      await claimed.claim(store, { reserve: 10_000 });
      await finished.claim(store);
      await finished.finish(store);
      await removed.remove(store);
      await purged.purge(store);
      for (let n = 0; n < 3; n++) {
        const next = await stage.reopen();
        await stage.verify();
        await claimed.update(next, { attempt: n }, { reserve: 10_000 });
      }
      await claimed.finish(await stage.reopen());
    },
  },
  {
    name: 'close: one instance that is closed takes nothing from the others',
    needs: ['multiProcess'],
    run: async (stage) => {
      const upload = stage.upload();
      const passing = await stage.world.open();
      await upload.create(passing);
      const writer = await upload.writer(passing);
      await writer.put({ start: 0, end: 2000 });
      const lasting = await upload.writer(stage.store);
      await lasting.write({ start: 2000, end: 3000 });
      await upload.claim(passing, { reserve: 10_000 });
      await writer.close();
      await passing.close();
      await lasting.sync();
      await lasting.put({ start: 3000, end: 5000 });
      await lasting.close();
      await upload.finish(stage.store);
    },
  },
  {
    name: 'close: an instance that was never used is closed like any other',
    needs: ['multiProcess'],
    run: async (stage) => {
      const unused = await stage.world.open();
      await unused.close();
    },
  },
];
