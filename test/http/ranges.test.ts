import { describe, expect, test } from 'vitest';
import {
  ask,
  content,
  expectProcessed,
  handshake,
  open,
  part,
  query,
  send,
  untilStored,
} from '../support/requests.ts';
import { type Service, startService, storeKinds } from '../support/service.ts';

const MiB = 1024 * 1024;

/** A fixed order that is no order. */
const shuffled = <T>(items: readonly T[]): T[] => {
  const rest = [...items];
  const out: T[] = [];
  for (let i = 7; rest.length > 0; i += 7) out.push(...rest.splice(i % rest.length, 1));
  return out;
};

const cuts = (length: number, size: number): [number, number][] =>
  Array.from({ length: Math.ceil(length / size) }, (_, i) => [i * size, Math.min(length, (i + 1) * size)]);

describe.each(storeKinds)('ranges (%s)', (kind) => {
  const whole = content(3 * MiB + 17);

  test('disjoint ranges out of order make the whole', async () => {
    const service = await startService(kind);
    const name = await handshake(service, whole.byteLength);
    const replies = [];
    for (const range of shuffled(cuts(whole.byteLength, 200_001))) {
      replies.push(await send(service, name, whole, range));
    }
    const last = replies.pop();
    expect(replies.every(({ status }) => status === 308)).toBe(true);
    expectProcessed(last ?? (await query(service, name)), whole);
    expect(service.calls).toHaveLength(1);
  });

  test('disjoint ranges on parallel connections make the whole, and one of them the handler', async () => {
    const service = await startService(kind);
    const name = await handshake(service, whole.byteLength);
    const ranges = shuffled(cuts(whole.byteLength, 333_333));
    const replies = await Promise.all(ranges.map((range) => send(service, name, whole, range)));
    for (const { status } of replies) expect([201, 308]).toContain(status);
    expectProcessed(await query(service, name), whole);
    expect(service.calls).toHaveLength(1);
  });

  test('parallel connections of which each is cut lose nothing that was stored', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 400_000);
    const bytes = whole.subarray(0, 400_000);
    const clients = await Promise.all(
      [0, 100_000, 200_000, 300_000].map((at) =>
        open(service, {
          ...name,
          headers: { 'Content-Range': part(at, at + 100_000, 400_000) },
          length: 100_000,
          body: bytes.subarray(at, at + 60_000),
        }),
      ),
    );
    await untilStored(service, name, 'bytes=0-59999,100000-159999,200000-259999,300000-359999');
    for (const client of clients) client.reset();
    await Promise.all(clients.map(({ closed }) => closed));
    for (const at of [0, 100_000, 200_000, 300_000]) {
      await send(service, name, bytes, [at + 60_000, at + 100_000]);
    }
    expectProcessed(await query(service, name), bytes);
  });

  test('overlapping requests on parallel connections keep the first of each byte', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    const [first, second] = [content(1000, 5), content(1000, 6)];
    await send(service, name, first, [200, 400]);
    await send(service, name, second, [100, 300]);
    await send(service, name, first, [600, 700]);
    // Over stored and missing bytes in turn.
    await send(service, name, second, [0, 1000]);
    const expected = Buffer.from(second);
    first.copy(expected, 200, 200, 400);
    first.copy(expected, 600, 600, 700);
    expectProcessed(await query(service, name), expected);
  });

  test('a gap stays one until it is filled', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    const bytes = content(1000);
    expect((await send(service, name, bytes, [500, 1000])).headers.range).toBe('bytes=500-999');
    expect((await send(service, name, bytes, [0, 499])).headers.range).toBe('bytes=0-498,500-999');
    expect(service.calls).toEqual([]);
    expectProcessed(await send(service, name, bytes, [499, 500]), bytes);
  });

  test('a whole body of unknown length, chunked', async () => {
    const service = await startService(kind);
    expectProcessed(await ask(service, { body: whole, chunk: 65_537 }), whole);
    expect(service.calls[0]?.headers).toMatchObject({ 'content-length': String(whole.byteLength) });
    expect(service.calls[0]?.headers).not.toHaveProperty('transfer-encoding');
  });

  test('`a-*/*` chunked, resumed twice', async () => {
    const service = await startService(kind);
    const name = await handshake(service, '*');
    const bytes = whole.subarray(0, 300_000);
    for (const [start, end] of [
      [0, 100_000],
      [100_000, 200_000],
    ] as const) {
      const headers = { 'Content-Range': `bytes ${start}-*/*` };
      const client = await open(service, { ...name, headers, body: bytes.subarray(start, end) });
      await untilStored(service, name, `bytes=0-${end - 1}`);
      client.reset();
      await client.closed;
    }
    const headers = { 'Content-Range': 'bytes 200000-*/*' };
    expectProcessed(
      await ask(service, { ...name, headers, body: bytes.subarray(200_000), chunk: 9999 }),
      bytes,
    );
  });

  test('a chunked part with its range known', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    const bytes = content(1000);
    const headers = { 'Content-Range': part(0, 600, 1000) };
    const reply = await ask(service, { ...name, headers, body: bytes.subarray(0, 600), chunk: 100 });
    expect(reply.headers.range).toBe('bytes=0-599');
    expectProcessed(await send(service, name, bytes, [600, 1000]), bytes);
  });

  test('a chunked part shorter than its range stores what came', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    const bytes = content(1000);
    const headers = { 'Content-Range': part(0, 600, 1000) };
    const reply = await ask(service, { ...name, headers, body: bytes.subarray(0, 500), chunk: 100 });
    expect([reply.status, reply.headers.range]).toEqual([308, 'bytes=0-499']);
    expectProcessed(await send(service, name, bytes, [500, 1000]), bytes);
  });

  describe('empty uploads', () => {
    const empty = Buffer.alloc(0);
    const identify = (req: { url?: string | undefined }) => /^\/named\/(\w+)$/.exec(req.url ?? '')?.[1];
    const once = (service: Service): void => expect(service.calls).toHaveLength(1);

    test.each(['bytes */0', 'bytes 0--1/0', 'bytes 0-*/0'])('%s at a start URL', async (range) => {
      const service = await startService(kind);
      expectProcessed(await ask(service, { headers: { 'Content-Range': range } }), empty);
      once(service);
    });

    test.each(['bytes */0', 'bytes 0--1/0', 'bytes 0-*/0'])('%s at a unique URL, twice', async (range) => {
      const service = await startService(kind, { identify });
      const request = { method: 'PUT', target: '/named/a', headers: { 'Content-Range': range } };
      expectProcessed(await ask(service, request), empty);
      expectProcessed(await ask(service, request), empty);
      once(service);
    });

    test('a PUT without a byte at a unique URL', async () => {
      const service = await startService(kind, { identify });
      expectProcessed(await ask(service, { method: 'PUT', target: '/named/a' }), empty);
      once(service);
    });

    test('a chunked body without a byte', async () => {
      const service = await startService(kind);
      expectProcessed(await ask(service, { body: '', chunk: 1 }), empty);
      once(service);
    });
  });
});
