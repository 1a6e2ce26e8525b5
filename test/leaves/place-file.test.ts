import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { placeCopy, placeLink } from '../../src/place-file.ts';

let folder = '';
const a = Buffer.alloc(3_000_000, 'a');
const b = Buffer.alloc(2_000_000, 'b');
const sum = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'resumable-place-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('of two copies to one name at once one is placed whole, the other refused, and nothing else is left', async () => {
  const target = join(folder, 'target');
  const outcomes = await Promise.allSettled(
    [a, b].map((bytes) => placeCopy(Readable.from([bytes]), target, true)),
  );
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  const winner = outcomes[0]?.status === 'fulfilled' ? a : b;
  expect(sum(await readFile(target))).toBe(sum(winner));
  expect(await readdir(folder)).toEqual(['target']);
});

test('the same bytes again are success, other bytes target_exists', async () => {
  const target = join(folder, 'target');
  await placeCopy(Readable.from([a]), target, false);
  await placeCopy(Readable.from([a]), target, false);
  await expect(placeCopy(Readable.from([b]), target, false)).rejects.toMatchObject({ code: 'target_exists' });
  expect(sum(await readFile(target))).toBe(sum(a));
});

test('a copy whose source fails leaves nothing', async () => {
  const source = new Readable({ read: () => source.destroy(new Error('on purpose')) });
  await expect(placeCopy(source, join(folder, 'target'), true)).rejects.toThrow('on purpose');
  expect(await readdir(folder)).toEqual([]);
});

test('a link to a name that has the file, or its bytes, is success', async () => {
  const [from, to, same] = ['from', 'to', 'same'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await writeFile(from, a);
  await writeFile(same, a);
  await placeLink(from, to, true);
  await placeLink(from, to, true);
  await placeLink(from, same, true);
  await writeFile(join(folder, 'other'), b);
  await expect(placeLink(from, join(folder, 'other'), true)).rejects.toMatchObject({ code: 'target_exists' });
});
