import { execFile } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import {
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { checkedPath, type FileEntityOptions, fileEntity } from '../../src/download/file.ts';
import { RawClient } from '../support/raw-client.ts';
import { ask, encode, sha256 } from '../support/requests.ts';
import { seededContent } from '../support/seeded-content.ts';
import { startServing, temporaryFolder } from './support.ts';

const content = seededContent(200_000, 3);
const secret = Buffer.from('what is outside');

/** A folder with `site`, which is given out, and what lies beside it. */
let folder = '';
let root = '';

beforeEach(async () => {
  folder = await temporaryFolder();
  root = join(folder, 'site');
  await mkdir(join(root, 'sub', '.git'), { recursive: true });
  await mkdir(join(folder, 'site-private'));
  await writeFile(join(folder, 'secret.txt'), secret);
  await writeFile(join(folder, 'site-private', 'secret.txt'), secret);
  await writeFile(join(root, 'a.bin'), content);
  await writeFile(join(root, 'sub', 'ä b%.txt'), 'inner');
  await writeFile(join(root, 'sub', '.git', 'config'), secret);
  await writeFile(join(root, '.env'), secret);
});

/** How many files of the folder this process holds open. */
const openFds = async (): Promise<number> => {
  const fds = await readdir('/proc/self/fd');
  const targets = await Promise.all(fds.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return targets.filter((path) => path.startsWith(folder)).length;
};

/** What is found under a path, read to its end; undefined where nothing is. */
const find = async (path: string, options?: FileEntityOptions): Promise<string | undefined> => {
  const entity = await fileEntity(root, path, options);
  if (entity === undefined) return undefined;
  const chunks: Buffer[] = [];
  for await (const chunk of entity.read(0, entity.size)) chunks.push(chunk as Buffer);
  await entity.close();
  return Buffer.concat(chunks).toString('latin1');
};

test.each([
  '/a.bin',
  'a.bin',
  '/a.bin?x=../../secret.txt',
  '/%61.bin',
  '/sub/../a.bin'.replace('sub/../', ''),
])('%s is the file', async (path) => {
  expect(sha256(Buffer.from((await find(path)) ?? '', 'latin1'))).toBe(sha256(content));
});

test('a name may need encoding', async () => {
  expect(await find('/sub/%C3%A4%20b%25.txt')).toBe('inner');
});

describe('nothing is found', () => {
  test.each([
    ['no name', '/'],
    ['no path', ''],
    ['a folder', '/sub'],
    ['a folder with a slash', '/sub/'],
    ['a file with a slash', '/a.bin/'],
    ['a name that is not there', '/b.bin'],
    ['a name below a file', '/a.bin/b'],
    ['a name that is too long', `/${'a'.repeat(300)}`],
    ['a path that is too long', `/${'a/'.repeat(3000)}a`],
    ['a folder above', '/../secret.txt'],
    ['a folder above, without a slash', '../secret.txt'],
    ['a folder above, in the middle', '/sub/../../secret.txt'],
    ['a way out and in again', '/../site/a.bin'],
    ['a way back inside', '/sub/../a.bin'],
    ['encoded dots', '/%2e%2e/secret.txt'],
    ['a dot and an encoded one', '/.%2E/secret.txt'],
    ['dots encoded twice', '/%252e%252e/secret.txt'],
    ['an encoded slash', '/..%2fsecret.txt'],
    ['an encoded slash inside', '/sub%2F%C3%A4%20b%25.txt'],
    ['an encoded absolute path', '/%2Fetc%2Fpasswd'],
    ['an absolute path', '//etc/passwd'],
    ['a backslash', '/..\\secret.txt'],
    ['an encoded backslash', '/..%5Csecret.txt'],
    ['a NUL', '/a.bin%00'],
    ['a NUL before what might be cut off', '/a.bin%00.txt'],
    ['a NUL as it is', '/a.bin\0'],
    ['an overlong encoding of a dot', '/%c0%ae%c0%ae/secret.txt'],
    ['half an encoding', '/a.bin%'],
    ['no encoding', '/a.bin%zz'],
    ['the folder itself', '/.'],
    ['an empty segment', '/sub//a.bin'],
    ['a folder whose name begins like the root', '/../site-private/secret.txt'],
    ['a file with a dot', '/.env'],
    ['a file with an encoded dot', '/%2eenv'],
    ['a folder with a dot', '/sub/.git/config'],
  ])('under %s', async (_, path) => {
    expect(await find(path)).toBeUndefined();
  });

  test('and no file is left open', async () => {
    await symlink(join(folder, 'secret.txt'), join(root, 'out'));
    for (const path of ['/', '/sub', '/b.bin', '/out', '/.env']) await find(path);
    expect(await openFds()).toBe(0);
  });

  test('where the root is not there', async () => {
    expect(await fileEntity(join(folder, 'nowhere'), '/a.bin')).toBeUndefined();
  });
});

test('files with a dot are found where that is allowed, and still nothing above', async () => {
  const options: FileEntityOptions = { dotfiles: 'allow' };
  expect(await find('/.env', options)).toBe(secret.toString());
  expect(await find('/sub/.git/config', options)).toBe(secret.toString());
  expect(await find('/../secret.txt', options)).toBeUndefined();
  expect(await find('/sub/./.git/config', options)).toBeUndefined();
});

describe('a symbolic link', () => {
  test('that leads out of the root is not followed, wherever on the path it is', async () => {
    await symlink(join(folder, 'secret.txt'), join(root, 'file'));
    await symlink('../secret.txt', join(root, 'relative'));
    await symlink(folder, join(root, 'folder'));
    await symlink(join(folder, 'site-private'), join(root, 'sibling'));
    await symlink('folder', join(root, 'chain'));
    for (const path of [
      '/file',
      '/relative',
      '/folder/secret.txt',
      '/sibling/secret.txt',
      '/chain/secret.txt',
    ]) {
      expect(await find(path)).toBeUndefined();
    }
  });

  test('that stays inside is followed, and one that leads nowhere or round is none', async () => {
    await symlink('sub', join(root, 'in'));
    await symlink('nothing', join(root, 'broken'));
    await symlink('round', join(root, 'round'));
    await symlink(join(folder, 'site', 'a.bin'), join(root, 'out-and-in'));
    expect(await find('/in/%C3%A4%20b%25.txt')).toBe('inner');
    expect(await find('/out-and-in')).toHaveLength(content.byteLength);
    expect(await find('/broken')).toBeUndefined();
    expect(await find('/round')).toBeUndefined();
  });

  test('may be the root', async () => {
    await symlink(root, join(folder, 'current'));
    root = join(folder, 'current');
    expect(await find('/a.bin')).toHaveLength(content.byteLength);
    await symlink(join(folder, 'secret.txt'), join(root, 'out'));
    expect(await find('/out')).toBeUndefined();
  });

  test('that is put in a file’s place and taken away again never gives what is outside', async () => {
    const file = join(root, 'sub', 'flips');
    await writeFile(join(root, 'plain'), 'inside');
    const flip = async (): Promise<void> => {
      for (let i = 0; i < 150; i++) {
        await symlink(join(folder, 'secret.txt'), join(root, 'next'));
        await rename(join(root, 'next'), file);
        await symlink('../plain', join(root, 'next'));
        await rename(join(root, 'next'), file);
      }
    };
    let isFlipping = true;
    const flipping = flip().finally(() => {
      isFlipping = false;
    });
    const seen = new Set<string | undefined>();
    while (isFlipping) seen.add(await find('/sub/flips'));
    await flipping;
    seen.delete(undefined);
    expect([...seen]).toEqual(['inside']);
  });
});

describe('the check without /proc', () => {
  test('finds the path of the open file, and none where the path leads to another by now', async () => {
    await symlink('sub', join(root, 'in'));
    const path = join(root, 'a.bin');
    const file = await open(path);
    try {
      expect(await checkedPath(file.fd, path)).toBe(path);
      await writeFile(join(root, 'other'), 'x');
      expect(await checkedPath(file.fd, join(root, 'other'))).toBeUndefined();
      await rename(join(root, 'other'), path);
      expect(await checkedPath(file.fd, path)).toBeUndefined();
      await rm(path);
      expect(await checkedPath(file.fd, path)).toBeUndefined();
    } finally {
      await file.close();
    }
    const linked = join(root, 'in', 'ä b%.txt');
    const fd = openSync(linked, 'r');
    expect(await checkedPath(fd, linked)).toBe(join(root, 'sub', 'ä b%.txt'));
    closeSync(fd);
  });
});

test('a named pipe is no file, and nobody waits for it', async () => {
  await promisify(execFile)('mkfifo', [join(root, 'pipe')]);
  expect(await find('/pipe')).toBeUndefined();
});

test.skipIf(process.getuid?.() === 0)('a file that may not be read is a failure, not a 404', async () => {
  await mkdir(join(root, 'closed'), { mode: 0o000 });
  await expect(fileEntity(root, '/closed/a')).rejects.toMatchObject({ code: 'EACCES' });
});

describe('a tag', () => {
  const etag = async (): Promise<string> => {
    const entity = await fileEntity(root, '/a.bin');
    await entity?.close();
    return entity?.etag ?? '';
  };

  test('is weak while the file is so new that it could change unnoticed, and then strong and another', async () => {
    const modified = 1e12;
    await utimes(join(root, 'a.bin'), new Date(modified), new Date(modified));
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      const tags: string[] = [];
      for (const age of [-10_000, 0, 1999, 2000, 10_000]) {
        vi.setSystemTime(modified + age);
        tags.push(await etag());
      }
      const [before, fresh, late, settled = '', old] = tags;
      expect(fresh).toMatch(/^W\/"[\w-]+"$/);
      expect([before, late]).toEqual([fresh, fresh]);
      expect(settled).toMatch(/^"[\w-]+"$/);
      expect(old).toBe(settled);
      // Under weak comparison, too: a cache that kept the first of two such states finds out.
      expect(fresh).not.toBe(`W/${settled}`);
    } finally {
      vi.useRealTimers();
    }
  });

  test('changes with the size, the time and the file', async () => {
    const { atime, mtime } = { atime: new Date(1e12), mtime: new Date(1e12) };
    const path = join(root, 'a.bin');
    await utimes(path, atime, mtime);
    const tags = [await etag()];
    await truncate(path, 1000);
    await utimes(path, atime, mtime);
    tags.push(await etag());
    await utimes(path, atime, new Date(1e12 + 1));
    tags.push(await etag());
    await writeFile(join(root, 'other'), content.subarray(0, 1000));
    await rename(join(root, 'other'), path);
    await utimes(path, atime, mtime);
    tags.push(await etag());
    expect(new Set(tags).size).toBe(4);
  });
});

describe('served', () => {
  const startFiles = (options?: FileEntityOptions) =>
    startServing((req) => fileEntity(root, req.url ?? '', options));
  const get = (range?: string, target = '/a.bin') => ({
    method: 'GET',
    target,
    headers: range === undefined ? {} : { Range: range },
  });

  test('whole, in ranges short and long, and closed each time', async () => {
    const server = await startFiles();
    expect(sha256((await ask(server, get())).body)).toBe(sha256(content));
    const slices: [string, number, number][] = [
      ['bytes=-1', 199_999, 200_000],
      ['bytes=10-4105', 10, 4106],
      ['bytes=1000-199000', 1000, 199_001],
      ['bytes=0-65535', 0, 65_536],
      ['bytes=0-65536', 0, 65_537],
    ];
    for (const [range, start, end] of slices) {
      const reply = await ask(server, get(range));
      expect(reply.status).toBe(206);
      expect(sha256(reply.body)).toBe(sha256(content.subarray(start, end)));
    }
    for (const target of ['/', '/..%2fsecret.txt', '/nothing']) {
      expect((await ask(server, get(undefined, target))).status).toBe(404);
    }
    await Promise.all(server.served);
    expect(await openFds()).toBe(0);
  });

  test('as what it was when it was opened, though another is put in its place', async () => {
    const server = await startServing(async (req) => {
      const entity = await fileEntity(root, req.url ?? '');
      await writeFile(join(root, 'new'), Buffer.alloc(300_000));
      await rename(join(root, 'new'), join(root, 'a.bin'));
      return entity;
    });
    expect(sha256((await ask(server, get())).body)).toBe(sha256(content));
  });

  test('and cut off where it has become shorter meanwhile', async () => {
    const large = join(root, 'large');
    const server = await startServing(async () => {
      await writeFile(large, Buffer.alloc(300_000));
      const entity = await fileEntity(root, '/large');
      await truncate(large, 100_000);
      return entity;
    });
    const client = await RawClient.connect(server.port);
    await client.write(encode(get()));
    await expect(client.response()).rejects.toThrow('closed before a response');
    expect(server.errors).toMatchObject([{ code: 'gone', offset: 100_000 }]);
    // Nothing was sent yet of this: it can still be told.
    expect((await ask(server, get('bytes=200000-200009'))).status).toBe(404);
  });

  test('with a type of the application’s, and nosniff where that is a guess', async () => {
    const guess = (path: string): string | undefined => (path === 'a.bin' ? 'text/x-guess' : undefined);
    const plain = (await ask(await startFiles(), get())).headers;
    expect([plain['content-type'], plain['x-content-type-options']]).toEqual([
      'application/octet-stream',
      undefined,
    ]);
    const fixed = (await ask(await startFiles({ contentType: 'text/x-fixed' }), get())).headers;
    expect([fixed['content-type'], fixed['x-content-type-options']]).toEqual(['text/x-fixed', undefined]);
    const server = await startFiles({ contentType: guess });
    const guessed = (await ask(server, get())).headers;
    expect([guessed['content-type'], guessed['x-content-type-options']]).toEqual(['text/x-guess', 'nosniff']);
    const unknown = (await ask(server, get(undefined, '/sub/%C3%A4%20b%25.txt'))).headers;
    expect(unknown['content-type']).toBe('application/octet-stream');
  });

  test('in ranges to a client that comes back with the tag, and whole once the file is another', async () => {
    const at = Date.now() / 1000 - 60;
    await utimes(join(root, 'a.bin'), at, at);
    const server = await startFiles();
    const first = await ask(server, get('bytes=0-99999'));
    const rest = { ...get(), headers: { Range: 'bytes=100000-', 'If-Range': first.headers.etag ?? '' } };
    const second = await ask(server, rest);
    expect(second.status).toBe(206);
    expect(sha256(Buffer.concat([first.body, second.body]))).toBe(sha256(content));
    await writeFile(join(root, 'a.bin'), content.subarray(1));
    expect((await ask(server, rest)).status).toBe(200);
  });
});

test('an entity that is not served is closed once, however often it is asked to', async () => {
  const entity = await fileEntity(root, '/a.bin');
  expect(await openFds()).toBe(1);
  await entity?.close();
  await entity?.close();
  expect(await openFds()).toBe(0);
});
