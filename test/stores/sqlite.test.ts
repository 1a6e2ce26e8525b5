import { spawnSync } from 'node:child_process';
import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { IntervalSet } from '../../src/intervals.ts';
import { self } from '../../src/owner.ts';
import type { Durability, UploadRecord } from '../../src/store.ts';
import { migrations, writerPragmas } from '../../stores/sqlite/schema.ts';
import { addRanges, createUpload, discardContent, statements } from '../../stores/sqlite/statements.ts';
import { type WalkFilter, walk } from '../../stores/sqlite/walk.ts';
import { type SqliteStore, type SqliteStoreOptions, sqliteStore } from '../../stores/sqlite.ts';
import { content, deadOwner, newId, newWorld, sha256, storedSum, turn } from '../support/model.ts';

const newRecord = (id: string, facts: Partial<UploadRecord> = {}): UploadRecord => ({
  id,
  createdAt: 1000,
  state: 'open',
  metadata: {},
  attempt: 0,
  ...facts,
});

interface World {
  readonly directory: string;
  readonly store: SqliteStore;
  /** Another instance over the same data. */
  open(options?: Partial<SqliteStoreOptions>): SqliteStore;
  /** The index, as an operator would open it. */
  index(): Database.Database;
}

const newSqlite = async (
  durability: Durability = 'process',
  options: Partial<SqliteStoreOptions> = {},
): Promise<World> => {
  const { directory } = await newWorld('sqlite', durability);
  const open = (more: Partial<SqliteStoreOptions> = {}): SqliteStore => {
    const store = sqliteStore({ directory, durability, ...options, ...more });
    onTestFinished(() => store.close());
    return store;
  };
  const index = (): Database.Database => {
    const database = new Database(join(directory, 'index.sqlite'));
    onTestFinished(() => void database.close());
    return database;
  };
  return { directory, store: open(), open, index };
};

const contentFiles = async ({ directory }: World): Promise<string[]> => {
  const names = await readdir(join(directory, 'content'), { recursive: true, withFileTypes: true });
  return names.filter((entry) => entry.isFile()).map(({ name }) => name);
};

const all = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
};

afterEach(() => {
  vi.restoreAllMocks();
});

/** An index in memory, to which changes are made as the thread makes them. */
const memoryIndex = () => {
  const database = new Database(':memory:');
  onTestFinished(() => void database.close());
  for (const script of migrations) database.exec(script);
  const prepared = statements.map((text) => database.prepare(text));
  const change = (steps: readonly { statement: number; values: readonly unknown[] }[]): void => {
    for (const { statement, values } of steps) {
      if (prepared[statement]?.run(values).changes === 0 && steps[0]?.statement === statement) return;
    }
  };
  return { database, change };
};

describe('sqlite: ranges', () => {
  test('of any order are merged to what an interval set has, and their sum is the size', () => {
    const range = fc
      .tuple(fc.nat(60), fc.integer({ min: 1, max: 20 }))
      .map(([start, bytes]) => ({ start, end: start + bytes }));
    fc.assert(
      fc.property(
        fc.array(fc.array(range, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 12 }),
        (batches) => {
          const { database, change } = memoryIndex();
          change(createUpload(newRecord('a'), { file: 'f' }, 1));
          change(createUpload(newRecord('b'), { file: 'g' }, 1));
          change(addRanges({ id: 'b', file: 'g' }, [{ start: 5, end: 6 }], 1));
          const model = new IntervalSet();
          for (const ranges of batches) {
            change(addRanges({ id: 'a', file: 'f' }, ranges, 2));
            model.addAll(ranges);
          }
          const rows = database.prepare(
            'SELECT start, end FROM ranges JOIN uploads ON key = upload WHERE id = ? ORDER BY start',
          );
          const size = database.prepare('SELECT size FROM uploads WHERE id = ?').pluck();
          expect(rows.all('a')).toEqual(model.ranges());
          expect(size.get('a')).toBe(model.size);
          expect(rows.all('b')).toEqual([{ start: 5, end: 6 }]);
          change(discardContent('a'));
          expect([rows.all('a'), size.get('a'), size.get('b')]).toEqual([[], 0, 1]);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('may lie anywhere below 2^53', () => {
    const { database, change } = memoryIndex();
    const { MAX_SAFE_INTEGER: most } = Number;
    change(createUpload(newRecord('a', { length: most }), { file: 'f' }, most));
    change(addRanges({ id: 'a', file: 'f' }, [{ start: most - 5, end: most }], most));
    change(addRanges({ id: 'a', file: 'f' }, [{ start: most - 9, end: most - 5 }], most));
    const rows = database.prepare('SELECT start, end FROM ranges').all();
    expect(rows).toEqual([{ start: most - 9, end: most }]);
  });

  test('many small writes are one row', async () => {
    const world = await newSqlite();
    const id = newId();
    await world.store.create(newRecord(id));
    const writer = await world.store.writer(id);
    for (let n = 0; n < 50; n++) {
      await writer.write([content(10)], n * 10);
      if (n % 3 === 0) await writer.sync();
    }
    await writer.sync();
    await writer.close();
    expect(world.index().prepare('SELECT start, end FROM ranges').all()).toEqual([{ start: 0, end: 500 }]);
  });
});

describe('sqlite: commits', () => {
  test('of a thousand uploads that make a checkpoint at once are a handful of transactions', async () => {
    const { store } = await newSqlite('power');
    const ids = Array.from({ length: 1000 }, newId);
    await Promise.all(ids.map((id) => store.create(newRecord(id))));
    const writers = await Promise.all(ids.map((id) => store.writer(id)));
    await Promise.all(writers.map((writer) => writer.write([content(10)], 0)));
    const posted = vi.spyOn(Worker.prototype, 'postMessage');
    await Promise.all(writers.map((writer) => writer.sync()));
    // Each content file has a sync of its own; how many end in one turn of the event loop varies.
    expect(posted.mock.calls.length).toBeLessThan(250);
    expect((await store.count()).bytes).toBe(10_000);
    await Promise.all(writers.map((writer) => writer.close()));
  });

  test('that are asked for in one turn are one transaction', async () => {
    const { store } = await newSqlite();
    await store.count();
    const posted = vi.spyOn(Worker.prototype, 'postMessage');
    await Promise.all(Array.from({ length: 200 }, () => store.create(newRecord(newId()))));
    expect(posted.mock.calls).toHaveLength(1);
  });

  test('wait for another process without holding up the event loop', async () => {
    const world = await newSqlite();
    const id = newId();
    await world.store.create(newRecord(id));
    const other = world.index();
    other.prepare('BEGIN IMMEDIATE').run();
    const delay = monitorEventLoopDelay({ resolution: 5 });
    let isUpdated = false;
    const updating = world.store.update(1, newRecord(id, { attempt: 1 })).then((won) => {
      isUpdated = won;
    });
    delay.enable();
    await new Promise((resolve) => setTimeout(resolve, 300)); // time itself is what this is about
    delay.disable();
    expect(isUpdated).toBe(false);
    expect(await world.store.load(id)).toMatchObject({ version: 1 }); // reading waits for nobody
    expect(delay.max / 1e6).toBeLessThan(100);
    other.prepare('COMMIT').run();
    await updating;
    expect(isUpdated).toBe(true);
  });

  test('one that cannot be carried out keeps no other of its transaction from it', async () => {
    const world = await newSqlite();
    const [bad, good] = [newId(), newId()];
    const state = 'unheard of' as UploadRecord['state'];
    const [first, second] = await Promise.allSettled([
      world.store.create(newRecord(bad, { state })),
      world.store.create(newRecord(good)),
    ]);
    expect(first).toMatchObject({ status: 'rejected', reason: { code: 'EIO' } });
    expect(second.status).toBe('fulfilled');
    expect(await world.store.load(bad)).toBeUndefined();
    expect(await world.store.load(good)).toBeDefined();
  });

  test('are synced under power, and only folded under process', () => {
    expect(writerPragmas(true)).toContain('synchronous = FULL');
    expect(writerPragmas(false)).toContain('synchronous = NORMAL');
  });

  test('go on by a new thread when the old one has ended', async () => {
    const world = await newSqlite();
    const started = vi.spyOn(Worker.prototype, 'postMessage');
    const id = newId();
    await world.store.create(newRecord(id));
    const thread = started.mock.contexts[0] as Worker;
    const lost = world.store.update(1, newRecord(id, { attempt: 1 }));
    await thread.terminate();
    await lost.catch((error: unknown) => expect(error).toMatchObject({ code: 'store_failed' }));
    const stored = await world.store.load(id);
    expect(await world.store.update(stored?.version ?? 0, newRecord(id, { attempt: 2 }))).toBe(true);
    expect((await world.store.load(id))?.record.attempt).toBe(2);
  });
});

describe('sqlite: contents', () => {
  test.each([0, 1, 1000])('of %s bytes that came at once are in the index', async (length) => {
    const world = await newSqlite('process', { inlineBytes: 1000 });
    const id = newId();
    await world.store.create(newRecord(id, { length }), [content(length)]);
    expect(await contentFiles(world)).toEqual([]);
    expect(await storedSum(world.store, id, 0, length)).toBe(sha256(content(length)));
    expect((await world.store.load(id))?.received).toEqual(length === 0 ? [] : [{ start: 0, end: length }]);
  });

  test('that are longer are a file, which goes with them', async () => {
    const world = await newSqlite('power', { inlineBytes: 1000 });
    const id = newId();
    await world.store.create(newRecord(id, { length: 1001 }), [content(1000), content(1)]);
    expect(await contentFiles(world)).toHaveLength(1);
    await world.store.discard(id);
    expect(await contentFiles(world)).toEqual([]);
    expect(world.index().prepare('SELECT * FROM litter').all()).toEqual([]);
  });

  test('of an upload that was there already leave no file', async () => {
    const world = await newSqlite('process', { inlineBytes: 10 });
    const id = newId();
    const record = newRecord(id, { length: 100 });
    const made = await Promise.allSettled(
      Array.from({ length: 10 }, () => world.store.create(record, [content(100)])),
    );
    expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await contentFiles(world)).toHaveLength(1);
    expect(world.index().prepare('SELECT * FROM litter').all()).toEqual([]);
    expect(await storedSum(world.store, id, 0, 100)).toBe(sha256(content(100)));
  });

  test('that a crash left without an upload are swept, those of living processes are not', async () => {
    const world = await newSqlite();
    await world.store.create(newRecord(newId()));
    const index = world.index();
    const files: [string, string, number][] = [
      ['aa/dead', deadOwner(), Date.now()],
      ['aa/discarded', '', Date.now()],
      ['aa/living', self, 0],
      ['aa/elsewhere', 'elsewhere.1.1.000000000000', Date.now()],
      ['aa/longago', 'elsewhere.1.1.000000000000', 0],
    ];
    await writeFile(join(world.directory, 'content', 'stray'), 'not ours to remove');
    spawnSync('mkdir', ['-p', join(world.directory, 'content', 'aa')]);
    for (const [file, owner, at] of files) {
      await writeFile(join(world.directory, 'content', file), 'x');
      index.prepare('INSERT INTO litter VALUES (?, ?, ?)').run(file, owner, at);
    }
    await all(world.store.list());
    expect((await contentFiles(world)).sort()).toEqual(['elsewhere', 'living', 'stray']);
    expect(index.prepare('SELECT file FROM litter ORDER BY file').pluck().all()).toEqual([
      'aa/elsewhere',
      'aa/living',
    ]);
  });

  test('that are shorter than the index says are gone, and never read as zeros', async () => {
    const world = await newSqlite();
    const id = newId();
    await world.store.create(newRecord(id, { length: 100 }));
    const writer = await world.store.writer(id);
    await writer.write([content(100)], 0);
    await writer.sync();
    await writer.close();
    const [name = ''] = await contentFiles(world);
    const path = join(world.directory, 'content', name.slice(0, 2), name);
    await writeFile(path, content(99));
    await expect(world.open().load(id)).rejects.toMatchObject({ code: 'gone' });
    await rm(path);
    await expect(world.open().load(id)).rejects.toMatchObject({ code: 'gone' });
    await expect(storedSum(world.store, id, 0, 100)).rejects.toMatchObject({ code: 'gone' });
  });

  test('that are written after the upload was removed have no file of their own again', async () => {
    const world = await newSqlite();
    const id = newId();
    await world.store.create(newRecord(id));
    const writer = await world.store.writer(id);
    await writer.write([content(10)], 0);
    await world.open().purge(id);
    await expect(writer.sync()).rejects.toMatchObject({ code: 'gone' });
    await writer.close();
    await expect(world.store.writer(id)).rejects.toMatchObject({ code: 'gone' });
    expect(await contentFiles(world)).toEqual([]);
  });
});

describe('sqlite: queries', () => {
  const someUploads = async (store: SqliteStore): Promise<readonly string[]> => {
    const ids = Array.from({ length: 6 }, newId);
    const [a = '', b = '', c = '', d = '', e = '', f = ''] = ids;
    await store.create(newRecord(a, { metadata: { kind: 'film', name: 'a' } }));
    await store.create(newRecord(b, { metadata: { kind: 'photo' }, length: 5 }), [content(5)]);
    await store.create(newRecord(c, { state: 'finished', metadata: { kind: 'film' }, length: 7 }), [
      content(7),
    ]);
    await store.create(newRecord(d, { state: 'removed', removedAt: 1 }));
    await store.create(newRecord(e, { state: 'finished', refused: true, length: 0 }), []);
    await store.create(newRecord(f, { state: 'finished', moved: true, length: 3 }), [content(3)]);
    return ids;
  };

  test('by state, age and metadata find exactly those, and count them with their bytes', async () => {
    const { store } = await newSqlite();
    const ids = await someUploads(store);
    const found = async (filter?: WalkFilter): Promise<number[]> =>
      (await all(store.find(filter))).map(({ id }) => ids.indexOf(id)).sort();
    expect(await found()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await found({ states: ['open'] })).toEqual([0, 1]);
    expect(await found({ states: ['finished', 'removed'] })).toEqual([2, 3, 4, 5]);
    expect(await found({ idleSince: Date.now() })).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await found({ idleSince: Date.now() - 60_000 })).toEqual([]);
    expect(await found({ metadata: { name: 'kind' } })).toEqual([0, 1, 2]);
    expect(await found({ metadata: { name: 'kind', value: 'film' } })).toEqual([0, 2]);
    expect(await found({ metadata: { name: 'kind', value: 'film' }, states: ['open'] })).toEqual([0]);
    expect(await found({ metadata: { name: 'name', value: 'b' } })).toEqual([]);
    expect(await found({ refused: true })).toEqual([4]);
    expect(await found({ undiscarded: true })).toEqual([3, 5]);
    expect(await store.count()).toEqual({ uploads: 6, bytes: 15 });
    expect(await store.count({ states: ['open'] })).toEqual({ uploads: 2, bytes: 5 });
    expect(await store.count({ metadata: { name: 'kind', value: 'film' } })).toEqual({
      uploads: 2,
      bytes: 7,
    });
    const [first] = await all(store.find({ metadata: { name: 'kind', value: 'photo' } }));
    expect(first).toMatchObject({ id: ids[1], state: 'open', length: 5, size: 5, createdAt: 1000 });
  });

  test('follow metadata that changes and goes', async () => {
    const { store } = await newSqlite();
    const id = newId();
    await store.create(newRecord(id, { metadata: { a: '1', 'ключ "x"': 'значение\n' } }));
    const count = async (name: string, value?: string): Promise<number> =>
      (await store.count({ metadata: { name, ...(value !== undefined && { value }) } })).uploads;
    expect(await count('ключ "x"', 'значение\n')).toBe(1);
    await store.update(1, newRecord(id, { metadata: { a: '2' } }));
    expect([await count('a', '1'), await count('a', '2'), await count('ключ "x"')]).toEqual([0, 1, 0]);
    await store.purge(id);
    expect(await count('a')).toBe(0);
  });

  test('stream over more uploads than a page, each once, while the event loop turns', async () => {
    const { store } = await newSqlite();
    const ids = Array.from({ length: 1700 }, newId);
    await Promise.all(ids.map((id, n) => store.create(newRecord(id, { metadata: { n: String(n % 3) } }))));
    for (const filter of [{}, { states: ['open'] }, { metadata: { name: 'n' } }] as const) {
      let turns = 0;
      const counting = setInterval(() => turns++, 0);
      const found = (await all(store.find(filter))).map(({ id }) => id);
      clearInterval(counting);
      expect(found.sort()).toEqual([...ids].sort());
      expect(turns).toBeGreaterThan(0);
    }
    expect((await all(store.list())).sort()).toEqual([...ids].sort());
  });

  const filters: WalkFilter[] = [
    {},
    { states: ['open'] },
    { states: ['open', 'claimed'], idleSince: 5 },
    { idleSince: 5 },
    { refused: true, idleSince: 5 },
    { undiscarded: true },
    { metadata: { name: 'a' } },
    { metadata: { name: 'a', value: 'b' }, states: ['open'], idleSince: 5 },
  ];
  const searches = /^SEARCH \w+ USING (COVERING INDEX|INDEX|INTEGER PRIMARY KEY|PRIMARY KEY)/;
  test.each(filters)('by %j read an index in its order, and sort nothing', (filter) => {
    const { database } = memoryIndex();
    const plans: string[] = [];
    const explaining = {
      prepare: (text: string) => {
        const plan = database.prepare(`EXPLAIN QUERY PLAN ${text}`);
        return {
          all: (...values: unknown[]) => {
            plans.push(...(plan.all(...values) as { detail: string }[]).map(({ detail }) => detail));
            // Enough rows that the next page is asked for, too.
            return values.length > 0 && plans.length > 20 ? [] : Array.from({ length: 500 }, () => ({}));
          },
        };
      },
    } as unknown as Database.Database;
    for (const _ of walk(explaining, filter, 'id')) if (plans.length > 20) break;
    expect(plans.length).toBeGreaterThan(1);
    for (const detail of plans) {
      expect(detail).not.toMatch(/TEMP B-TREE/);
      if (filter.refused) expect(detail).toMatch(/^(SCAN|SEARCH) uploads USING INDEX uploads_refused/);
      else if (filter.undiscarded)
        expect(detail).toMatch(/^(SCAN|SEARCH) uploads USING INDEX uploads_undiscarded/);
      else if (Object.keys(filter).length > 0) expect(detail).toMatch(searches);
    }
  });
});

describe('sqlite: the database', () => {
  test('is where it is asked for', async () => {
    const world = await newSqlite();
    const database = join(world.directory, 'elsewhere', 'my.db');
    const store = world.open({ database });
    await store.create(newRecord(newId()));
    expect((await stat(database)).isFile()).toBe(true);
    expect(await world.store.count()).toEqual({ uploads: 0, bytes: 0 });
  });

  test('of a newer release is refused, and left as it is', async () => {
    const world = await newSqlite();
    await world.store.create(newRecord(newId()));
    world.index().pragma('user_version = 99');
    await expect(world.open().count()).rejects.toThrow(/newer release/);
    expect(world.index().pragma('user_version', { simple: true })).toBe(99);
  });

  test('is made once by many that open it at the same moment', async () => {
    const world = await newSqlite();
    const stores = Array.from({ length: 8 }, () => world.open());
    await Promise.all(stores.map((store) => store.create(newRecord(newId()))));
    expect((await stores[0]?.count())?.uploads).toBe(8);
  });

  test('is opened and closed by several at once, as often as they like', async () => {
    const world = await newSqlite();
    const again = async (): Promise<void> => {
      for (let n = 0; n < 10; n++) {
        const store = world.open();
        await store.create(newRecord(newId()));
        await store.close();
      }
    };
    await Promise.all([again(), again(), again()]);
    expect((await world.store.count()).uploads).toBe(30);
  });

  test('opens again after it could not be', async () => {
    const world = await newSqlite();
    await writeFile(join(world.directory, 'content'), 'in the way');
    await expect(world.store.count()).rejects.toMatchObject({ code: 'EEXIST' });
    await rm(join(world.directory, 'content'));
    expect(await world.store.count()).toEqual({ uploads: 0, bytes: 0 });
  });

  test('keeps the process from ending only while somebody waits for it', () => {
    const script = `
      import { sqliteStore } from './stores/sqlite.ts';
      const store = sqliteStore({ directory: process.argv[1] });
      await store.create({ id: 'a'.repeat(22), createdAt: 1, state: 'open', metadata: {}, attempt: 0 });
      console.log('created');`;
    const directory = join(process.env.TMPDIR ?? '/tmp', `sqlite-exit-${newId()}`);
    const args = ['--import', 'tsx', '--input-type=module', '-e', script, directory];
    const { stdout, status } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 });
    expect([stdout, status]).toEqual(['created\n', 0]);
    spawnSync('rm', ['-rf', directory]);
  });

  test('needs a directory, and a size that is one', () => {
    const invalid = expect.objectContaining({ code: 'invalid_argument' });
    expect(() => sqliteStore({ directory: '' })).toThrow(invalid);
    for (const inlineBytes of [-1, 1.5, Number.NaN]) {
      expect(() => sqliteStore({ directory: '/tmp/x', inlineBytes })).toThrow(invalid);
    }
  });
});

test('sqlite: closing waits for what was asked for', async () => {
  const world = await newSqlite();
  const ids = Array.from({ length: 50 }, newId);
  await world.store.count();
  const creating = ids.map((id) => world.store.create(newRecord(id)));
  await turn();
  await world.store.close();
  await Promise.all(creating);
  expect((await world.open().count()).uploads).toBe(50);
});
