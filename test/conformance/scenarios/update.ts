import assert from 'node:assert/strict';
import type { Store, UploadRecord } from '../../../src/store.ts';
import { KiB } from '../content.ts';
import { assertRecord } from '../expect.ts';
import type { Scenario } from '../scenario.ts';
import { together } from '../together.ts';

/** Goes on from whatever it finds until it has won `times`; returns the versions it made. */
const increment = async (store: Store, id: string, times: number): Promise<number[]> => {
  const made: number[] = [];
  while (made.length < times) {
    const stored = await store.load(id);
    assert.ok(stored, 'the upload is gone');
    const { record, version } = stored;
    if (await store.update(version, { ...record, attempt: record.attempt + 1 })) made.push(version + 1);
  }
  return made;
};

export const updateScenarios: readonly Scenario[] = [
  {
    name: 'update: of 20 at once with one version exactly one wins, and it is the one in force',
    run: async (stage) => {
      const stores = await stage.several(4);
      const upload = stage.upload();
      await upload.create(stage.store);
      for (let round = 0; round < 10; round++) {
        const records = Array.from({ length: 20 }, (_, n) => upload.changed({ attempt: n }));
        const outcomes = await Promise.all(
          records.map((record, n) => (stores[n % 4] as Store).update(upload.version, record)),
        );
        assert.equal(outcomes.filter((won) => won).length, 1, 'so many updates of one version won');
        upload.adopt(records[outcomes.indexOf(true)] as UploadRecord);
        for (const store of stores) await upload.verify(store);
      }
    },
  },
  {
    name: 'update: two completions with one version cannot both win',
    run: async (stage) => {
      const [one, other] = await stage.pair();
      const upload = stage.upload();
      await upload.createWhole(one);
      await upload.claim(one);
      const completion = (response: string) =>
        upload.changed({ state: 'finished', claim: undefined, response });
      const { version } = upload;
      assert.equal(await one.update(version, completion('mine')), true);
      assert.equal(await other.update(version, completion('theirs')), false, 'a second completion won');
      upload.adopt(completion('mine'));
    },
  },
  {
    name: 'update: every one that is told it won has made a version, and no two the same',
    run: async (stage) => {
      const stores = await stage.several(4);
      const upload = stage.upload();
      await upload.createWhole(stage.store, { state: 'claimed' });
      const made = await together(
        Array.from({ length: 8 }, (_, n) => increment(stores[n % 4] as Store, upload.id, 5)),
      );
      const versions = made.flat().sort((a, b) => a - b);
      assert.deepEqual(
        versions,
        Array.from({ length: 40 }, (_, n) => n + 2),
      );
      upload.adopt(upload.changed({ attempt: 40 }), 41);
    },
  },
  {
    name: 'update: a version that is not in force loses, be it past or to come, and changes nothing',
    run: async (stage) => {
      const other = await stage.another();
      const upload = stage.upload();
      await upload.create(stage.store);
      for (let n = 1; n <= 5; n++) await upload.update(stage.store, { attempt: n });
      for (const version of [1, 2, 3, 4, 5, 7, 8, 1000]) {
        for (const store of [stage.store, other]) {
          const record = upload.changed({ attempt: 99, response: 'late' });
          assert.equal(await store.update(version, record), false, `version ${version} of 6 won`);
          assert.equal(await store.update(version, record, { reserve: 1000 }), false);
        }
      }
    },
  },
  {
    name: 'update: one that loses to another instance goes on from what that has made',
    run: async (stage) => {
      const [one, other] = await stage.pair();
      const upload = stage.upload();
      await upload.createWhole(one, { state: 'claimed', attempt: 1 });
      for (let n = 2; n <= 6; n++) {
        const [store, late] = n % 2 === 0 ? [other, one] : [one, other];
        await upload.update(store, { attempt: n });
        assert.equal(await late.update(upload.version - 1, upload.changed({ attempt: 99 })), false);
      }
      await upload.finish(one);
    },
  },
  {
    name: 'update: a version that another instance has made is as good to go on from as an own one',
    run: async (stage) => {
      const [one, other] = await stage.pair();
      const upload = stage.upload();
      await upload.createWhole(one, { state: 'claimed', attempt: 1 });
      for (const store of [other, other, one, other, one, one, other]) {
        await upload.claim(store);
        await upload.verify(one);
        await upload.verify(other);
      }
      await upload.finish(one);
    },
  },
  {
    name: 'update: an upload that was made anew under a purged id is compared by its own version',
    run: async (stage) => {
      const [one, other] = await stage.pair();
      const old = stage.upload();
      await old.createWhole(one, { state: 'claimed', attempt: 1 });
      await old.purge(other);
      const made = stage.upload({ id: old.id, name: 'another', length: 100 });
      await made.createWhole(other);
      await made.verify(one);
      await made.update(one, { attempt: 5 });
      await made.claim(other);
      await made.finish(one);
    },
  },
  {
    name: 'update: with room reserved an answer of 90 KiB is stored, however often the claim was renewed before',
    run: async (stage) => {
      const { store } = stage;
      const reserve = 100 * KiB;
      const upload = stage.upload();
      await upload.createWhole(store);
      await upload.claim(store, { reserve });
      for (let n = 1; n <= 5; n++) {
        await upload.update(store, { claim: { owner: 'machine.1.1.a-1', expiresAt: n } }, { reserve });
      }
      await upload.finish(store, 'r'.repeat(90 * KiB));
    },
  },
  {
    name: 'update: room that was not used, lost, or too small harms nobody',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store, {}, { reserve: 1000 });
      assert.equal(await store.update(7, upload.changed({}), { reserve: 1000 }), false);
      assert.equal(await store.update(7, upload.changed({})), false);
      await upload.update(store, { attempt: 1 }, { reserve: 1000 });
      await upload.update(store, { context: 'c'.repeat(50 * KiB) });
      await upload.update(store, { context: undefined });
      const [left, purged] = [stage.upload(), stage.upload()];
      await left.create(store, {}, { reserve: 10_000 });
      await purged.create(store, {}, { reserve: 10_000 });
      await purged.purge(store);
      assert.equal(await store.update(1, purged.changed({})), false);
    },
  },
  {
    name: 'update: while an upload is purged says whether it won, and brings nothing back',
    run: async (stage) => {
      const other = await stage.another();
      for (const upload of stage.uploads(20, { length: 100 })) {
        await upload.create(stage.store);
        const record = upload.changed({ attempt: 1 });
        const [won] = await Promise.all([stage.store.update(1, record), upload.purge(other)]);
        assert.equal(typeof won, 'boolean');
        assert.equal(await stage.store.load(upload.id), undefined);
      }
    },
  },
  {
    name: 'update: whoever looks meanwhile sees the old record or the new one',
    run: async (stage) => {
      const other = await stage.another();
      const upload = stage.upload();
      await upload.create(stage.store);
      for (let n = 1; n <= 20; n++) {
        const old = upload.changed({});
        const next = upload.changed({ attempt: n, context: String(n).repeat(3 * KiB) });
        const looks = Array.from({ length: 5 }, () => other.load(upload.id));
        assert.equal(await stage.store.update(upload.version, next), true);
        for (const stored of await Promise.all(looks)) {
          assert.ok(stored);
          assertRecord(stored.record, stored.version === upload.version ? old : next);
        }
        upload.adopt(next);
      }
    },
  },
  {
    name: 'update: bytes are untouched by it, and it by bytes',
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload();
      await upload.create(store, { metadata: { name: 'first' } });
      const writer = await upload.writer(store);
      for (let n = 0; n < 5; n++) {
        await Promise.all([
          writer.put({ start: n * 1000, end: (n + 1) * 1000 }),
          upload.update(store, { metadata: { name: `change ${n}` } }),
        ]);
        await upload.verify(store);
      }
      await writer.close();
    },
  },
];
