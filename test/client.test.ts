import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readlink, rm, utimes, writeFile } from 'node:fs/promises';
import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { backoffMs, retryAfterMs } from '../src/client/backoff.ts';
import { exchange } from '../src/client/exchange.ts';
import { UploadFailedError, type UploadOptions, type UploadProgress, upload } from '../src/client/index.ts';
import { memorySource } from '../src/client/source.ts';

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** What arrived before the answer. */
  body: Buffer;
}
type Reply = (request: IncomingMessage, response: ServerResponse, seen: Seen) => void | Promise<void>;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A server that gives each request the next reply, and keeps what it saw. */
const scripted = async (...replies: Reply[]) => {
  const seen: Seen[] = [];
  const sockets = new Set<Socket>();
  const server = http.createServer((request, response) => {
    const { method = '', url = '', headers } = request;
    const entry: Seen = { method, url, headers, body: Buffer.alloc(0) };
    seen.push(entry);
    request.on('error', () => {}); // cut off on purpose
    const reply = replies[seen.length - 1] ?? answer(500, {}, 'more requests than replies');
    void reply(request, response, entry);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/upload`, seen, sockets, server };
};

/** Reads `bytes` of the body, or all of it. */
const take = (request: IncomingMessage, seen: Seen, bytes = Number.POSITIVE_INFINITY): Promise<void> =>
  new Promise((resolve) => {
    request.on('data', (chunk: Buffer) => {
      seen.body = Buffer.concat([seen.body, chunk]);
      if (seen.body.length >= bytes) resolve();
    });
    request.on('end', resolve);
  });

const answer =
  (status: number, headers: http.OutgoingHttpHeaders = {}, body = ''): Reply =>
  async (request, response, seen) => {
    await take(request, seen);
    response.writeHead(status, headers).end(body);
  };

/** Takes some of the body, says something provisional, and is gone. */
const cut =
  (bytes: number, provisional = ''): Reply =>
  async (request, response, seen) => {
    await take(request, seen, bytes);
    const socket = response.socket as Socket;
    // Closed in order, so that what was said still arrives.
    socket.end(provisional === '' ? '' : `HTTP/1.1 103 Checkpoint\r\n${provisional}\r\n\r\n`, () =>
      socket.destroy(),
    );
  };

const quick: UploadOptions = { retry: { minMs: 2, maxMs: 10, maxCount: 5 } };
const direct: UploadOptions = { ...quick, handshake: false };
const content = Buffer.from('0123456789');
const done = answer(201, { 'Content-Type': 'text/plain' }, 'stored');
const failure = (promise: Promise<unknown>): Promise<UploadFailedError> =>
  promise.then(
    () => expect.fail('it should have failed'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(UploadFailedError);
      return error as UploadFailedError;
    },
  );
const ranges = (seen: readonly Seen[]) => seen.map(({ headers }) => headers['content-range']);

describe('the rules of the proposal', () => {
  test('C1 the first request to a unique URL is the whole body without Content-Range', async () => {
    const { url, seen } = await scripted(done);
    const result = await upload(url, content, { ...direct, method: 'PUT' }).result;
    expect(seen).toMatchObject([{ method: 'PUT', body: content, headers: { 'content-length': '10' } }]);
    expect(ranges(seen)).toEqual([undefined]);
    expect(result).toMatchObject({ status: 201, attempts: 1, bytesSent: 10, bytesResent: 0 });
    expect(result.body.toString()).toBe('stored');
    expect(result.headers['content-type']).toBe('text/plain');
  });

  test('C2 every query and every part carries Content-Range', async () => {
    const { url, seen } = await scripted(
      answer(308, { Location: '/s' }),
      cut(4),
      answer(308, { Range: '0-3' }),
      done,
    );
    await upload(url, content, quick).result;
    expect(ranges(seen)).toEqual(['bytes */10', 'bytes 0-9/10', 'bytes */10', 'bytes 4-9/10']);
  });

  test('C3 C4 C5 C13 ends and length are always stated, never * beside bytes, and the length never changes', async () => {
    const { url, seen } = await scripted(
      answer(308, { ETag: '"a"' }),
      answer(308, { Range: 'bytes=0-1' }),
      cut(1),
      answer(308, { Range: 'bytes=0-2' }),
      done,
    );
    await upload(url, content, quick).result;
    for (const { headers, body } of seen) {
      expect(headers['content-range']).toMatch(body.length > 0 ? /^bytes \d+-\d+\/10$/ : /^bytes \*\/10$/);
      expect(headers['transfer-encoding']).toBeUndefined();
    }
  });

  test('C6 C8 only what is missing is sent, earliest gap first, one request for each', async () => {
    const { url, seen } = await scripted(
      answer(308, { ETag: '"a"', Range: 'bytes=0-1,4-5,8-8' }),
      answer(308, { Range: '0-5,8-8' }),
      answer(308, { Range: '0-8' }),
      done,
    );
    const result = await upload(url, content, quick).result;
    expect(ranges(seen).slice(1)).toEqual(['bytes 2-3/10', 'bytes 6-7/10', 'bytes 9-9/10']);
    expect(seen.map(({ body }) => body.toString())).toEqual(['', '23', '67', '9']);
    expect(result).toMatchObject({ bytesSent: 5, bytesResent: 0 });
  });

  test('C7 the ETag of a 308 is sent as If-Match from then on', async () => {
    const { url, seen } = await scripted(
      answer(308, { ETag: '"one"' }),
      cut(2),
      answer(308, { ETag: 'W/"two"', Range: '0-1' }),
      done,
    );
    await upload(url, content, quick).result;
    expect(seen.map(({ headers }) => headers['if-match'])).toEqual([undefined, '"one"', '"one"', 'W/"two"']);
  });

  test('C9 Retry-After of a 308 and of a 503 is obeyed', async () => {
    const first = await scripted(answer(308, { ETag: '"a"', 'Retry-After': '1' }), done);
    const second = await scripted(answer(503, { 'Retry-After': '1' }), answer(308, { ETag: '"a"' }), done);
    const start = performance.now();
    const times = [first, second].map(async ({ url }) => {
      await upload(url, content, quick).result;
      return performance.now() - start;
    });
    for (const time of await Promise.all(times)) expect(time).toBeGreaterThanOrEqual(999);
  });

  test('C9 a Retry-After nobody can wait for fails the upload', async () => {
    const { url } = await scripted(answer(308, { ETag: '"a"', 'Retry-After': '9999999999' }));
    expect(await failure(upload(url, content, quick).result)).toMatchObject({ code: 'unexpected_response' });
  });

  test('C10 a query has no body and names the length', async () => {
    const { url, seen } = await scripted(cut(3), answer(308, { Range: '0-2' }), done);
    await upload(url, content, { ...direct, headers: { 'Content-Type': 'x/y', 'X-A': 'b' } }).result;
    expect(seen[1]?.headers).toMatchObject({
      'content-length': '0',
      'content-range': 'bytes */10',
      'x-a': 'b',
    });
    expect(seen.map(({ headers }) => headers['content-type'])).toEqual(['x/y', undefined, 'x/y']);
  });

  test('C11 a drop and a 503 are followed by a query, not by bytes', async () => {
    const { url, seen } = await scripted(cut(3), answer(308, { Range: '0-2' }), answer(503), done);
    const { attempts } = await upload(url, content, direct).result;
    expect(ranges(seen)).toEqual([undefined, 'bytes */10', 'bytes 3-9/10', 'bytes */10']);
    expect(attempts).toBe(4);
  });

  test('C11 the back-off grows exponentially, with full jitter, up to its limit', () => {
    const limits = { minMs: 100, maxMs: 1000 };
    const longest = [1, 2, 3, 4, 5, 2000].map((failures) => backoffMs(failures, limits, () => 1));
    expect(longest).toEqual([100, 200, 400, 800, 1000, 1000]);
    expect(backoffMs(9, limits, () => 0)).toBe(0);
  });

  test('C12 retrying ends only without progress, and the error keeps every cause', async () => {
    const { url, seen } = await scripted(
      answer(308, { ETag: '"a"' }),
      ...[0, 1, 2].flatMap((last) => [cut(1), answer(308, { Range: `0-${last}` })]),
      ...[cut(0), cut(0), cut(0)],
    );
    const error = await failure(upload(url, content, { retry: { minMs: 1, maxMs: 1, maxCount: 2 } }).result);
    expect(seen).toHaveLength(10);
    expect(error.code).toBe('interrupted');
    expect(error.attempts).toHaveLength(6);
    expect(error.cause).toBe(error.attempts[5]);
    expect(error.message).toMatch(/without progress: (socket hang up|read ECONNRESET|write EPIPE)/);
  });
});

describe('what a server may answer', () => {
  test('Location is resolved against the URL it came from', async () => {
    const { url, seen } = await scripted(
      answer(308, { Location: '/a/b?upload_id=1' }),
      answer(308, { Location: 'c', Range: '0-4' }),
      done,
    );
    await upload(url, content, quick).result;
    expect(seen.map((request) => request.url)).toEqual(['/upload', '/a/b?upload_id=1', '/a/c']);
  });

  test('credentials stay at the origin they were meant for', async () => {
    const other = await scripted(done);
    const { url } = await scripted(answer(308, { Location: other.url }));
    await upload(url, content, { ...quick, headers: { Authorization: 'secret', 'X-A': 'b' } }).result;
    expect(other.seen[0]?.headers.authorization).toBeUndefined();
    expect(other.seen[0]?.headers['x-a']).toBe('b');
  });

  test('a later Range overrides an earlier one, none means nothing is stored, and committed never falls', async () => {
    const { url, seen } = await scripted(
      answer(308, { ETag: '"a"', Range: '0-7' }),
      answer(308, { Range: '0-1' }),
      answer(308),
      done,
    );
    const committed: number[] = [];
    const options = {
      ...quick,
      onProgress: (progress: UploadProgress) => committed.push(progress.committed),
    };
    const result = await upload(url, content, options).result;
    expect(ranges(seen).slice(1)).toEqual(['bytes 8-9/10', 'bytes 2-9/10', 'bytes 0-9/10']);
    expect(result).toMatchObject({ bytesSent: 20, bytesResent: 10 });
    expect(committed).toEqual(committed.toSorted((a, b) => a - b));
    expect(committed.at(-1)).toBe(10);
  });

  test('with checkpoints, what a 103 says saves the query', async () => {
    const { url, seen } = await scripted(
      cut(6, 'Range: bytes=0-4\r\nETag: "a"\r\nLocation: /s'),
      cut(1, 'Link: </x>; rel=preload'),
      answer(308, { Range: '0-6' }),
      done,
    );
    await upload(url, content, { ...direct, checkpoints: true, headers: { Prefer: 'wait=10' } }).result;
    expect(ranges(seen)).toEqual([undefined, 'bytes 5-9/10', 'bytes */10', 'bytes 7-9/10']);
    expect(seen[1]).toMatchObject({
      url: '/s',
      headers: { 'if-match': '"a"', prefer: 'wait=10, checkpoint' },
    });
    expect(seen[2]?.headers.prefer).toBe('wait=10');
  });

  test('all bytes stored and no answer yet: it asks again, without sending', async () => {
    const { url, seen } = await scripted(answer(308, { ETag: '"a"' }), answer(308, { Range: '0-9' }), done);
    await upload(url, content, quick).result;
    expect(ranges(seen)).toEqual(['bytes */10', 'bytes 0-9/10', 'bytes */10']);
  });

  test('… but not for ever', async () => {
    const all = Array.from({ length: 9 }, () => answer(308, { ETag: '"a"', Range: '0-9' }));
    const { url, seen } = await scripted(...all);
    expect(await failure(upload(url, content, quick).result)).toMatchObject({
      code: 'interrupted',
      status: 308,
    });
    expect(ranges(seen)).toEqual(Array(6).fill('bytes */10'));
  });

  test('an answer that comes early stops the sending', async () => {
    const big = randomBytes(64 * 1024 * 1024);
    const early: Reply = (_request, response) => void response.writeHead(201).end('enough');
    const { url } = await scripted(early);
    const result = await upload(url, big, direct).result;
    expect(result.body.toString()).toBe('enough');
    expect(result.bytesSent).toBeLessThan(big.length);
  });

  test('so does a 308, and the next request starts on another connection', async () => {
    const big = randomBytes(64 * 1024 * 1024);
    const early: Reply = (_request, response) => void response.writeHead(308, { Range: '0-67108862' }).end();
    const { url, seen } = await scripted(answer(308, { ETag: '"a"' }), early, done);
    await upload(url, big, quick).result;
    expect(seen[2]?.body).toEqual(big.subarray(-1));
  });

  test.each([
    [412, 'unknown_operation'],
    [404, 'not_found'],
    [410, 'gone'],
  ])('%i to a known upload is the end: it is not silently started anew', async (status, code) => {
    const { url, seen } = await scripted(cut(3), answer(status, {}, 'lost it'));
    const error = await failure(upload(url, content, direct).result);
    expect(error).toMatchObject({ code, status });
    expect(error.message).toContain('lost it');
    expect(error.attempts).toHaveLength(1);
    expect(seen).toHaveLength(2);
  });

  test.each([400, 302, 404, 500])('%i to the first request fails at once with the answer', async (status) => {
    const { url, seen } = await scripted(answer(status, {}, 'never\n mind'));
    const error = await failure(upload(url, content, quick).result);
    expect(error).toMatchObject({ code: 'unexpected_response', status, response: { status } });
    expect(error.message).toContain('never mind');
    expect(error.response?.body.toString()).toBe('never\n mind');
    expect(seen).toHaveLength(1);
  });

  test.each([
    ['a handshake taken for the whole upload', answer(200)],
    ['a Range beyond the content', answer(308, { Range: '0-10' })],
    ['an unreadable Range', answer(308, { Range: '0-' })],
    ['a Location of another scheme', answer(308, { Location: 'ftp://127.0.0.1/' })],
  ])('%s is refused', async (_name, reply) => {
    const { url, seen } = await scripted(reply);
    expect(await failure(upload(url, content, quick).result)).toMatchObject({ code: 'unexpected_response' });
    expect(seen).toHaveLength(1);
  });

  test('an empty upload may be complete with the handshake', async () => {
    const { url, seen } = await scripted(done);
    await upload(url, Buffer.alloc(0), quick).result;
    expect(ranges(seen)).toEqual(['bytes */0']);
  });

  test('Retry-After as a date is measured by the clock of the server', () => {
    const date = 'Fri, 01 Jan 2038 00:00:00 GMT';
    expect(retryAfterMs({ date, 'retry-after': 'Fri, 01 Jan 2038 00:00:07 GMT' })).toBe(7000);
    expect(retryAfterMs({ date, 'retry-after': 'Thu, 31 Dec 2037 00:00:00 GMT' })).toBe(0);
    expect(retryAfterMs({ 'retry-after': 'soon' })).toBe(0);
  });
});

describe('connections, files and limits', () => {
  test('a refused connection is retried, and the whole body is then still the first request', async () => {
    const { url, seen, server } = await scripted(done);
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    const onProgress = ({ state }: UploadProgress): void => {
      if (state === 'reconnecting' && !server.listening) server.listen(port, '127.0.0.1');
    };
    const { attempts } = await upload(url, content, { ...direct, onProgress }).result;
    expect(attempts).toBeGreaterThan(1);
    expect(ranges(seen)).toEqual([undefined]);
  });

  test.each<[string, Reply]>([
    ['', () => {}],
    [', in the middle of an answer too', (_request, response) => void response.writeHead(201).write('{')],
  ])('a connection on which nothing moves is given up%s', async (_where, reply) => {
    const { url } = await scripted(answer(308, { ETag: '"a"' }), reply);
    const retry = { maxCount: 0 };
    const error = await failure(upload(url, content, { stallTimeoutMs: 20, retry }).result);
    expect(error).toMatchObject({ code: 'interrupted', cause: { cause: { code: 'idle' } } });
  });

  test('… and one that moves is not, however long it takes', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    cleanups.push(() => vi.useRealTimers());
    const { url, seen } = await scripted(done);
    const agent = new http.Agent();
    const source = {
      ...memorySource(content),
      async *chunks() {
        for (const byte of content) {
          vi.advanceTimersByTime(10_000);
          yield Buffer.of(byte);
        }
      },
    };
    const headers = { 'content-length': 10 };
    const body = { source, start: 0, end: 10 };
    await exchange({ url: new URL(url), method: 'PUT', headers, agent, body, stallTimeoutMs: 30_000 });
    expect(seen[0]?.body).toEqual(content);
  });

  test('an abort rejects with its reason, in the middle of the body and of a wait', async () => {
    const reason = new Error('enough');
    for (const reply of [() => {}, answer(308, { ETag: '"a"', 'Retry-After': '60' })]) {
      const abort = new AbortController();
      const { url, sockets } = await scripted(answer(308, { ETag: '"a"' }), reply);
      const onProgress = ({ sent, state }: UploadProgress): void => {
        if (sent === 10 && (state === 'reconnecting' || reply.length === 0)) abort.abort(reason);
      };
      const { result } = upload(url, content, { ...quick, signal: abort.signal, onProgress });
      await expect(result).rejects.toBe(reason);
      for (const socket of sockets) await once(socket, 'close');
    }
  });

  test('what onProgress throws is what the upload rejects with', async () => {
    const { url } = await scripted(done);
    const onProgress = ({ sent }: UploadProgress): void => {
      if (sent > 0) throw new RangeError('mine');
    };
    await expect(upload(url, content, { ...direct, onProgress }).result).rejects.toThrow(RangeError);
  });

  const openFiles = async (path: string): Promise<number> => {
    const names = await readdir('/proc/self/fd').catch(() => []);
    const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
    return targets.filter((target) => target === path).length;
  };

  test('a file is read at offsets; afterwards neither it nor a connection is left open', async () => {
    const path = join(tmpdir(), `client-${process.pid}.bin`);
    cleanups.push(() => rm(path, { force: true }));
    const bytes = randomBytes(700_001);
    await writeFile(path, bytes);
    const { url, seen, sockets } = await scripted(
      answer(308, { ETag: '"a"' }),
      cut(300_000),
      answer(308, { Range: '0-222222,400000-499999' }),
      answer(308, { Range: '0-499999' }),
      done,
    );
    await upload(url, path, quick).result;
    expect(seen[3]?.body.equals(bytes.subarray(222_223, 400_000))).toBe(true);
    expect(seen[4]?.body.equals(bytes.subarray(500_000))).toBe(true);
    expect(await openFiles(path)).toBe(0);
    for (const socket of sockets) await once(socket, 'close');
  });

  test('a file that changes between two requests is not spliced together', async () => {
    const path = join(tmpdir(), `client-changed-${process.pid}.bin`);
    cleanups.push(() => rm(path, { force: true }));
    await writeFile(path, content);
    const { url } = await scripted(answer(308, { ETag: '"a"' }), cut(3), async (request, response, seen) => {
      await utimes(path, 0, 0);
      await answer(308, { Range: '0-2' })(request, response, seen);
    });
    expect(await failure(upload(url, path, quick).result)).toMatchObject({ code: 'digest_conflict' });
    expect(await openFiles(path)).toBe(0);
  });

  test.each<[string, string | Uint8Array, UploadOptions]>([
    ['/relative', content, {}],
    ['ftp://127.0.0.1/', content, {}],
    ['http://127.0.0.1/', content, { method: 'GET' }],
    ['http://127.0.0.1/', content, { headers: { 'Content-Range': 'bytes 0-1/2' } }],
    ['http://127.0.0.1/', content, { headers: { 'X-A': 'a\r\nb' } }],
    ['http://127.0.0.1/', content, { stallTimeoutMs: Number.POSITIVE_INFINITY }],
  ])('an unusable argument is refused: %s %s %o', (url, source, options) => {
    expect(() => upload(url, source, options)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  });

  test('a file that is not there is an error of the caller, with the reason', async () => {
    const { result } = upload('http://127.0.0.1/', '/nowhere/at/all');
    await expect(result).rejects.toMatchObject({ code: 'invalid_argument', cause: { code: 'ENOENT' } });
  });
});
