import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Store, UploadRecord } from '../../src/store.ts';
import { newId, newWorld, type World } from '../support/model.ts';

const newRecord = (id: string, facts: Partial<UploadRecord> = {}): UploadRecord => ({
  id,
  createdAt: 0,
  state: 'open',
  metadata: {},
  attempt: 0,
  ...facts,
});

const records = async ({ directory }: World, id: string): Promise<string[]> =>
  (await readdir(join(directory, 'uploads', id.slice(0, 2), id))).filter((name) =>
    name.startsWith('record.'),
  );

describe('fs: replacing a record', () => {
  test('of 20 with one version, over four instances, exactly one wins', async () => {
    const world = await newWorld('fs');
    const stores = Array.from({ length: 4 }, () => world.open());
    const id = newId();
    await stores[0]!.create(newRecord(id));
    for (let version = 1; version <= 20; version++) {
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, n) => stores[n % 4]!.update(version, newRecord(id, { attempt: n }))),
      );
      expect(outcomes.filter((won) => won)).toHaveLength(1);
      const stored = await stores[version % 4]!.load(id);
      expect(stored?.version).toBe(version + 1);
      expect(stored?.record.attempt).toBe(outcomes.indexOf(true));
    }
    expect(await records(world, id)).toEqual(['record.21']);
  });

  test('loses to whoever came before, also when the names of old versions are free again', async () => {
    const world = await newWorld('fs');
    const [one, two] = [world.open(), world.open()];
    const id = newId();
    await one.create(newRecord(id));
    for (let version = 1; version <= 5; version++)
      expect(await one.update(version, newRecord(id))).toBe(true);
    expect(await records(world, id)).toEqual(['record.6']);
    for (let stale = 1; stale <= 5; stale++) {
      expect(await two.update(stale, newRecord(id, { attempt: 99 }))).toBe(false);
    }
    expect(await two.load(id)).toMatchObject({ version: 6, record: { attempt: 0 } });
    expect(await records(world, id)).toEqual(['record.6']);
  });

  test('counts every success once while 20 go on from whatever they find', async () => {
    const world = await newWorld('fs');
    const stores = Array.from({ length: 4 }, () => world.open());
    const id = newId();
    await stores[0]!.create(newRecord(id));
    const wins = new Map<number, number>();
    const increment = async (store: Store): Promise<void> => {
      for (let done = 0; done < 10; ) {
        const stored = await store.load(id);
        if (stored === undefined) throw new Error('the upload is gone');
        const { version, record } = stored;
        if (await store.update(version, { ...record, attempt: record.attempt + 1 })) {
          wins.set(version + 1, (wins.get(version + 1) ?? 0) + 1);
          done++;
        }
      }
    };
    await Promise.all(Array.from({ length: 20 }, (_, n) => increment(stores[n % 4]!)));
    const last = await stores[0]!.load(id);
    // Each version was made by exactly one call that was told so.
    expect(last?.version).toBe(201);
    expect(last?.record.attempt).toBe(200);
    expect([...wins.values()].every((count) => count === 1)).toBe(true);
    expect(await records(world, id)).toEqual(['record.201']);
    expect(await readdir(join(world.directory, 'staging'))).toEqual([]);
  });

  test('says false when the upload is unknown, or goes meanwhile', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    const other = world.open();
    expect(await store.update(1, newRecord(newId()))).toBe(false);
    for (let n = 0; n < 50; n++) {
      const id = newId();
      await store.create(newRecord(id));
      const [won] = await Promise.all([store.update(1, newRecord(id)), other.purge(id)]);
      expect(typeof won).toBe('boolean');
      expect(await store.load(id)).toBeUndefined();
    }
  });

  test('works in a folder that came back from a backup without its empty folders', async () => {
    const world = await newWorld('fs');
    const id = newId();
    await world.open().create(newRecord(id));
    await rm(join(world.directory, 'staging'), { recursive: true });
    expect(await world.open().update(1, newRecord(id, { attempt: 1 }))).toBe(true);
  });
});

describe('fs: room reserved for a later record', () => {
  const staged = async ({ directory }: World): Promise<number> => {
    const names = await readdir(join(directory, 'staging'));
    const sizes = await Promise.all(
      names.map(async (name) => (await stat(join(directory, 'staging', name))).size),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  };

  test('is allocated, lasts over renewals, and is used up by the record it was kept for', async () => {
    const world = await newWorld('fs', 'power');
    const store = world.open();
    const id = newId();
    await store.create(newRecord(id));
    expect(await store.update(1, newRecord(id, { attempt: 1 }), { reserve: 50_000 })).toBe(true);
    expect(await staged(world)).toBeGreaterThanOrEqual(50_000);
    expect(await store.update(2, newRecord(id, { attempt: 2 }), { reserve: 50_000 })).toBe(true);
    expect(await staged(world)).toBeLessThan(110_000);
    const response = 'r'.repeat(49_000);
    expect(await store.update(3, newRecord(id, { response }))).toBe(true);
    expect(await staged(world)).toBe(0);
    expect((await world.open().load(id))?.record.response).toBe(response);
  });

  test('may hold a shorter record, or be too small for a longer one: either is read back whole', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    for (const size of [0, 10, 1000, 100_000]) {
      const id = newId();
      await store.create(newRecord(id));
      expect(await store.update(1, newRecord(id), { reserve: 1000 })).toBe(true);
      const response = 'ü'.repeat(size);
      expect(await store.update(2, newRecord(id, { response }))).toBe(true);
      expect((await world.open().load(id))?.record.response).toBe(response);
    }
  });

  test('goes when the store is closed', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    const id = newId();
    await store.create(newRecord(id));
    await store.update(1, newRecord(id), { reserve: 1000 });
    await store.close();
    expect(await staged(world)).toBe(0);
  });
});
