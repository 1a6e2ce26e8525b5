import assert from 'node:assert/strict';
import type { ListFilter, Store } from '../../../src/store.ts';
import { idsOf } from '../expect.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import type { TrackedUpload } from '../tracked-upload.ts';

type Life = (upload: TrackedUpload, store: Store) => Promise<void>;

const finish: Life = async (upload, store) => {
  await upload.claim(store);
  await upload.finish(store);
};

/** Each ends where a filter may tell it from the others. */
const lives: readonly Life[] = [
  async () => undefined,
  (upload, store) => upload.claim(store),
  (upload, store) => upload.update(store, { expiresAfterMs: 60_000 }),
  finish,
  async (upload, store) => {
    await finish(upload, store);
    await upload.update(store, { refused: true });
  },
  async (upload, store) => {
    await finish(upload, store);
    await upload.handOver(store);
  },
  // As a crash leaves them that came before the content went.
  async (upload, store) => {
    await finish(upload, store);
    await upload.update(store, { moved: true });
  },
  (upload, store) => upload.update(store, { state: 'removed', removedAt: Date.now() }),
  (upload, store) => upload.remove(store),
];

/** Two uploads of each life. */
const someOfEach = async (stage: Stage): Promise<TrackedUpload[]> => {
  const all: TrackedUpload[] = [];
  for (const live of [...lives, ...lives]) {
    const upload = stage.upload({ length: 100 });
    await upload.createWhole(stage.store);
    await live(upload, stage.store);
    all.push(upload);
  }
  return all;
};

/** Whether a filter names an upload: what `ListFilter` says. */
const isNamed = ({ record, hasContent }: TrackedUpload, activeAt: number, filter: ListFilter): boolean => {
  if (record === undefined) return false;
  const { states, idleSince, refused, ownExpiry, undiscarded } = filter;
  if (states !== undefined && !states.includes(record.state)) return false;
  if (idleSince !== undefined && activeAt > idleSince) return false;
  if (refused && record.refused !== true) return false;
  if (ownExpiry && (record.state !== 'open' || record.expiresAfterMs === undefined)) return false;
  return !undiscarded || (hasContent && (record.state === 'removed' || record.moved === true));
};

/** Every filter there is with these times, by itself and with others. */
const everyFilter = (times: readonly number[]): ListFilter[] => {
  const states: ListFilter[] = [
    {},
    { states: [] },
    { states: ['open'] },
    { states: ['claimed', 'finished'] },
    { states: ['open', 'claimed', 'finished', 'removed'] },
  ];
  const ages: ListFilter[] = [{}, ...times.map((idleSince) => ({ idleSince }))];
  const flags: ListFilter[] = [
    {},
    { refused: true },
    { ownExpiry: true },
    { undiscarded: true },
    { refused: true, undiscarded: true },
  ];
  return states.flatMap((a) => ages.flatMap((b) => flags.map((c) => ({ ...a, ...b, ...c }))));
};

const assertOnce = (ids: readonly string[], what: string): void => {
  assert.equal(new Set(ids).size, ids.length, `${what} gives an id twice`);
};

export const listScenarios: readonly Scenario[] = [
  {
    name: 'list: where nothing is stored it is empty, and so it is after everything was purged',
    run: async (stage) => {
      const { store } = stage;
      const assertEmpty = async (): Promise<void> => {
        assert.deepEqual(await idsOf(store.list()), []);
        for (const filter of everyFilter([Date.now()]))
          assert.deepEqual(await idsOf(store.list([filter])), []);
      };
      await assertEmpty();
      const uploads = await someOfEach(stage);
      for (const upload of uploads) await upload.purge(store);
      await assertEmpty();
    },
  },
  {
    name: 'list: gives every id exactly once, tombstones too, to any number of walks at once',
    run: async (stage) => {
      const uploads = [...(await someOfEach(stage)), ...stage.uploads(60, { length: 0 })];
      for (const upload of uploads) if (!upload.exists) await upload.create(stage.store);
      const expected = uploads.map(({ id }) => id).sort();
      const stores = await stage.several(3);
      const walks = await Promise.all([...stores, ...stores].map((store) => idsOf(store.list())));
      for (const ids of walks) assert.deepEqual(ids.sort(), expected);
    },
  },
  {
    name: 'list: a filter misses no upload that it names, and gives none twice and none that there is not',
    run: async (stage) => {
      const uploads = await someOfEach(stage);
      const activeAt = new Map<TrackedUpload, number>();
      for (const upload of uploads) activeAt.set(upload, (await stage.store.load(upload.id))?.activeAt ?? 0);
      // To the millisecond: what was active at that time is in, what was a moment later is out.
      const times = [...activeAt.values()].sort((a, b) => a - b);
      const filters = everyFilter([
        0,
        times[0] ?? 0,
        times[Math.floor(times.length / 2)] ?? 0,
        times.at(-1) ?? 0,
      ]);
      const existing = new Set(uploads.map(({ id }) => id));
      const stores = await stage.several(2);
      for (const [n, filter] of filters.entries()) {
        const some = n % 3 === 0 ? [filter, filters[(n * 7) % filters.length] as ListFilter] : [filter];
        const what = `list(${JSON.stringify(some)})`;
        const ids = await idsOf((stores[n % 2] as Store).list(some));
        assertOnce(ids, what);
        for (const id of ids) assert.ok(existing.has(id), `${what} gives what is no upload: ${id}`);
        for (const upload of uploads) {
          if (!some.some((one) => isNamed(upload, activeAt.get(upload) ?? 0, one))) continue;
          assert.ok(
            ids.includes(upload.id),
            `${what} misses an upload that is ${JSON.stringify(upload.record)}`,
          );
        }
      }
    },
  },
  {
    name: 'list: while uploads come and go, those that stay are given exactly once',
    run: async (stage) => {
      const other = await stage.another();
      const [staying, fleeting] = [stage.uploads(40, { length: 0 }), stage.uploads(20, { length: 0 })];
      for (const upload of [...staying, ...fleeting]) await upload.create(stage.store);
      const seen: string[] = [];
      for await (const id of stage.store.list()) {
        seen.push(id);
        await fleeting.pop()?.purge(other);
        if (seen.length < 20) await stage.upload({ length: 0 }).create(other);
      }
      assertOnce(seen, 'list');
      for (const { id } of staying) assert.ok(seen.includes(id), 'list misses an upload that stayed');
      for (const id of seen) assert.match(id, /^[A-Za-z0-9_-]{16,64}$/);
    },
  },
  {
    name: 'list: whoever walks over uploads may change, remove and purge them on the way',
    run: async (stage) => {
      const { store } = stage;
      const left = new Map(stage.uploads(20, { length: 100 }).map((upload) => [upload.id, upload]));
      for (const upload of left.values()) await upload.createWhole(store);
      for await (const id of store.list([{ states: ['open'] }])) {
        const upload = left.get(id);
        if (upload === undefined) continue; // it has changed: then it may be in it twice
        left.delete(id);
        if (left.size % 3 === 0) await upload.remove(store);
        else if (left.size % 3 === 1) await upload.purge(store);
        else await upload.update(store, { attempt: 1 });
      }
      assert.equal(left.size, 0, 'uploads that list has missed');
    },
  },
  {
    name: 'list: a walk that is left early lets go of all it holds',
    run: async (stage) => {
      for (const upload of stage.uploads(40, { length: 0 })) await upload.create(stage.store);
      for (let n = 0; n < 5; n++) {
        for await (const _ of stage.store.list()) break;
        await stage.store.list()[Symbol.asyncIterator]().return?.();
      }
    },
  },
];
