import { readdir, readFile, rm, stat } from 'node:fs/promises';
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

const names = async ({ directory }: World, id: string): Promise<string[]> =>
  (await readdir(join(directory, 'uploads', id.slice(0, 2), id))).sort();

const log = ({ directory }: World, id: string): Promise<string> =>
  readFile(join(directory, 'uploads', id.slice(0, 2), id, 'records'), 'utf8');

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
    expect(await names(world, id)).toEqual(['content', 'records']);
  });

  test('loses to whoever came before', async () => {
    const world = await newWorld('fs');
    const [one, two] = [world.open(), world.open()];
    const id = newId();
    await one.create(newRecord(id));
    for (let version = 1; version <= 5; version++)
      expect(await one.update(version, newRecord(id))).toBe(true);
    for (let stale = 1; stale <= 5; stale++) {
      expect(await two.update(stale, newRecord(id, { attempt: 99 }))).toBe(false);
    }
    expect(await two.load(id)).toMatchObject({ version: 6, record: { attempt: 0 } });
  });

  test('loses with a claim whose log it has kept open, too', async () => {
    const world = await newWorld('fs');
    const [one, two] = [world.open(), world.open()];
    const id = newId();
    await one.create(newRecord(id, { state: 'claimed', length: 3 }), [Buffer.from('abc')]);
    expect(await two.update(1, newRecord(id, { state: 'claimed', attempt: 2 }))).toBe(true);
    expect(await one.update(1, newRecord(id, { state: 'finished', response: 'late' }))).toBe(false);
    expect(await one.load(id)).toMatchObject({ version: 2, record: { state: 'claimed', attempt: 2 } });
    expect(await two.update(2, newRecord(id, { state: 'finished', response: 'mine' }))).toBe(true);
    expect(world.descriptors()).toBe(0);
  });

  test('says false of an upload that was purged and made again, whatever the version', async () => {
    const world = await newWorld('fs');
    const [one, two] = [world.open(), world.open()];
    const id = newId();
    await one.create(newRecord(id, { state: 'claimed', length: 3 }), [Buffer.from('abc')]);
    await two.purge(id);
    await two.create(newRecord(id, { attempt: 5 }));
    expect(await one.update(1, newRecord(id, { state: 'finished', response: 'late' }))).toBe(false);
    expect(await one.load(id)).toMatchObject({ version: 1, record: { attempt: 5 } });
  });

  test('as a tombstone leaves nothing of what there was', async () => {
    const world = await newWorld('fs', 'power');
    const store = world.open();
    const id = newId();
    await store.create(newRecord(id, { context: 'private', metadata: { name: 'private' } }));
    expect(await store.update(1, newRecord(id, { state: 'removed', removedAt: 1 }))).toBe(true);
    for (let n = 0; n < 2; n++) {
      await store.discard(id);
      expect(await names(world, id)).toEqual(['records']);
      expect(await log(world, id)).not.toContain('private');
      expect(await store.load(id)).toMatchObject({ version: 2, record: { state: 'removed' } });
    }
    expect(await readdir(join(world.directory, 'staging'))).toEqual([]);
  });

  test('counts every success once while 12 go on from whatever they find', async () => {
    const world = await newWorld('fs');
    const stores = Array.from({ length: 4 }, () => world.open());
    const id = newId();
    await stores[0]!.create(newRecord(id));
    const wins = new Map<number, number>();
    const increment = async (store: Store): Promise<void> => {
      for (let done = 0; done < 5; ) {
        const stored = await store.load(id);
        if (stored === undefined) throw new Error('the upload is gone');
        const { version, record } = stored;
        if (await store.update(version, { ...record, attempt: record.attempt + 1 })) {
          wins.set(version + 1, (wins.get(version + 1) ?? 0) + 1);
          done++;
        }
      }
    };
    await Promise.all(Array.from({ length: 12 }, (_, n) => increment(stores[n % 4]!)));
    const last = await stores[0]!.load(id);
    // Each version was made by exactly one call that was told so.
    expect(last?.version).toBe(61);
    expect(last?.record.attempt).toBe(60);
    expect([...wins.values()].every((count) => count === 1)).toBe(true);
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

  test('is allocated, lasts over renewals, and serves the next upload when it was not needed', async () => {
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
    expect((await world.open().load(id))?.record.response).toBe(response);
    const next = newId();
    await store.create(newRecord(next), undefined, { reserve: 50_000 });
    expect(await staged(world)).toBeLessThan(110_000);
    await store.close();
    expect(await staged(world)).toBe(0);
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
