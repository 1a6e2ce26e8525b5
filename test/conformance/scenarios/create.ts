import assert from 'node:assert/strict';
import { isUploadError } from '../../../src/errors.ts';
import type { Store, UploadRecord } from '../../../src/store.ts';
import { contentOf, inPieces, KiB, MiB, newId, newRecord } from '../content.ts';
import { rejectsWith } from '../expect.ts';
import type { Scenario } from '../scenario.ts';
import { whileLooking } from '../together.ts';
import { someClaim, type TrackedUpload } from '../tracked-upload.ts';

const sizes: readonly (readonly [string, number])[] = [
  ['no byte', 0],
  ['one byte', 1],
  ['1,000 bytes', 1000],
  ['70 KiB', 70 * KiB],
  ['300 KiB', 300 * KiB],
  ['3 MiB', 3 * MiB],
];

const wholeOfSize = sizes.map(
  ([size, length]): Scenario => ({
    name: `create: an upload made with all its content, ${size} in several buffers, is whole`,
    bytes: length,
    run: async (stage) => {
      await stage.upload({ length }).createWhole(stage.store);
    },
  }),
);

/** Every record that an upload may begin with. */
const beginnings: readonly Partial<UploadRecord>[] = [
  { state: 'open' },
  { state: 'claimed', attempt: 1, claim: someClaim },
  { state: 'finished', attempt: 1, response: '{"status":204}' },
  { state: 'removed', removedAt: 1 },
];

const inState = beginnings.map(
  (facts): Scenario => ({
    name: `create: an upload may begin ${facts.state}`,
    run: async (stage) => {
      await stage.upload().createWhole(stage.store, facts);
      await stage.upload().create(stage.store, facts.state === 'finished' ? { ...facts, length: 0 } : facts);
    },
  }),
);

/** Makes the same id once for each store, each with a record and a content of its own; returns who won. */
const contend = async (
  stores: readonly Store[],
  uploads: readonly TrackedUpload[],
): Promise<TrackedUpload[]> => {
  const outcomes = await Promise.allSettled(
    uploads.map((upload, n) => upload.createWhole(stores[n] as Store)),
  );
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') continue;
    assert.ok(isUploadError(outcome.reason, 'exists'), `a create that lost rejected with ${outcome.reason}`);
  }
  return uploads.filter((_, n) => outcomes[n]?.status === 'fulfilled');
};

export const createScenarios: readonly Scenario[] = [
  {
    name: 'create: an upload made without content has version 1, and no byte of the length it states',
    run: async (stage) => {
      const upload = stage.upload();
      await upload.create(stage.store);
      assert.deepEqual((await stage.store.load(upload.id))?.received, []);
    },
  },
  ...wholeOfSize,
  {
    name: 'create: content in 1,500 buffers, some of them empty, is whole',
    bytes: 70 * KiB,
    run: async (stage) => {
      const upload = stage.upload({ length: 70 * KiB });
      await upload.createWhole(stage.store, {}, {}, inPieces(upload.content, 1500));
    },
  },
  {
    name: 'create: content in buffers that are parts of larger ones is whole',
    run: async (stage) => {
      const upload = stage.upload();
      const shared = new Uint8Array(upload.length + 200).fill(0x5a);
      shared.set(upload.content, 100);
      const views = [shared.subarray(100, 1100), Buffer.from(shared.buffer, 1100, upload.length - 1000)];
      await upload.createWhole(stage.store, {}, {}, views);
    },
  },
  ...inState,
  {
    name: 'create: with room reserved, an answer of 90 KiB is stored later',
    run: async (stage) => {
      const { store } = stage;
      const claimed: Partial<UploadRecord> = { state: 'claimed', attempt: 1, claim: someClaim };
      for (const upload of [stage.upload(), stage.upload({ length: 0 })]) {
        await upload.createWhole(store, claimed, { reserve: 100 * KiB });
        await upload.finish(store, 'r'.repeat(90 * KiB));
      }
    },
  },
  {
    name: 'create: a taken id is refused, by a tombstone too, and nothing of what is there changes',
    run: async (stage) => {
      const { store } = stage;
      const [whole, part, removed] = [stage.upload(), stage.upload(), stage.upload()];
      await whole.createWhole(store);
      await part.create(store);
      await part.put(store, { start: 0, end: 1000 });
      await removed.create(store);
      await removed.remove(store);
      for (const other of await stage.several(3)) {
        for (const { id } of [whole, part, removed]) {
          const record = newRecord({ id, length: 7000 });
          await rejectsWith(other.create(record), 'exists', 'create');
          await rejectsWith(
            other.create(record, [contentOf('other', 7000)]),
            'exists',
            'create with content',
          );
          const options = { reserve: 10_000 };
          await rejectsWith(other.create(record, undefined, options), 'exists', 'create with room');
        }
      }
    },
  },
  {
    name: 'create: of 20 at once with one id exactly one wins, and the upload has its record and its content',
    run: async (stage) => {
      const stores = await stage.several(4);
      for (let round = 0; round < 5; round++) {
        const id = newId();
        const contenders = Array.from({ length: 20 }, (_, n) =>
          stage.upload({ id, name: `${id}${n}`, length: 3000 + n, metadata: { n: String(n) } }),
        );
        const winners = await contend(
          contenders.map((_, n) => stores[n % 4] as Store),
          contenders,
        );
        assert.equal(winners.length, 1, 'so many creates of one id won');
        for (const store of stores) await winners[0]?.verify(store);
        await winners[0]?.purge(stage.store);
        // The last of them is the one the stage looks at: all of one id are gone.
      }
    },
  },
  {
    name: 'create: whoever looks while an upload is made sees all of it or nothing',
    bytes: 70 * KiB,
    run: async (stage) => {
      const { store } = stage;
      const other = await stage.another();
      for (let round = 0; round < 5; round++) {
        const upload = stage.upload({ length: 70 * KiB });
        const look = async (): Promise<void> => {
          const stored = await other.load(upload.id);
          if (stored === undefined) return;
          assert.deepEqual(stored.received, [{ start: 0, end: upload.length }]);
          if (other.supports.readOpen) await upload.verifyContent(other, stored.received);
        };
        await whileLooking([look, look], () => upload.createWhole(store));
      }
    },
  },
  {
    name: 'create: 50 uploads made at once, over several instances, are 50 uploads',
    run: async (stage) => {
      const stores = await stage.several(3);
      const make = (upload: TrackedUpload, n: number): Promise<void> => {
        const store = stores[n % 3] as Store;
        return n % 2 === 0 ? upload.create(store) : upload.createWhole(store);
      };
      await Promise.all(stage.uploads(50, { length: 500 }).map(make));
    },
  },
  {
    name: 'create: every id of the documented form is one of its own',
    run: async (stage) => {
      const shortest = [
        '_'.repeat(16),
        '-'.repeat(16),
        '0'.repeat(16),
        'constructor_____',
        '__proto__-------',
      ];
      const cases = ['abcdefghijklmnop', 'abcdefghijklmnopq', 'ABCDEFGHIJKLMNOP', 'AbCdEfGhIjKlMnOp'];
      const longest = ['z'.repeat(64), `${'z'.repeat(63)}-`];
      for (const id of [...shortest, ...cases, ...longest]) {
        await stage.upload({ id, length: 100, metadata: { id } }).createWhole(stage.store);
      }
    },
  },
  {
    name: 'create: an upload with the id of one that was purged has nothing of that',
    run: async (stage) => {
      const { store } = stage;
      const old = stage.upload();
      await old.createWhole(store);
      await old.purge(store);
      const made = stage.upload({ id: old.id, name: 'another', length: 4000 });
      await made.create(await stage.another());
      await made.put(store, { start: 0, end: 1000 });
    },
  },
];
