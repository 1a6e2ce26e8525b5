import { appendFile, readdir, readFile, rename, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import { isDead } from '../../src/owner.ts';
import type { Store, StoreWriter } from '../../src/store.ts';
import { decodeEntries, encodeEntries, entryOffset, entrySize, headerSize } from '../../stores/fs/journal.ts';
import {
  content,
  deadOwner,
  newEngine,
  newId,
  newWorld,
  rejectsWith,
  sha256,
  storedSum,
  type World,
} from '../support/model.ts';

const bytes = content(100_000);

const folderOf = ({ directory }: World, id: string): string => join(directory, 'uploads', id.slice(0, 2), id);

const journals = async (world: World, id: string): Promise<string[]> =>
  (await readdir(folderOf(world, id)))
    .filter((name) => name.startsWith('journal.'))
    .map((name) => join(folderOf(world, id), name));

const newUpload = async (store: Store): Promise<string> => {
  const id = newId();
  await store.create({ id, createdAt: 0, state: 'open', metadata: {}, attempt: 0, length: bytes.length });
  return id;
};

const put = async (writer: StoreWriter, start: number, end: number): Promise<void> => {
  await writer.write([bytes.slice(start, end)], start);
  await writer.sync();
};

/** One writer, from its opening to its close. */
const putAlone = async (store: Store, id: string, ...ranges: readonly Range[]): Promise<void> => {
  const writer = await store.writer(id);
  for (const { start, end } of ranges) await put(writer, start, end);
  await writer.close();
};

const received = async (world: World, id: string): Promise<readonly Range[] | undefined> =>
  (await world.open().load(id))?.received;

const expectBytes = async (world: World, id: string, ranges: readonly Range[]): Promise<void> => {
  expect(await received(world, id)).toEqual(ranges);
  for (const { start, end } of ranges) {
    expect(await storedSum(world.open(), id, start, end)).toBe(sha256(bytes.subarray(start, end)));
  }
};

/** Where the last entry of a journal ends; behind it is room for more. */
const entriesEnd = async (path: string): Promise<number> =>
  entryOffset(decodeEntries(await readFile(path), new IntervalSet()).entries);

describe('fs: journals', () => {
  test('two writers at once never share one, whether of one instance or of two', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    const id = await newUpload(store);
    const writers = [await store.writer(id), await store.writer(id), await world.open().writer(id)];
    await Promise.all(writers.map((writer, n) => put(writer, n * 1000, n * 1000 + 500)));
    await Promise.all(writers.map((writer, n) => put(writer, n * 1000 + 500, n * 1000 + 1000)));
    expect(await journals(world, id)).toHaveLength(3);
    await expectBytes(world, id, [{ start: 0, end: 3000 }]);
    for (const writer of writers) await writer.close();
    expect(world.descriptors()).toBe(0);
  });

  test('one writer after another goes on in the same', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    const id = await newUpload(store);
    for (let n = 0; n < 5; n++) await putAlone(store, id, { start: n * 2000, end: n * 2000 + 1000 });
    expect(await journals(world, id)).toHaveLength(1);
    expect(await received(world, id)).toHaveLength(5);
  });

  test.each<[string, (path: string) => Promise<void>]>([
    ['cut inside its last entry', async (path) => truncate(path, (await entriesEnd(path)) - 1)],
    [
      'cut to one byte of its last entry',
      async (path) => truncate(path, (await entriesEnd(path)) - entrySize + 1),
    ],
    [
      'changed in its last entry',
      async (path) => {
        const all = await readFile(path);
        const last = (await entriesEnd(path)) - entrySize;
        all[last] = (all[last] ?? 0) ^ 1;
        await writeFile(path, all);
      },
    ],
  ])('one that is %s has lost that entry only, and goes on before it', async (_, damage) => {
    const world = await newWorld('fs');
    const store = world.open();
    const id = await newUpload(store);
    await putAlone(
      store,
      id,
      { start: 0, end: 1000 },
      { start: 5000, end: 6000 },
      { start: 8000, end: 9000 },
    );
    const [path] = await journals(world, id);
    await damage(path!);
    await expectBytes(world, id, [
      { start: 0, end: 1000 },
      { start: 5000, end: 6000 },
    ]);
    await putAlone(store, id, { start: 20_000, end: 21_000 }, { start: 30_000, end: 31_000 });
    expect(await journals(world, id)).toHaveLength(1);
    await expectBytes(world, id, [
      { start: 0, end: 1000 },
      { start: 5000, end: 6000 },
      { start: 20_000, end: 21_000 },
      { start: 30_000, end: 31_000 },
    ]);
  });

  test.each([1, entrySize - 1, entrySize, 10 * entrySize])(
    'garbage of %i bytes at the end is neither read nor appended after',
    async (length) => {
      const world = await newWorld('fs');
      const store = world.open();
      const id = await newUpload(store);
      await putAlone(store, id, { start: 0, end: 1000 });
      const [path] = await journals(world, id);
      await appendFile(path!, content(length, 7));
      await expectBytes(world, id, [{ start: 0, end: 1000 }]);
      await putAlone(store, id, { start: 2000, end: 3000 });
      await putAlone(store, id, { start: 4000, end: 5000 });
      await expectBytes(world, id, [
        { start: 0, end: 1000 },
        { start: 2000, end: 3000 },
        { start: 4000, end: 5000 },
      ]);
    },
  );

  test('zeros, as a file system leaves them after a power cut, are no entries', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    const id = await newUpload(store);
    await putAlone(store, id, { start: 0, end: 1000 });
    const [path] = await journals(world, id);
    await truncate(path!, headerSize + 20 * entrySize);
    await expectBytes(world, id, [{ start: 0, end: 1000 }]);
    await writeFile(path!, Buffer.alloc(headerSize + 3 * entrySize));
    expect(await received(world, id)).toEqual([]);
  });

  test('an entry of another place in the file does not pass for one', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    const id = await newUpload(store);
    await putAlone(store, id, { start: 0, end: 1000 });
    const [path] = await journals(world, id);
    await appendFile(path!, encodeEntries([{ start: 50_000, end: 60_000 }], 7, 1));
    expect(await received(world, id)).toEqual([{ start: 0, end: 1000 }]);
  });

  test('unsynced writes are in none', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    const id = await newUpload(store);
    const writer = await store.writer(id);
    await writer.write([bytes.slice(0, 1000)], 0);
    expect(await received(world, id)).toEqual([]);
    await writer.close();
    expect(await received(world, id)).toEqual([]);
    await rejectsWith(writer.write([bytes.slice(0, 1)], 0), 'invalid_argument');
    await rejectsWith(writer.sync(), 'invalid_argument');
    await writer.close();
    expect(world.descriptors()).toBe(0);
  });
});

describe('fs: journals of dead processes', () => {
  /** As if so many processes had written one range each, with a gap after it, and died. */
  const leave = async (world: World, id: string, count: number): Promise<readonly Range[]> => {
    const ranges = Array.from({ length: count }, (_, n) => ({ start: n * 2000, end: n * 2000 + 1500 }));
    const store = world.open();
    const writers = await Promise.all(ranges.map(() => store.writer(id)));
    await Promise.all(ranges.map(({ start, end }, n) => put(writers[n]!, start, end)));
    for (const writer of writers) await writer.close();
    const dead = deadOwner();
    expect(isDead(dead)).toBe(true);
    for (const [n, path] of (await journals(world, id)).entries()) {
      await rename(path, join(folderOf(world, id), `journal.${dead}.${n}-0`));
    }
    return ranges;
  };

  test('a few are left as they are', async () => {
    const world = await newWorld('fs');
    const id = await newUpload(world.open());
    const ranges = await leave(world, id, 7);
    await putAlone(world.open(), id, { start: 90_000, end: 91_000 });
    expect(await journals(world, id)).toHaveLength(8);
    await expectBytes(world, id, [...ranges, { start: 90_000, end: 91_000 }]);
  });

  test('twenty are folded into one, and no range is lost', async () => {
    const world = await newWorld('fs', 'power');
    const id = await newUpload(world.open());
    const ranges = await leave(world, id, 20);
    expect(await journals(world, id)).toHaveLength(20);
    await putAlone(world.open(), id, { start: 90_000, end: 91_000 });
    expect(await journals(world, id)).toHaveLength(1);
    await expectBytes(world, id, [...ranges, { start: 90_000, end: 91_000 }]);
    expect(world.descriptors()).toBe(0);
  });

  test('are folded by several at once while others read, and no range is ever missing', async () => {
    const world = await newWorld('fs');
    const id = await newUpload(world.open());
    const dead = deadOwner();
    const ranges = Array.from({ length: 20 }, (_, n) => ({ start: n * 2000, end: n * 2000 + 1500 }));
    const writer = await world.open().writer(id);
    for (const { start, end } of ranges) await writer.write([bytes.slice(start, end)], start);
    await writer.close();
    for (const [n, range] of ranges.entries()) {
      await writeFile(join(folderOf(world, id), `journal.${dead}.${n}-0`), encodeEntries([range], 0, 1));
    }
    let folding = true;
    const reading = async (): Promise<void> => {
      while (folding) expect(await received(world, id)).toEqual(ranges);
    };
    const readers = [reading(), reading(), reading()];
    const writers = await Promise.all(Array.from({ length: 4 }, () => world.open().writer(id)));
    folding = false;
    await Promise.all(readers);
    for (const open of writers) await open.close();
    expect((await journals(world, id)).filter((path) => path.includes(dead))).toEqual([]);
    await expectBytes(world, id, ranges);
  });

  test('a live upload of another process goes on beside the folding', async () => {
    const world = await newWorld('fs');
    const engine = newEngine(world.open());
    const id = newId();
    await engine.create(id, { length: bytes.length });
    const live = await world.open().writer(id);
    await put(live, 60_000, 61_000);
    const dead = deadOwner();
    for (let n = 0; n < 9; n++) {
      await writeFile(
        join(folderOf(world, id), `journal.${dead}.${n}-0`),
        encodeEntries([{ start: n, end: n + 1 }], 0, 1),
      );
    }
    await (await world.open().writer(id)).close();
    await put(live, 70_000, 71_000);
    await live.close();
    expect(await received(world, id)).toEqual([
      { start: 0, end: 9 },
      { start: 60_000, end: 61_000 },
      { start: 70_000, end: 71_000 },
    ]);
  });
});

test('a journal has room for entries before they are needed, and makes more as it fills', async () => {
  const world = await newWorld('fs');
  const store = world.open();
  const id = await newUpload(store);
  const writer = await store.writer(id);
  const [path = ''] = await journals(world, id);
  const room = async (): Promise<number> => (await readFile(path)).length - (await entriesEnd(path));
  for (let n = 0; n < 300; n++) {
    expect(await room()).toBeGreaterThanOrEqual(16 * entrySize);
    await writer.write([bytes.subarray(n * 2, n * 2 + 1)], n * 2);
    await writer.sync();
  }
  await writer.close();
  expect(await received(world, id)).toHaveLength(300);
});
