import { mkdtemp, readdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type DownloadProgress, download } from '../../src/client/download.ts';
import { serveRanges } from '../support/range-server.ts';
import { content, sha256 } from '../support/requests.ts';
import { afterwards, failure } from '../support/scripted-server.ts';

const quick = { retry: { minMs: 2, maxMs: 10, maxCount: 5 } };
const bytes = content(5_000_000);
const others = content(5_000_000, 2);
const digestOf = (part: Buffer): string => `sha-256=:${Buffer.from(sha256(part), 'hex').toString('base64')}:`;

const place = async (): Promise<{ folder: string; path: string }> => {
  const folder = await mkdtemp(join(tmpdir(), 'resumable-download-'));
  afterwards(() => rm(folder, { recursive: true, force: true }));
  return { folder, path: join(folder, 'film.mp4') };
};

/** The file is there, and nothing beside it. */
const expectFile = async (
  { folder, path }: { folder: string; path: string },
  expected: Buffer,
): Promise<void> => {
  expect(sha256(await readFile(path))).toBe(sha256(expected));
  expect(await readdir(folder)).toEqual(['film.mp4']);
};

const cutAt =
  (...after: number[]) =>
  (number: number) => {
    const bytes = after[number];
    return bytes === undefined ? undefined : { after: bytes };
  };

describe('a download', () => {
  test('arrives in one request, and its digest is checked', async () => {
    const server = await serveRanges({
      content: bytes,
      etag: '"a"',
      headers: { 'Repr-Digest': digestOf(bytes) },
    });
    const at = await place();
    const result = await download(server.url, at.path, quick).result;
    expect(result).toEqual({ path: at.path, length: bytes.length, verified: 'sha-256', attempts: 1 });
    await expectFile(at, bytes);
  });

  test('goes on after cuts and stalls with what is missing, pinned to the version', async () => {
    const server = await serveRanges({
      content: bytes,
      etag: '"a"',
      cut: (number) => (number < 3 ? { after: 1_000_000, stall: number === 1 } : undefined),
    });
    const at = await place();
    const { attempts } = await download(server.url, at.path, { ...quick, stallTimeoutMs: 100 }).result;
    expect(attempts).toBe(4);
    await expectFile(at, bytes);
    const [first, ...rest] = server.requests;
    expect(first).toMatchObject({ range: 'bytes=0-', ifRange: undefined });
    for (const { range, ifRange } of rest) {
      expect(range).toMatch(/^bytes=\d+-4999999$/);
      expect(ifRange).toBe('"a"');
    }
    expect(server.requests.at(-1)?.range).toBe('bytes=3000000-4999999');
  });

  test('in parallel ranges, through cuts', async () => {
    const server = await serveRanges({
      content: bytes,
      etag: '"a"',
      cut: (number) => (number % 3 === 1 && number < 12 ? { after: 300_000 } : undefined),
    });
    const waiting: (() => void)[] = [];
    server.served.before = async (number) => {
      if (number === 0 || number > 4) return;
      if (number < 4) await new Promise<void>((resolve) => waiting.push(resolve));
      else for (const resolve of waiting) resolve();
    };
    const at = await place();
    await download(server.url, at.path, { ...quick, parallel: 4 }).result;
    await expectFile(at, bytes);
    expect(server.atOnce()).toBe(4);
    expect(server.requests[0]?.range).toBe('bytes=0-1048575');
  });

  test('goes on in a later call from what its note says, and asks for nothing twice', async () => {
    const server = await serveRanges({ content: bytes, etag: '"a"', cut: cutAt(2_000_000, 0, 0) });
    const at = await place();
    const error = await failure(download(server.url, at.path, { retry: { minMs: 1, maxCount: 1 } }).result);
    expect(error).toMatchObject({ code: 'interrupted' });
    expect((await readdir(at.folder)).sort()).toEqual(['film.mp4.partial', 'film.mp4.partial.json']);
    const note = JSON.parse(await readFile(`${at.path}.partial.json`, 'utf8')) as { ranges: number[][] };
    expect(note).toMatchObject({ version: 1, validator: '"a"', length: 5_000_000 });
    const [, end = 0] = note.ranges[0] ?? [];
    expect(end).toBe(2_000_000);
    server.requests.length = 0;
    server.served.cut = () => undefined;
    await download(server.url, at.path, quick).result;
    expect(server.requests.map(({ range }) => range)).toEqual(['bytes=2000000-4999999']);
    await expectFile(at, bytes);
  });

  test.each<[string, string]>([
    ['torn', '{"version":1,"url'],
    [
      'of another URL',
      JSON.stringify({ version: 1, url: 'http://x/', validator: '"a"', length: 9, ranges: [[0, 9]] }),
    ],
  ])('does not believe a note that is %s', async (_name, note) => {
    const server = await serveRanges({ content: bytes, etag: '"a"' });
    const at = await place();
    await writeFile(`${at.path}.partial`, 'something');
    await writeFile(`${at.path}.partial.json`, note);
    await download(server.url, at.path, quick).result;
    await expectFile(at, bytes);
  });

  test('does not believe a note of more than the file holds', async () => {
    const server = await serveRanges({ content: bytes, etag: '"a"' });
    const at = await place();
    await writeFile(`${at.path}.partial`, 'something');
    const note = {
      version: 1,
      url: server.url,
      validator: '"a"',
      length: bytes.length,
      ranges: [[0, 4_000_000]],
    };
    await writeFile(`${at.path}.partial.json`, JSON.stringify(note));
    await download(server.url, at.path, quick).result;
    await expectFile(at, bytes);
  });
});

describe('two versions are never put together', () => {
  test.each([
    ['a server that honours If-Range', false],
    ['a server that ignores it', true],
  ])('%s', async (_name, ignoresIfRange) => {
    const server = await serveRanges({ content: bytes, etag: '"a"', ignoresIfRange, cut: cutAt(2_000_000) });
    server.served.instead = (number) => {
      if (number === 1) Object.assign(server.served, { content: others, etag: '"b"' });
      return false;
    };
    const at = await place();
    await download(server.url, at.path, quick).result;
    await expectFile(at, others);
  });

  test('not even where the length is the only difference that shows', async () => {
    const server = await serveRanges({
      content: bytes,
      etag: '"a"',
      ignoresIfRange: true,
      cut: cutAt(2_000_000),
    });
    server.served.instead = (number) => {
      if (number === 1) server.served.content = others.subarray(0, 4_000_000);
      return false;
    };
    const at = await place();
    await download(server.url, at.path, quick).result;
    await expectFile(at, others.subarray(0, 4_000_000));
  });

  test('nor where nothing tells them apart: it begins anew', async () => {
    for (const etag of [undefined, 'W/"a"']) {
      const server = await serveRanges({ content: bytes, etag, cut: cutAt(2_000_000) });
      const at = await place();
      await download(server.url, at.path, quick).result;
      await expectFile(at, bytes);
      expect(server.requests.map(({ range }) => range)).toEqual(['bytes=0-', 'bytes=0-']);
    }
  });

  test('a date that is old enough tells them apart too', async () => {
    const headers = { 'Last-Modified': 'Fri, 01 Jan 2021 00:00:00 GMT' };
    const server = await serveRanges({ content: bytes, headers, cut: cutAt(2_000_000) });
    const at = await place();
    await download(server.url, at.path, quick).result;
    await expectFile(at, bytes);
    expect(server.requests[1]).toMatchObject({
      range: 'bytes=2000000-4999999',
      ifRange: headers['Last-Modified'],
    });
  });

  test('or it fails, where that is wanted, and what is there stays', async () => {
    const server = await serveRanges({ content: bytes, etag: '"a"', cut: cutAt(2_000_000) });
    server.served.instead = (number) => {
      if (number === 1) Object.assign(server.served, { content: others, etag: '"b"' });
      return false;
    };
    const at = await place();
    const error = await failure(download(server.url, at.path, { ...quick, onChange: 'fail' }).result);
    expect(error.code).toBe('digest_conflict');
    expect((await readdir(at.folder)).sort()).toEqual(['film.mp4.partial', 'film.mp4.partial.json']);
  });
});

describe('what a server may answer', () => {
  test.each([
    ['another start', 'bytes 5-4999999/5000000'],
    ['an unknown unit', 'pages 0-4999999/5000000'],
    ['an end before its start', 'bytes 0--1/5000000'],
    ['an end past the length', 'bytes 0-4999999/5'],
  ])('a Content-Range with %s is refused', async (_name, contentRange) => {
    const server = await serveRanges({ content: bytes, etag: '"a"', contentRange });
    const at = await place();
    const error = await failure(download(server.url, at.path, quick).result);
    expect(error.code).toBe('unexpected_response');
    expect(server.requests).toHaveLength(1);
  });

  test('a range that is whole in itself, and not the one that was asked for, is refused', async () => {
    const server = await serveRanges({ content: bytes, etag: '"a"' });
    server.served.instead = (_number, _request, response) => {
      const headers = { ETag: '"a"', 'Content-Length': 10, 'Content-Range': 'bytes 5-14/5000000' };
      response.writeHead(206, headers).end(bytes.subarray(5, 15));
      return true;
    };
    const at = await place();
    const error = await failure(download(server.url, at.path, quick).result);
    expect(error.code).toBe('unexpected_response');
    expect(server.requests).toHaveLength(1);
  });

  test('content without the announced digest is not put in its place', async () => {
    const headers = { 'Repr-Digest': digestOf(others) };
    const server = await serveRanges({ content: bytes, etag: '"a"', headers });
    const at = await place();
    const error = await failure(download(server.url, at.path, quick).result);
    expect(error.code).toBe('digest_mismatch');
    expect(await readdir(at.folder)).toEqual([]);
  });

  test('a server without ranges is begun anew after a cut, and not for ever', async () => {
    const server = await serveRanges({
      content: bytes,
      etag: '"a"',
      whole: true,
      cut: cutAt(1_000_000, 1_000),
    });
    const at = await place();
    await download(server.url, at.path, quick).result;
    await expectFile(at, bytes);
    server.served.cut = () => ({ after: 1_000 });
    const error = await failure(download(server.url, at.path, quick).result);
    expect(error.code).toBe('interrupted');
    expect(error.attempts.length).toBeLessThan(20);
  });

  test('nothing at all is a file too', async () => {
    for (const whole of [true, false]) {
      const server = await serveRanges({ content: Buffer.alloc(0), etag: '"a"', whole });
      const at = await place();
      await download(server.url, at.path, quick).result;
      await expectFile(at, Buffer.alloc(0));
    }
  });

  test('503 is retried after Retry-After, a redirect is followed without credentials, 404 ends it', async () => {
    const server = await serveRanges({ content: bytes, etag: '"a"' });
    const seen: (string | undefined)[] = [];
    const other = await serveRanges({ content: bytes, etag: '"a"' });
    other.served.instead = (_number, request) => {
      seen.push(request.headers.authorization);
      return false;
    };
    server.served.instead = (number, _request, response) => {
      if (number === 0) response.writeHead(503, { 'Retry-After': '1' }).end();
      else if (number === 1) response.writeHead(302, { Location: other.url }).end();
      else response.writeHead(404).end();
      return true;
    };
    const at = await place();
    const start = performance.now();
    await download(server.url, at.path, { ...quick, headers: { Authorization: 'secret' } }).result;
    expect(performance.now() - start).toBeGreaterThanOrEqual(990);
    await expectFile(at, bytes);
    expect(seen).toEqual([undefined]);
    expect(await failure(download(server.url, at.path, quick).result)).toMatchObject({ status: 404 });
  });
});

describe('a download of which nothing tells the version', () => {
  test('is asked for whole, once the beginning has shown that', async () => {
    const server = await serveRanges({ content: bytes, etag: 'W/"a"' });
    const at = await place();
    await download(server.url, at.path, { ...quick, parallel: 4 }).result;
    await expectFile(at, bytes);
    expect(server.requests.map(({ range }) => range)).toEqual(['bytes=0-1048575', 'bytes=0-']);
  });

  test('ends where the server never sends all of it', async () => {
    const server = await serveRanges({ content: bytes, etag: 'W/"a"' });
    server.served.instead = (_number, _request, response) => {
      const part = bytes.subarray(0, 1_000);
      response.writeHead(206, { 'Content-Range': `bytes 0-999/${bytes.length}` }).end(part);
      return true;
    };
    for (const parallel of [1, 4]) {
      const at = await place();
      const error = await failure(download(server.url, at.path, { ...quick, parallel }).result);
      expect(error.code).toBe('unexpected_response');
    }
    expect(server.requests.length).toBeLessThan(5);
  });
});

describe('a download of what is shorter by now than what is there, at a server that ignores If-Range', () => {
  const shrinking = async () => {
    const server = await serveRanges({
      content: bytes,
      etag: '"a"',
      ignoresIfRange: true,
      cut: (number) => (number === 0 ? { after: 3_000_000 } : undefined),
    });
    server.served.before = async (number) => {
      if (number === 1) Object.assign(server.served, { content: others.subarray(0, 1_000_000), etag: '"b"' });
    };
    return server;
  };

  test('begins anew', async () => {
    const server = await shrinking();
    const at = await place();
    await download(server.url, at.path, quick).result;
    await expectFile(at, others.subarray(0, 1_000_000));
  });

  test('or says so', async () => {
    const server = await shrinking();
    const at = await place();
    const error = await failure(download(server.url, at.path, { ...quick, onChange: 'fail' }).result);
    expect(error.code).toBe('digest_conflict');
  });
});

test('progress only rises, and an abort stops it with its reason and keeps what is there', async () => {
  const server = await serveRanges({
    content: bytes,
    etag: '"a"',
    cut: () => ({ after: 3_000_000, stall: true }),
  });
  const at = await place();
  const abort = new AbortController();
  const down = download(server.url, at.path, { ...quick, signal: abort.signal });
  const seen: DownloadProgress[] = [];
  const reason = new Error('enough');
  const reading = (async () => {
    for await (const event of down) {
      seen.push(event);
      if (event.received === 3_000_000) abort.abort(reason);
    }
  })();
  await expect(reading).rejects.toBe(reason);
  await expect(down.result).rejects.toBe(reason);
  expect(seen.map(({ received }) => received)).toEqual(
    seen.map(({ received }) => received).toSorted((a, b) => a - b),
  );
  expect(seen.at(-1)).toMatchObject({ total: 5_000_000 });
  server.served.cut = () => undefined;
  await download(server.url, at.path, quick).result;
  await expectFile(at, bytes);
  expect(server.requests.at(-1)?.range).toBe('bytes=3000000-4999999');
});

describe('a download that may not overwrite', () => {
  const careful = { ...quick, overwrite: false };
  const source = { content: bytes, etag: '"a"' };

  test('asks for nothing where another file has the name, be it a link to nowhere', async () => {
    const server = await serveRanges(source);
    const at = await place();
    await writeFile(at.path, 'precious');
    const error = await failure(download(server.url, at.path, careful).result);
    expect(error).toMatchObject({ code: 'target_exists', cause: { actual: at.path } });
    expect(await readFile(at.path, 'utf8')).toBe('precious');
    await rm(at.path);
    await symlink('nowhere', at.path);
    expect(await failure(download(server.url, at.path, careful).result)).toMatchObject({
      code: 'target_exists',
    });
    expect(await readdir(at.folder)).toEqual(['film.mp4']);
    expect(server.requests).toEqual([]);
  });

  test('keeps what has arrived where one appears meanwhile, and asks for nothing again', async () => {
    const server = await serveRanges(source);
    const at = await place();
    server.served.before = () => writeFile(at.path, 'precious');
    expect(await failure(download(server.url, at.path, careful).result)).toMatchObject({
      code: 'target_exists',
    });
    expect(await readFile(at.path, 'utf8')).toBe('precious');
    await rename(at.path, join(at.folder, 'moved'));
    await download(server.url, at.path, careful).result;
    expect(sha256(await readFile(at.path))).toBe(sha256(bytes));
    expect((await readdir(at.folder)).sort()).toEqual(['film.mp4', 'moved']);
    expect(server.requests).toHaveLength(1);
  });

  test('goes on where an earlier process had taken the name and was killed', async () => {
    const server = await serveRanges(source);
    const at = await place();
    server.served.before = () => writeFile(at.path, 'in the way');
    await failure(download(server.url, at.path, careful).result);
    await truncate(at.path); // as it is between taking the name and renaming
    await download(server.url, at.path, careful).result;
    await expectFile(at, bytes);
  });

  test('does not take an empty file for its own that it has not begun', async () => {
    const server = await serveRanges(source);
    const at = await place();
    await writeFile(at.path, '');
    expect(await failure(download(server.url, at.path, careful).result)).toMatchObject({
      code: 'target_exists',
    });
    expect(server.requests).toEqual([]);
  });
});
