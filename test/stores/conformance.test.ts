import '../support/faulty-fs.ts'; // first: stores keep functions of `node:fs` for themselves when they are loaded
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { fsStore } from '../../stores/fs.ts';
import { memoryStore } from '../../stores/memory.ts';
import { Stage } from '../conformance/stage.ts';
import { type StoreWorld, storeSuite, type WorldFactory } from '../conformance/store.ts';
import { folderWorld } from '../support/folder-world.ts';

const memoryWorld = (): StoreWorld => {
  const store = memoryStore();
  return { open: () => store, dispose: async () => undefined };
};

const stores: Readonly<Record<string, WorldFactory>> = {
  memory: memoryWorld,
  'fs, power': folderWorld((directory) => fsStore(directory), { survivesPowerCuts: true }),
  'fs, process': folderWorld((directory) => fsStore(directory, { durability: 'process' })),
};

const skip = (name: string, reason: string): void => test.skip(`${name} (${reason})`);

for (const [name, factory] of Object.entries(stores)) {
  describe(name, () => storeSuite({ test, skip, factory }));
}

describe('the proof itself', () => {
  test('takes every kind of call that the fs store makes in its folder for a step', async () => {
    const names = new Set<string>();
    await Stage.perform(
      folderWorld((directory) => fsStore(directory)),
      async (stage) => {
        const { store, world } = stage;
        world.intercept?.(({ name }) => names.add(name));
        const upload = stage.upload();
        await upload.create(store, {}, { reserve: 1000 });
        await upload.put(store, { start: 0, end: upload.length });
        await upload.claim(store);
        await upload.verify(store);
        await store.link?.(upload.id, stage.target(), upload.length - 10);
        await upload.remove(store);
        for await (const _ of store.list()) await upload.purge(store);
      },
    );
    const calls = 'open mkdir write writev fdatasync fsync rename link unlink ftruncate rm';
    const looks = 'access stat fstat readdir opendir readFile read';
    assert.deepEqual(
      `${calls} ${looks}`.split(' ').filter((name) => !names.has(name)),
      [],
    );
  });

  test('needs nothing but Node, the contract and what is beside it, so that anybody can run it', async () => {
    const folder = new URL('../conformance/', import.meta.url).pathname;
    const files = await readdir(folder, { recursive: true, withFileTypes: true });
    const shared = ['errors', 'intervals', 'store'].map((name) => join(folder, '../../src', `${name}.ts`));
    for (const file of files.filter((entry) => entry.isFile())) {
      const path = join(file.parentPath, file.name);
      const source = await readFile(path, 'utf8');
      for (const [, name = ''] of source.matchAll(/\bfrom '([^']+)'/g)) {
        if (name.startsWith('node:')) continue;
        const target = join(file.parentPath, name);
        assert.ok(target.startsWith(folder) || shared.includes(target), `${path} imports ${name}`);
      }
    }
  });
});
