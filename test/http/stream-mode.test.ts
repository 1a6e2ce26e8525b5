import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { describe, expect, test } from 'vitest';
import type { Handler, StreamHandler } from '../../src/index.ts';
import { isUploadError, resumable } from '../../src/index.ts';
import { memoryStore } from '../../stores/memory.ts';
import { gate } from '../support/gate.ts';
import type { RawClient } from '../support/raw-client.ts';
import {
  ask,
  chunked,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  type Name,
  open,
  part,
  query,
  send,
  sha256,
  untilStored,
} from '../support/requests.ts';
import { digestHandler, type Options, type Service, startService, storeKinds } from '../support/service.ts';

const whole = content(700_000);

const stream = (
  kind: (typeof storeKinds)[number],
  handler: StreamHandler = digestHandler as StreamHandler,
  options: Options = {},
): Promise<Service> => startService(kind, { mode: 'stream', ...options }, handler as Handler);

/** Sends `[start, end)` of a body that is announced as going on to the end of the whole, and stays connected. */
const begin = (service: Service, name: Name, start: number, end: number): Promise<RawClient> =>
  open(service, {
    ...name,
    headers: { ...name.headers, 'Content-Range': part(start, whole.byteLength, whole.byteLength) },
    length: whole.byteLength - start,
    body: whole.subarray(start, end),
  });

/** … and is cut off when that is stored. */
const beginAndCut = async (service: Service, name: Name, start: number, end: number): Promise<void> => {
  const client = await begin(service, name, start, end);
  await untilStored(service, name, `bytes=0-${end - 1}`);
  await cut(client);
};

const cut = async (client: RawClient): Promise<void> => {
  client.reset();
  await client.closed;
};

/** A handler that counts what it reads, and lets a test wait for so much. */
const counting = () => {
  const sum = createHash('sha256');
  const waiting: { bytes: number; tell: () => void }[] = [];
  let size = 0;
  const seen: IncomingMessage[] = [];
  const handler: StreamHandler = (req, res) => {
    seen.push(req);
    req.on('data', (chunk: Buffer) => {
      sum.update(chunk);
      size += chunk.byteLength;
      for (const { bytes, tell } of waiting) if (size >= bytes) tell();
    });
    req.on('end', () => {
      res.writeHead(201, { 'Content-Type': 'application/json' });
      res.end(JSON.stringify({ size, sha256: sum.digest('hex') }));
    });
  };
  const read = (bytes: number): Promise<void> =>
    new Promise((tell) => {
      if (size >= bytes) tell();
      else waiting.push({ bytes, tell });
    });
  return { handler, read, seen, size: () => size };
};

/** How a handler ends that just waits for its body. */
const ending = () => {
  let tell: (error: unknown) => void = () => undefined;
  const ended = new Promise<unknown>((resolve) => {
    tell = resolve;
  });
  const handler: StreamHandler = async (req, res) => {
    try {
      await pipeline(req, async (source) => {
        for await (const _ of source);
      });
      tell(undefined);
      res.end('whole');
    } catch (error) {
      tell(error);
      throw error;
    }
  };
  return { handler, ended };
};

describe.each(storeKinds)('stream mode (%s)', (kind) => {
  test('the handler starts at the first byte, and its body goes on over every connection', async () => {
    const { handler, read } = counting();
    const service = await stream(kind, handler);
    const name = await handshake(service, whole.byteLength);
    let at = 0;
    for (const end of [1, 2, 100_000, 100_001, 400_000]) {
      const client = await begin(service, name, at, end);
      await read(end);
      await cut(client);
      expect((await query(service, name)).headers.range).toBe(`bytes=0-${end - 1}`);
      at = end;
    }
    expectProcessed(await send(service, name, whole, [at, whole.byteLength]), whole);
    expect(service.calls.map(({ attempt }) => attempt)).toEqual([1]);
    expectProcessed(await query(service, name), whole);
    expect(service.errors).toEqual([]);
  });

  test.each([
    ['with a length', undefined],
    ['chunked', 10_000],
  ])('an ordinary request %s is answered on its connection', async (_how, chunk) => {
    const service = await stream(kind);
    expectProcessed(await ask(service, { body: whole, ...(chunk && { chunk }) }), whole);
    const empty = await ask(service, { body: '', chunk: 1 });
    expectProcessed(empty, Buffer.alloc(0));
    expect(service.calls).toHaveLength(2);
    expect(service.listener.usage()).toEqual({ heldBytes: 0, liveUploads: 0, completions: 0 });
  });

  test('a part is answered with 308 while the handler goes on', async () => {
    const { handler, read } = counting();
    const service = await stream(kind, handler);
    const name = await handshake(service, '*');
    for (const [start, end] of [
      [0, 200_000],
      [200_000, 200_010],
    ] as const) {
      const reply = await send(service, name, whole, [start, end], '*');
      expect([reply.status, reply.headers.range]).toEqual([308, `bytes=0-${end - 1}`]);
      await read(end);
    }
    const rest = { ...name, headers: { 'Content-Range': 'bytes 200010-*/*' } };
    expectProcessed(await ask(service, { ...rest, body: whole.subarray(200_010), chunk: 65_536 }), whole);
    expect(service.calls).toHaveLength(1);
  });

  test('ranges that arrive out of order are read in order', async () => {
    const { handler, read, size } = counting();
    const service = await stream(kind, handler);
    const name = await handshake(service, whole.byteLength);
    await send(service, name, whole, [500_000, 700_000]);
    await send(service, name, whole, [100_000, 300_000]);
    expect(size()).toBe(0);
    await send(service, name, whole, [0, 100_000]);
    await read(300_000);
    expectProcessed(await send(service, name, whole, [250_000, 600_000]), whole);
    expect(service.calls).toHaveLength(1);
  });

  test('a handler that does not read holds its client back, which is no silence of the client', async () => {
    const go = gate();
    const { handler, read } = counting();
    const service = await stream(
      kind,
      async (req, res) => {
        await go.opened;
        return handler(req, res);
      },
      { aheadBytes: 100_000, batchBytes: 50_000, idleTimeoutMs: 200 },
    );
    const big = content(24_000_000);
    const name = await handshake(service, big.byteLength);
    const client = await open(service, {
      ...name,
      headers: { 'Content-Range': part(0, big.byteLength, big.byteLength) },
      length: big.byteLength,
    });
    const written = client.write(big);
    await new Promise((resolve) => setTimeout(resolve, 500)); // longer than the idle timeout
    expect(client.socket.writableLength).toBeGreaterThan(10_000_000);
    const stored = await service.store.load((await service.ids())[0] ?? '');
    expect(stored?.received.at(-1)?.end ?? 0).toBeLessThan(1_000_000);
    go.open();
    await written;
    expectProcessed(await client.response(), big);
    await read(big.byteLength);
    expect(service.calls).toHaveLength(1);
  });

  test('a handler that answers early ends the upload', async () => {
    const service = await stream(kind, async (req, res) => {
      await once(req, 'readable');
      req.read(10);
      res.writeHead(415, { 'X-Why': 'no film' }).end('not of this type');
    });
    const name = await handshake(service, whole.byteLength);
    const client = await begin(service, name, 0, 10);
    const reply = await client.response();
    expect([reply.status, reply.body.toString()]).toEqual([415, 'not of this type']);
    expect(reply.headers['content-length']).toBe('16'); // else the client would wait for the end of the connection
    for (const again of [await query(service, name), await send(service, name, whole)]) {
      expect([again.status, again.headers['x-why'], again.body.toString()]).toEqual([
        415,
        'no film',
        'not of this type',
      ]);
    }
    expect(service.calls).toHaveLength(1);
    await expect.poll(() => service.listener.usage().liveUploads).toBe(0);
  });

  test('a handler that answers early is heard on the connection that is there', async () => {
    const go = gate();
    const service = await stream(kind, async (req, res) => {
      req.resume();
      await go.opened;
      res.writeHead(422).end('enough');
    });
    const name = await handshake(service, whole.byteLength);
    await beginAndCut(service, name, 0, 1000);
    const client = await begin(service, name, 1000, 2000);
    await untilStored(service, name, 'bytes=0-1999');
    go.open();
    expect((await client.response()).body.toString()).toBe('enough');
  });

  test.each([
    ['throws', () => Promise.reject(new Error('thrown by the test'))],
    ['answers "not now"', undefined],
  ])('a handler that %s runs again when all bytes are there', async (_how, fail) => {
    let isFirst = true;
    const service = await stream(kind, async (req, res) => {
      if (!isFirst) return (digestHandler as StreamHandler)(req, res);
      isFirst = false;
      await once(req, 'readable');
      return fail === undefined ? res.writeHead(503).end('busy') : fail();
    });
    const name = await handshake(service, whole.byteLength);
    const client = await begin(service, name, 0, 1000);
    expect((await client.response()).status).toBe(fail === undefined ? 503 : 500);
    await untilStored(service, name, 'bytes=0-999');
    const more = await begin(service, name, 1000, 300_000);
    await untilStored(service, name, 'bytes=0-299999');
    expect(service.calls).toHaveLength(1);
    await cut(more);
    expectProcessed(await send(service, name, whole, [300_000, whole.byteLength]), whole);
    expect(service.calls.map(({ attempt, headers }) => [attempt, headers['content-length']])).toEqual([
      [1, '700000'],
      [2, '700000'],
    ]);
  });

  test('a client that stays away too long is an error of the body, and may still come back', async () => {
    const { handler, ended } = ending();
    const first = { handler };
    const service = await stream(
      kind,
      (req, res) => {
        const run = first.handler;
        first.handler = digestHandler as StreamHandler;
        return run(req, res);
      },
      { resumeTimeoutMs: 50 },
    );
    const name = await handshake(service, whole.byteLength);
    await beginAndCut(service, name, 0, 300_000);
    expect(await ended).toMatchObject({ code: 'interrupted', expected: whole.byteLength });
    await expect.poll(() => service.listener.usage().completions).toBe(0); // its claim has been given back
    await untilStored(service, name, 'bytes=0-299999');
    expectProcessed(await send(service, name, whole, [300_000, whole.byteLength]), whole);
    expect(service.calls.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(service.errors).toEqual([]); // of the client's doing
  });

  test('of a client that cannot come back nothing is kept', async () => {
    const { handler, ended } = ending();
    const service = await stream(kind, handler);
    const client = await open(service, { length: 1000, body: whole.subarray(0, 10) });
    await expect.poll(() => service.calls.length).toBe(1);
    await cut(client);
    expect(isUploadError(await ended, 'interrupted')).toBe(true);
    await expect.poll(() => service.ids()).toEqual([]);
    expect(service.errors).toEqual([]);
  });

  test('a cancelled upload is an error of the body', async () => {
    const { handler, ended } = ending();
    const service = await stream(kind, handler);
    const name = await handshake(service, whole.byteLength);
    const client = await begin(service, name, 0, 1000);
    await expect.poll(() => service.calls.length).toBe(1);
    expect((await ask(service, { ...name, method: 'DELETE' })).status).toBe(204);
    expect(isUploadError(await ended, 'gone')).toBe(true);
    expectProblem(await client.response(), 410, 'gone');
    expectProblem(await query(service, name), 410, 'gone');
  });

  test('the end of a content that is not the announced one is never told', async () => {
    let hasEnded = false;
    const service = await stream(kind, (req, res) => {
      req.resume().on('end', () => {
        hasEnded = true;
        res.end('fine');
      });
      req.on('error', () => undefined);
    });
    const headers = { 'Repr-Digest': `sha-256=:${createHash('sha256').update('other').digest('base64')}:` };
    expectProblem(await ask(service, { headers, body: whole }), 400, 'digest_mismatch');
    expect(hasEnded).toBe(false);
    const right = { 'Repr-Digest': `sha-256=:${createHash('sha256').update(whole).digest('base64')}:` };
    expect((await ask(service, { headers: right, body: whole })).body.toString()).toBe('fine');
  });

  test('an answer that nobody is there for is given to whoever asks next', async () => {
    const go = gate();
    const service = await stream(kind, async (req, res) => {
      for await (const _ of req);
      await go.opened;
      res.writeHead(201).end('done');
    });
    const name = await handshake(service, whole.byteLength);
    const client = await begin(service, name, 0, whole.byteLength);
    await untilStored(service, name, `bytes=0-${whole.byteLength - 1}`).catch(() => undefined);
    await cut(client);
    go.open();
    await expect.poll(async () => (await query(service, name)).body.toString()).toBe('done');
    expect(service.calls).toHaveLength(1);
  });

  test('a long answer goes to the connection that is there when it comes', async () => {
    const answer = content(300_000, 7);
    const go = gate();
    const service = await stream(kind, async (req, res) => {
      for await (const _ of req);
      await go.opened;
      res.writeHead(200, { 'X-Sum': sha256(answer) });
      res.write(answer.subarray(0, 100_000));
      res.end(answer.subarray(100_000));
    });
    const name = await handshake(service, whole.byteLength);
    await beginAndCut(service, name, 0, 1000);
    const reply = send(service, name, whole, [1000, whole.byteLength]);
    await untilWhole(service);
    go.open();
    expect(sha256((await reply).body)).toBe(sha256(answer));
    const replay = await query(service, name);
    expect([replay.headers['x-sum'], replay.body.byteLength]).toEqual([sha256(answer), 0]);
  });

  test('trailers are those of the connection that brought the end', async () => {
    let trailers: unknown;
    const service = await stream(kind, (req, res) => {
      req.resume().on('end', () => {
        trailers = req.trailers;
        res.end();
      });
    });
    const name = await handshake(service, '*');
    await send(service, name, whole, [0, 1000], '*');
    const client = await open(service, { ...name, headers: { 'Content-Range': 'bytes 1000-*/*' } });
    await client.write(chunked(whole.subarray(1000, 2000), 100, false));
    await client.write('0\r\nX-Sum: abc\r\n\r\n');
    expect((await client.response()).status).toBe(200);
    expect(trailers).toEqual({ 'x-sum': 'abc' });
  });

  test('the server stops: the body errors, and the next process runs the handler on the whole', async () => {
    const { handler, ended } = ending();
    const service = await stream(kind, handler);
    const name = await handshake(service, whole.byteLength);
    const client = await begin(service, name, 0, 300_000);
    await expect.poll(() => service.calls.length).toBe(1);
    await untilStored(service, name, 'bytes=0-299999');
    if (kind === 'memory') return void (await cut(client));
    const next = await service.restart(undefined, digestHandler);
    expect(isUploadError(await ended, 'closing')).toBe(true);
    expect((await query(next, name)).headers.range).toBe('bytes=0-299999');
    expectProcessed(await send(next, name, whole, [300_000, whole.byteLength]), whole);
    expect(next.calls.map(({ attempt }) => attempt)).toEqual([2]);
  });
});

const untilWhole = async (service: Service): Promise<void> => {
  await expect
    .poll(async () => (await service.store.load((await service.ids())[0] ?? ''))?.received)
    .toEqual([{ start: 0, end: whole.byteLength }]);
};

test('a store that cannot be read before all bytes are there cannot be streamed from', () => {
  const store = { ...memoryStore(), supports: { ...memoryStore().supports, readOpen: false } };
  expect(() => resumable({ store, mode: 'stream' }, () => undefined)).toThrow(
    expect.objectContaining({ code: 'not_supported' }),
  );
});
