import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import { type Entity, serve } from '../../src/download.ts';
import { UploadError } from '../../src/errors.ts';
import { RawClient } from '../support/raw-client.ts';
import { ask, encode, sha256 } from '../support/requests.ts';
import { seededContent } from '../support/seeded-content.ts';
import { parseMultipart } from './multipart.ts';
import { contentEntity, startServer, startServing } from './support.ts';

const content = seededContent(300_000, 7);
const get = (range?: string) => ({
  method: 'GET',
  target: '/',
  headers: range === undefined ? {} : { Range: range },
});

/** The same content, by streams alone, and by reads at once where it may be. */
const bySort: [string, Partial<Entity>][] = [
  ['in streams', {}],
  ['at once', { readBytes: async (start, end) => content.slice(start, end) }],
];

describe.each(bySort)('a content read %s', (_, more) => {
  test('is sent whole, with its length', async () => {
    const entity = contentEntity(content, more);
    const server = await startServing(() => entity);
    const reply = await ask(server, get());
    expect(reply.status).toBe(200);
    expect(reply.headers).toMatchObject({
      'content-length': '300000',
      'content-type': 'application/octet-stream',
      'accept-ranges': 'bytes',
      etag: '"v1"',
    });
    expect(reply.headers['transfer-encoding']).toBeUndefined();
    expect(sha256(reply.body)).toBe(sha256(content));
    expect(await server.served[0]).toEqual({ status: 200, sentBytes: 300_000, isComplete: true });
    expect(entity.closed).toBe(1);
  });

  test.each<[string, number, number]>([
    ['bytes=0-0', 0, 1],
    ['bytes=-1', 299_999, 300_000],
    ['bytes=100000-150000', 100_000, 150_001],
    ['bytes=100000-', 100_000, 300_000],
  ])('is sent in the range %s', async (range, start, end) => {
    const server = await startServing(() => contentEntity(content, more));
    const reply = await ask(server, get(range));
    expect(reply.status).toBe(206);
    expect(reply.headers['content-range']).toBe(`bytes ${start}-${end - 1}/300000`);
    expect(sha256(reply.body)).toBe(sha256(content.subarray(start, end)));
    expect((await server.served[0])?.sentBytes).toBe(end - start);
  });

  test.each([
    ['that are short', 'bytes=5-9,100000-100099,-1'],
    ['that are long', 'bytes=200000-290000,0-99999,-1'],
  ])('is sent in several ranges %s', async (__, range) => {
    const entity = contentEntity(content, more);
    const server = await startServing(() => entity);
    const reply = await ask(server, get(range));
    expect(reply.status).toBe(206);
    expect(reply.headers['content-length']).toBe(String(reply.body.byteLength));
    const parts = parseMultipart(reply.headers['content-type'], reply.body);
    expect(parts).toHaveLength(3);
    for (const { start, end, body } of parts) expect(sha256(body)).toBe(sha256(content.subarray(start, end)));
    expect((await server.served[0])?.sentBytes).toBe(reply.body.byteLength);
    expect(entity.closed).toBe(1);
  });

  test('leaves the connection open for the next request, and answers those that came together in turn', async () => {
    const server = await startServing(() => contentEntity(content, more));
    const client = await RawClient.connect(server.port);
    const ranges = ['bytes=0-99', undefined, 'bytes=0-1,5-6', 'bytes=300000-', 'bytes=1-2'];
    await client.write(Buffer.concat(ranges.map((range) => encode(get(range)))));
    const statuses: number[] = [];
    for (const range of ranges) {
      const { status, body } = await client.response();
      statuses.push(status);
      if (range === undefined) expect(sha256(body)).toBe(sha256(content));
    }
    expect(statuses).toEqual([206, 200, 206, 416, 206]);
  });

  test('is sent to a client of HTTP/1.0, and the connection ends with it', async () => {
    const server = await startServing(() => contentEntity(content, more));
    const client = await RawClient.connect(server.port);
    await client.write('GET / HTTP/1.0\r\nRange: bytes=1000-\r\n\r\n');
    const reply = await client.response();
    expect(reply.status).toBe(206);
    expect(sha256(reply.body)).toBe(sha256(content.subarray(1000)));
    await client.closed;
  });

  test('has the same head for HEAD, and nothing is read', async () => {
    const entity = contentEntity(content, more);
    const server = await startServing(() => entity);
    const withoutDate = (head: string): string => head.replace(/^Date: .*$/m, '');
    const [whole, head] = [await ask(server, get()), await ask(server, { ...get(), method: 'HEAD' })];
    expect(withoutDate(head.head)).toBe(withoutDate(whole.head));
    expect(entity.sources).toHaveLength(1);
    expect(entity.closed).toBe(2);
  });
});

describe('no content', () => {
  test('is read or sent where a condition or a range says so, and the entity is closed', async () => {
    const entity = contentEntity(content);
    const server = await startServing(() => entity);
    const asked = [
      { headers: { 'If-None-Match': '"v1"' }, status: 304 },
      { headers: { 'If-Match': '"v0"' }, status: 412 },
      { headers: { Range: 'bytes=300000-' }, status: 416 },
    ];
    for (const { headers, status } of asked) {
      const reply = await ask(server, { method: 'GET', target: '/', headers });
      expect([reply.status, reply.body.byteLength]).toEqual([status, 0]);
    }
    expect(entity.sources).toEqual([]);
    expect(entity.closed).toBe(3);
  });

  test('that was there once is a 410, which is nobody’s failure', async () => {
    const errors: unknown[] = [];
    const { port } = await startServer((req, res) => {
      const gone = Promise.reject(new UploadError('gone', 'no more'));
      void serve(req, res, gone, { onError: (error) => errors.push(error) });
    });
    const reply = await ask({ port }, get());
    expect([reply.status, reply.body.byteLength]).toEqual([410, 0]);
    expect(errors).toEqual([]);
  });

  test('is a 404, and another method a 405', async () => {
    const none = await startServing(() => undefined);
    expect((await ask(none, get())).status).toBe(404);
    const entity = contentEntity(content);
    const server = await startServing(() => entity);
    const reply = await ask(server, { method: 'POST', target: '/', body: 'x' });
    expect(reply.status).toBe(405);
    expect(reply.headers.allow).toBe('GET, HEAD');
    expect(entity.closed).toBe(1);
  });

  test('of no bytes is a 200 without a body', async () => {
    const server = await startServing(() => contentEntity(new Uint8Array()));
    const reply = await ask(server, get());
    expect([reply.status, reply.headers['content-length']]).toEqual([200, '0']);
  });
});

test('fields that the application has set stay beside ours', async () => {
  const server = await startServing((_req, res) => {
    res.setHeader('X-Own', 'yes');
    return contentEntity(content, { disposition: { type: 'attachment', filename: 'naïve plan.pdf' } });
  });
  const { headers } = await ask(server, get('bytes=0-1'));
  expect(headers).toMatchObject({
    'x-own': 'yes',
    'content-range': 'bytes 0-1/300000',
    'content-disposition': `attachment; filename="na_ve plan.pdf"; filename*=UTF-8''na%C3%AFve%20plan.pdf`,
  });
});

describe('a content of unknown size', () => {
  const unknown = () => contentEntity(content, { size: undefined });

  test('is sent in chunks', async () => {
    const server = await startServing(unknown);
    const reply = await ask(server, get('bytes=0-1'));
    expect([reply.status, reply.headers['transfer-encoding']]).toEqual([200, 'chunked']);
    expect(sha256(reply.body)).toBe(sha256(content));
  });

  test('ends with the connection in HTTP/1.0', async () => {
    const server = await startServing(unknown);
    const client = await RawClient.connect(server.port);
    await client.write('GET / HTTP/1.0\r\n\r\n');
    await client.closed;
    expect(sha256((await client.response()).body)).toBe(sha256(content));
  });
});

/** Gives that many bytes, then does the last thing. */
const source = (bytes: number, last: () => Error | null): Readable => {
  let left = bytes;
  return new Readable({
    read() {
      if (left === 0) {
        const error = last();
        if (error === null) this.push(null);
        else this.destroy(error);
        return;
      }
      const count = Math.min(left, 10_000);
      left -= count;
      this.push(Buffer.alloc(count));
    },
  });
};

/** Gives that many bytes, and ends without an error and without an end. */
const selfDestroying = (bytes: number): Readable => {
  const stream = new Readable({ read() {} });
  stream.push(Buffer.alloc(bytes));
  stream.once('data', () => setImmediate(() => stream.destroy()));
  return stream;
};

describe('a source that fails', () => {
  const failing = (bytes: number, error: Error) =>
    contentEntity(content, { read: () => source(bytes, () => error) });

  test('before its first byte is a bare 500, on a connection that stays', async () => {
    const error = new Error('the secret of the disk');
    const entity = failing(0, error);
    const server = await startServing(() => entity);
    const client = await RawClient.connect(server.port);
    for (const range of [undefined, 'bytes=0-1,5-6']) {
      await client.write(encode(get(range)));
      const reply = await client.response();
      expect([reply.status, reply.headers['content-length']]).toEqual([500, '0']);
      expect(reply.headers).not.toHaveProperty('etag');
      expect(reply.head).not.toContain('secret');
    }
    expect(server.errors).toEqual([error, error]);
    expect(entity.closed).toBe(2);
  });

  test('because the bytes are gone is a 404 as long as nothing was sent', async () => {
    const server = await startServing(() => failing(0, new UploadError('gone', 'no more')));
    expect((await ask(server, get())).status).toBe(404);
  });

  test.each<[string, Partial<Entity>]>([
    ['with an error', { read: () => source(50_000, () => new Error('a bad sector')) }],
    ['by ending early', { read: () => source(50_000, () => null) }],
    ['by ending a byte early', { read: () => source(299_999, () => null) }],
    ['by being destroyed', { read: () => selfDestroying(50_000) }],
  ])('after the head, %s, ends the connection: never a short success', async (_, more) => {
    const entity = contentEntity(content, more);
    const server = await startServing(() => entity);
    const client = await RawClient.connect(server.port);
    let received = 0;
    client.socket.on('data', (chunk: Buffer) => {
      received += chunk.byteLength;
    });
    await client.write(encode(get()));
    await expect(client.response()).rejects.toThrow('closed before a response');
    expect(received).toBeLessThan(300_000 + 300);
    expect((await server.served[0])?.isComplete).toBe(false);
    expect(server.errors).toHaveLength(1);
    expect(entity.closed).toBe(1);
  });

  test('to stop sends no byte more than was announced, and ends the connection', async () => {
    const entity = contentEntity(content, { read: () => source(300_001, () => null) });
    const server = await startServing(() => entity);
    const client = await RawClient.connect(server.port);
    await client.write(encode(get()));
    await client.closed;
    expect((await client.response()).body.byteLength).toBe(300_000);
    expect(server.errors).toMatchObject([{ code: 'store_failed', expected: 300_000, actual: 300_001 }]);
    expect(entity.closed).toBe(1);
  });

  test('in the second of two ranges ends the connection', async () => {
    const entity = contentEntity(content, {
      read: (start, end) =>
        start === 0 ? Readable.from([content.subarray(start, end)]) : source(1, () => null),
    });
    const server = await startServing(() => entity);
    const client = await RawClient.connect(server.port);
    await client.write(encode(get('bytes=0-99,200-299')));
    await expect(client.response()).rejects.toThrow();
    expect(server.errors).toMatchObject([{ code: 'store_failed', expected: 100, actual: 1 }]);
  });

  test('when it gives too little at once is a 500', async () => {
    const server = await startServing(() =>
      contentEntity(content, { readBytes: async () => Buffer.alloc(3) }),
    );
    expect((await ask(server, get('bytes=0-9'))).status).toBe(500);
  });

  test.each(bySort)('because its fields cannot be sent, read %s, is a 500', async (_, more) => {
    const headers = { 'X-Own': 'a\r\nb' };
    const entity = contentEntity(content, { ...more, headers });
    const server = await startServing(() => entity);
    for (const range of ['bytes=0-9', undefined]) expect((await ask(server, get(range))).status).toBe(500);
    expect(server.errors).toMatchObject(Array(2).fill({ code: 'ERR_INVALID_CHAR' }));
    expect(entity.closed).toBe(2);
  });

  test('because the entity is unusable is a 500, and it is closed', async () => {
    const entity = contentEntity(content, { etag: 'no quotes' });
    const server = await startServing(() => entity);
    expect((await ask(server, get())).status).toBe(500);
    expect(server.errors).toMatchObject([{ code: 'invalid_argument' }]);
    expect(entity.closed).toBe(1);
  });

  test('that cannot even be had is a 500', async () => {
    const error = Object.assign(new Error('too many open files'), { code: 'EMFILE' });
    const errors: unknown[] = [];
    const { port } = await startServer((req, res) => {
      void serve(req, res, Promise.reject(error), { onError: (reason) => errors.push(reason) });
    });
    expect((await ask({ port }, get())).status).toBe(500);
    expect(errors).toEqual([error]);
  });

  test('is told to a function that may fail itself', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const failure = new Error('no log');
    const onError = (): never => {
      throw failure;
    };
    const server = await startServing(() => failing(0, new Error('a bad sector')), { onError });
    expect((await ask(server, get())).status).toBe(500);
    expect(await server.served[0]).toMatchObject({ status: 500 });
    expect(log.mock.calls).toEqual([[failure]]);
    log.mockRestore();
  });
});

describe('a client', () => {
  /** Zeros without end, and how many were taken. */
  const endless = (size: number) => {
    const state = { taken: 0, source: undefined as Readable | undefined };
    const entity = contentEntity(content, {
      size,
      read: () => {
        state.source = new Readable({
          highWaterMark: 64 * 1024,
          read() {
            state.taken += 64 * 1024;
            this.push(Buffer.alloc(64 * 1024));
          },
        });
        return state.source;
      },
    });
    return { state, entity };
  };

  test('that does not read holds the source back', async () => {
    const size = 4 * 2 ** 30;
    const { state, entity } = endless(size);
    const server = await startServing(() => entity);
    const before = process.memoryUsage().rss;
    const socket = connect(server.port, '127.0.0.1').pause();
    await once(socket, 'connect');
    socket.write(encode(get()));
    // Stalled: nothing was taken between two looks.
    await vi.waitFor(
      async () => {
        const then = state.taken;
        await new Promise((resolve) => setTimeout(resolve, 100));
        if (then === 0 || state.taken !== then) throw new Error('still flowing');
      },
      { timeout: 10_000 },
    );
    const MiB = 2 ** 20;
    expect(state.source?.isPaused()).toBe(true);
    expect(state.taken).toBeLessThan(32 * MiB); // what the sockets' buffers take
    expect(process.memoryUsage().rss - before).toBeLessThan(128 * MiB);
    socket.destroy();
    expect((await server.served[0])?.isComplete).toBe(false);
  });

  test.each([
    ['whole', undefined],
    ['in ranges', 'bytes=0-1000000000,2000000000-3000000000'],
  ])('that goes away while a content is sent %s closes the source and the entity', async (_, range) => {
    const { state, entity } = endless(4 * 2 ** 30);
    const server = await startServing(() => entity);
    const client = await RawClient.connect(server.port);
    client.socket.removeAllListeners('data').pause();
    await client.write(encode(get(range)));
    await vi.waitFor(() => expect(state.taken).toBeGreaterThan(0));
    client.reset();
    const served = await server.served[0];
    expect(served).toMatchObject({ isComplete: false });
    expect(state.source?.destroyed).toBe(true);
    expect(entity.closed).toBe(1);
    expect(server.errors).toEqual([]); // nobody's failure
  });

  test('that has gone before anything was read costs nothing', async () => {
    const entity = contentEntity(content);
    let client: RawClient | undefined;
    const server = await startServing(async (_req, res) => {
      client?.reset();
      await once(res, 'close');
      return entity;
    });
    client = await RawClient.connect(server.port);
    await client.write(encode(get()));
    await client.closed;
    await vi.waitFor(() => expect(server.served).toHaveLength(1));
    expect(await server.served[0]).toMatchObject({ isComplete: false, sentBytes: 0 });
    expect(entity.sources.every(({ destroyed }) => destroyed)).toBe(true);
    expect(entity.closed).toBe(1);
    expect(server.errors).toEqual([]);
  });
});
