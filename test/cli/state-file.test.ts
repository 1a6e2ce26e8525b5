import { mkdir, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { StateFile, stateFolder } from '../../src/cli/state-file.ts';
import type { SavedUpload } from '../../src/client/index.ts';
import { content } from '../support/requests.ts';
import { file, folder } from './support.ts';

const url = new URL('http://127.0.0.1:8080/upload');
const saved: SavedUpload = { version: 1, url: url.href, location: `${url.href}?upload_id=a`, begun: true };

test('a state is of one file and one URL, and for nobody else to read', async () => {
  const [path, home] = [await file(content(10)), join(await folder(), 'new', 'state')];
  const state = await StateFile.of(path, url, home);
  expect(await state.load()).toBeUndefined();
  await state.save(saved);
  expect(await (await StateFile.of(path, url, home)).load()).toEqual(saved);
  expect((await stat(state.path)).mode & 0o777).toBe(0o600);
  expect((await stat(home)).mode & 0o777).toBe(0o700);
  const elsewhere = await StateFile.of(path, new URL('http://127.0.0.1:8080/other'), home);
  expect(await elsewhere.load()).toBeUndefined();
  const other = await StateFile.of(await file(content(10)), url, home);
  expect(await other.load()).toBeUndefined();
  await state.remove();
  expect([await state.load(), await readdir(home)]).toEqual([undefined, []]);
});

test('a file of another size, or of another time, is another', async () => {
  const [path, home] = [await file(content(10)), await folder()];
  await (await StateFile.of(path, url, home)).save(saved);
  const { mtime } = await stat(path);
  await writeFile(path, content(11));
  await utimes(path, mtime, mtime);
  expect(await (await StateFile.of(path, url, home)).load()).toBe('changed');
  await writeFile(path, content(10));
  await utimes(path, mtime, new Date(mtime.getTime() + 1_000));
  expect(await (await StateFile.of(path, url, home)).load()).toBe('changed');
});

test('many states at once leave the last one, and a torn file is none', async () => {
  const [path, home] = [await file(content(10)), await folder()];
  const state = await StateFile.of(path, url, home);
  for (let n = 0; n < 20; n++) void state.save({ ...saved, etag: `"${n}"` });
  await state.save({ ...saved, etag: '"last"' });
  expect(await state.load()).toEqual({ ...saved, etag: '"last"' });
  expect(await readdir(home)).toHaveLength(1);
  const text = await readFile(state.path, 'utf8');
  await writeFile(state.path, text.slice(0, -20));
  expect(await state.load()).toBeUndefined();
});

test('what nobody came back for within a month is forgotten', async () => {
  const [path, home] = [await file(content(10)), await folder()];
  await mkdir(home, { recursive: true });
  const days = (count: number): Date => new Date(Date.now() - count * 24 * 60 * 60 * 1000);
  for (const age of [29, 31]) {
    await writeFile(join(home, `${age}.json`), '{}');
    await utimes(join(home, `${age}.json`), days(age), days(age));
  }
  const state = await StateFile.of(path, url, home);
  await state.save(saved);
  expect(await readdir(home)).toHaveLength(2);
  expect(await readdir(home)).toContain('29.json');
});

test('states are kept where the system keeps states', () => {
  expect(stateFolder({ XDG_STATE_HOME: '/x' })).toBe('/x/resumable-http');
  expect(stateFolder({})).toMatch(/\/\.local\/state\/resumable-http$/);
});
