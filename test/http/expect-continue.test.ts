import { describe, expect, test } from 'vitest';
import {
  ask,
  chunked,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  open,
  part,
  query,
  send,
} from '../support/requests.ts';
import { type Options, startService, storeKinds } from '../support/service.ts';

const whole = content(100_000);
const { byteLength: length } = whole;
const waiting = { Expect: '100-continue' };
const unknown = '/upload?upload_id=AAAAAAAAAAAAAAAAAAAAAA';
const bothModes = storeKinds.flatMap((kind) => [[kind, 'hold'] as const, [kind, 'stream'] as const]);

describe.each(bothModes)('a client that waits for 100 (Continue) (%s, %s)', (kind, mode) => {
  const start = (options: Options = {}) => startService(kind, { mode, ...options });

  test('is told to go on where its bytes are wanted: a whole, a part, a chunked body, a repeated one', async () => {
    const service = await start();
    const { target } = await handshake(service, length);
    const begin = async (
      headers: Record<string, string>,
      to = '/upload',
      bytes: number | undefined = undefined,
    ) => {
      const client = await open(service, {
        target: to,
        headers: { ...waiting, ...headers },
        ...(bytes !== undefined && { length: bytes }),
      });
      expect((await client.nextInterim()).status).toBe(100);
      return client;
    };
    const plain = await begin({}, '/upload', length);
    await plain.write(whole);
    expectProcessed(await plain.response(), whole);
    expect(plain.interim).toHaveLength(1);

    const piece = await begin({ 'Content-Range': part(0, 300, length) }, target, 300);
    await piece.write(whole.subarray(0, 300));
    expect((await piece.response()).headers.range).toBe('bytes=0-299');

    const chunkedly = await begin({});
    await chunkedly.write(chunked(whole, 10_000));
    expectProcessed(await chunkedly.response(), whole);

    const repeated = await begin({ 'Content-Range': part(0, length, length) }, target, length);
    await repeated.write(whole);
    expectProcessed(await repeated.response(), whole);
  });

  test('is not, where it is answered without them', async () => {
    const service = await start({
      maxLength: length,
      authorize: (req) => (req.headers['x-refuse'] === undefined ? undefined : 401),
      onCreate: (req) => (req.headers['x-full'] === undefined ? undefined : { refuse: 402 }),
    });
    const finished = await handshake(service, length);
    expectProcessed(await send(service, finished, whole), whole);
    const cancelled = await handshake(service, length);
    await ask(service, { ...cancelled, method: 'DELETE' });
    const begun = await handshake(service, length);
    const cases: [number, string, Record<string, string>, number][] = [
      [401, '/upload', { 'X-Refuse': '1' }, length],
      [401, begun.target, { 'X-Refuse': '1', 'Content-Range': part(0, length, length) }, length],
      [402, '/upload', { 'X-Full': '1' }, length],
      [404, unknown, { 'Content-Range': part(0, length, length) }, length],
      [410, cancelled.target, { 'Content-Range': part(0, length, length) }, length],
      [413, '/upload', {}, length + 1],
      [413, '/upload', { 'Content-Range': part(0, 10, length + 1) }, 10],
      [400, '/upload', { 'Content-Range': 'bytes 0-x/10' }, 10],
      [400, '/upload', { 'Content-Range': 'bytes 0-8/10' }, 10],
      [400, begun.target, { 'Content-Range': part(0, 10, length - 1) }, 10],
      [400, '/upload', { 'Repr-Digest': 'sha-256=:x:' }, 10],
      [201, finished.target, { 'Content-Range': part(0, length, length) }, length],
    ];
    for (const [status, target, headers, bytes] of cases) {
      const client = await open(service, { target, headers: { ...waiting, ...headers }, length: bytes });
      const reply = await client.response();
      expect([status, reply.status, client.interim]).toEqual([status, status, []]);
      // What came next on it could be the body, or a request.
      await client.closed;
    }
    expect(service.calls).toHaveLength(1);
    expect((await query(service, begun)).headers).not.toHaveProperty('range');
    expect(service.listener.usage()).toEqual({ heldBytes: 0, liveUploads: 0, completions: 0 });
  });

  test('may send its body unasked', async () => {
    const service = await start();
    const client = await open(service, { headers: waiting, length, body: whole });
    expectProcessed(await client.response(), whole);
    const refused = await open(service, { target: unknown, headers: waiting, length, body: whole });
    expectProblem(await refused.response(), 404, 'not_found');
  });

  test('and goes before it has an answer leaves nothing', async () => {
    const service = await start();
    const client = await open(service, { headers: waiting, length });
    expect((await client.nextInterim()).status).toBe(100);
    client.reset();
    await expect.poll(() => service.listener.usage().liveUploads).toBe(0);
    await expect.poll(() => service.ids()).toEqual([]);
    expect(service.errors).toEqual([]);
  });

  test('is told with HTTP/1.0 nothing: it knows no 100', async () => {
    const service = await start();
    const reply = await ask(service, { version: '1.0', headers: waiting, body: whole });
    expectProcessed(reply, whole);
    expect(reply.interim).toEqual([]);
  });
});
