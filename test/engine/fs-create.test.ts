import { mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { self } from '../../src/owner.ts';
import type { UploadRecord } from '../../src/store.ts';
import { fsStore } from '../../stores/fs.ts';
import {
  bring,
  content,
  deadOwner,
  newEngine,
  newId,
  newWorld,
  rejectsWith,
  sha256,
  storedSum,
  type World,
  wholeUpload,
} from '../support/model.ts';

const newRecord = (id: string, facts: Partial<UploadRecord> = {}): UploadRecord => ({
  id,
  createdAt: 0,
  state: 'open',
  metadata: {},
  attempt: 0,
  ...facts,
});

const folderOf = ({ directory }: World, id: string): string => join(directory, 'uploads', id.slice(0, 2), id);

const names = async (folder: string): Promise<string[]> => (await readdir(folder)).sort();

describe('fs: making an upload', () => {
  test('appears with all its bytes or not at all, and leaves nothing in staging', async () => {
    const world = await newWorld('fs', 'power');
    const store = world.open();
    const id = newId();
    const makers = Array.from({ length: 10 }, () =>
      world.open().create(newRecord(id, { length: 9 }), [content(9)]),
    );
    const seen = async (): Promise<void> => {
      const stored = await store.load(id);
      if (stored !== undefined) expect(stored.received).toEqual([{ start: 0, end: 9 }]);
    };
    const outcomes = await Promise.all([Promise.allSettled(makers), ...Array.from({ length: 50 }, seen)]);
    const made = outcomes[0].filter(({ status }) => status === 'fulfilled');
    expect(made).toHaveLength(1);
    for (const outcome of outcomes[0]) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'exists' });
    }
    expect(await names(join(world.directory, 'staging'))).toEqual([]);
    expect(await names(folderOf(world, id))).toEqual(['records', 'whole']);
    expect(world.descriptors()).toBe(0);
  });

  test('by a process that died half-way leaves nothing: its staging is swept, that of the living is not', async () => {
    const world = await newWorld('fs');
    const staging = join(world.directory, 'staging');
    const dead = join(staging, `${deadOwner()}~1-0`);
    const living = join(staging, `${self}~99-0`);
    const foreign = join(staging, 'elsewhere.1.1.000000000000~1-0');
    for (const folder of [dead, living, foreign]) {
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'whole'), content(100));
    }
    await world.open().create(newRecord(newId()));
    expect(await names(staging)).toEqual(
      [foreign, living].map((path) => path.slice(staging.length + 1)).sort(),
    );
  });

  test('refuses ids that are no ids, everywhere', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    const bad = [
      '',
      'short',
      '../../../../etc/passwd',
      `${'a'.repeat(20)}/x`,
      `${'a'.repeat(20)}\0`,
      'ä'.repeat(20),
    ];
    for (const id of [...bad, 'a'.repeat(65), '.'.repeat(20)]) {
      await rejectsWith(store.create(newRecord(id)), 'invalid_argument');
      await rejectsWith(store.load(id), 'invalid_argument');
      await rejectsWith(store.update(1, newRecord(id)), 'invalid_argument');
      await rejectsWith(store.writer(id), 'invalid_argument');
      await rejectsWith(store.discard(id), 'invalid_argument');
      await rejectsWith(store.purge(id), 'invalid_argument');
      expect(() => store.read(id, 0, 1)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
    }
    expect(await names(join(world.directory, 'staging'))).toEqual([]);
  });

  test('needs a directory', () => {
    expect(() => fsStore('')).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  });
});

describe('fs: what cannot be read any more', () => {
  test('content shorter than the journal says is gone, and its file is not read as zeros', async () => {
    const world = await newWorld('fs');
    const engine = newEngine(world.open());
    const id = newId();
    await engine.create(id, { length: 10_000 });
    await bring(engine, id, content(10_000), { start: 0, end: 6000 });
    await truncate(join(folderOf(world, id), 'content'), 5999);
    await rejectsWith(world.open().load(id), 'gone');
    await rejectsWith(newEngine(world.open()).query(id), 'gone');
    await rejectsWith(storedSum(world.open(), id, 0, 6000), 'gone');
  });

  test.each([
    ['whole', 3000],
    ['content', 30_000],
  ])('content that is missing altogether is gone (%s)', async (file, length) => {
    const world = await newWorld('fs');
    const engine = newEngine(world.open());
    const id = await wholeUpload(engine, content(length));
    await rm(join(folderOf(world, id), file));
    await rejectsWith(world.open().load(id), 'gone');
    await rejectsWith(world.open().writer(id), 'gone');
    await rejectsWith(storedSum(world.open(), id, 0, length), 'gone');
  });

  test.each<[string, (bytes: Buffer) => Buffer]>([
    ['empty', () => Buffer.alloc(0)],
    ['cut', (bytes) => bytes.subarray(0, bytes.length - 1)],
    ['changed', (bytes) => Buffer.from(bytes.toString('latin1').replace('"open"', '"done"'), 'latin1')],
    [
      'of another format',
      (bytes) => Buffer.from(bytes.toString('latin1').replace('record/1 ', 'record/2 '), 'latin1'),
    ],
  ])('a record that is %s is gone', async (_, damage) => {
    const world = await newWorld('fs');
    const id = newId();
    await world.open().create(newRecord(id, { length: 5 }));
    const path = join(folderOf(world, id), 'records');
    await writeFile(path, damage(await readFile(path)));
    await rejectsWith(world.open().load(id), 'gone');
    await rejectsWith(newEngine(world.open()).query(id), 'gone');
  });

  test('a folder without a record is gone', async () => {
    const world = await newWorld('fs');
    const id = newId();
    await world.open().create(newRecord(id));
    await rm(join(folderOf(world, id), 'records'));
    await rejectsWith(world.open().load(id), 'gone');
  });

  test('one unreadable upload keeps nobody from sweeping the others', async () => {
    const world = await newWorld('fs');
    const engine = newEngine(world.open(), { expiresAfterMs: 1000 });
    const [damaged, good] = [newId(), newId()];
    for (const id of [damaged, good]) await engine.create(id, { length: 5 });
    await writeFile(join(folderOf(world, damaged), 'records'), '');
    expect(await engine.expire(Date.now() + 2000)).toEqual({ expired: 1, purged: 0, unanswered: 0 });
    await engine.retryPending(() => Promise.reject(new Error('must not run')));
  });

  test('a stranger’s file among the uploads keeps nobody from sweeping them', async () => {
    const world = await newWorld('fs');
    const engine = newEngine(world.open(), { expiresAfterMs: 1000 });
    const id = newId();
    await engine.create(id, { length: 5 });
    await writeFile(join(world.directory, 'uploads', id.slice(0, 2), '.DS_Store'), 'x');
    await mkdir(join(world.directory, 'uploads', 'lost+found'));
    expect(await engine.expire(Date.now() + 2000)).toEqual({ expired: 1, purged: 0, unanswered: 0 });
    await engine.retryPending(() => Promise.reject(new Error('must not run')));
  });
});

describe('fs: handing the content over', () => {
  test('is a second name for the same file', async () => {
    const world = await newWorld('fs', 'power');
    const store = world.open();
    const id = await wholeUpload(newEngine(store), content(3000));
    const target = join(world.directory, 'target');
    await store.link?.(id, target, 3000);
    const [from, to] = await Promise.all([stat(join(folderOf(world, id), 'whole')), stat(target)]);
    expect(to.ino).toBe(from.ino);
    await store.discard(id);
    expect(sha256(await readFile(target))).toBe(sha256(content(3000)));
    await rejectsWith(storedSum(store, id, 0, 3000), 'gone');
  });

  test('works for content that was written in parts, too', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    const engine = newEngine(store);
    const id = newId();
    await engine.create(id, { length: 3000 });
    await bring(engine, id, content(3000), { start: 1000, end: 3000 });
    await bring(engine, id, content(3000), { start: 0, end: 1000 });
    const target = join(world.directory, 'target');
    await store.link?.(id, target, 3000);
    expect(sha256(await readFile(target))).toBe(sha256(content(3000)));
  });

  test('to a name that has this very content already is success, by name or by bytes', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    const id = await wholeUpload(newEngine(store));
    const linked = join(world.directory, 'linked');
    await store.link?.(id, linked, 5000);
    await store.link?.(id, linked, 5000);
    const copied = join(world.directory, 'copied');
    await writeFile(copied, content(5000));
    await store.link?.(id, copied, 5000);
    expect(await names(world.directory)).toEqual(['copied', 'linked', 'staging', 'uploads']);
  });

  test('to a name that has other content is refused, and leaves that alone', async () => {
    const world = await newWorld('fs');
    const store = world.open();
    const id = await wholeUpload(newEngine(store));
    for (const other of [content(5000, 2), content(4999), content(0)]) {
      const target = join(world.directory, 'taken');
      await writeFile(target, other);
      await expect(store.link?.(id, target, 5000)).rejects.toMatchObject({ code: 'target_exists' });
      expect(sha256(await readFile(target))).toBe(sha256(other));
    }
  });
});
