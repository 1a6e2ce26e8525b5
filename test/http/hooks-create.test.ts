import { describe, expect, test } from 'vitest';
import { gate } from '../support/gate.ts';
import {
  ask,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  type Name,
  open,
  query,
  type Request,
  send,
  untilStored,
} from '../support/requests.ts';
import { type Options, type Service, startService, storeKinds } from '../support/service.ts';

const whole = content(1000);
const unknown: Name = { target: '/upload?upload_id=AAAAAAAAAAAAAAAAAAAAAA', headers: {} };
const bothModes = storeKinds.flatMap((kind) => [[kind, 'hold'] as const, [kind, 'stream'] as const]);
const named: Options = { identify: (req) => /^\/named\/(\w+)$/.exec(req.url ?? '')?.[1] };

describe.each(bothModes)('onCreate (%s, %s)', (kind, mode) => {
  const start = (onCreate: Options['onCreate'], options: Options = {}): Promise<Service> =>
    startService(kind, { mode, ...named, ...options, ...(onCreate && { onCreate }) });

  const beginnings: [string, Request][] = [
    ['a handshake', { headers: { 'Content-Range': 'bytes */1000' } }],
    ['a handshake of unknown length', { headers: { 'Content-Range': 'bytes */*' } }],
    ['a plain request', { body: whole }],
    ['a chunked one', { body: whole, chunk: 100 }],
    ['the first part of a plain one', { body: 'x', headers: { 'Content-Range': 'bytes 0-0/1000' } }],
    ['a named one', { method: 'PUT', target: '/named/a', body: whole }],
    ['an empty one', { headers: { 'Content-Range': 'bytes */0' } }],
  ];

  test.each(beginnings)('refuses %s: nothing is made, and nobody else is told', async (_what, request) => {
    const told: unknown[] = [];
    const service = await start(
      () => ({ refuse: { status: 402, headers: { 'X-Why': 'full' }, body: 'no' } }),
      {
        onAbort: (...args) => told.push(args),
      },
    );
    const reply = await ask(service, request);
    expect([reply.status, reply.headers['x-why'], reply.body.toString()]).toEqual([402, 'full', 'no']);
    expect(await service.ids()).toEqual([]);
    expect([service.calls, service.errors, told]).toEqual([[], [], []]);
    expect(service.listener.usage()).toEqual({ heldBytes: 0, liveUploads: 0, completions: 0 });
  });

  test.each(beginnings)('comes before %s, with its id and length', async (_what, request) => {
    const told: unknown[] = [];
    const service = await start((req, upload) => void told.push([req.method, upload]));
    await ask(service, request);
    const [id] = await service.ids();
    const range = request.headers?.['Content-Range'] ?? 'bytes */1000';
    const length =
      request.chunk === undefined && !range.endsWith('*') ? Number(range.split('/')[1]) : undefined;
    expect(told).toEqual([[request.method ?? 'POST', { id, length }]]);
  });

  test('is not called for what goes on with an upload, or only asks for it', async () => {
    let called = 0;
    const service = await start(() => void called++);
    const name = await handshake(service, 1000);
    const never: Name = { target: '/named/never', headers: {} };
    expect(called).toBe(1);
    await send(service, name, whole, [0, 10]);
    await query(service, name);
    await send(service, name, whole, [10, 1000]);
    await send(service, name, whole);
    await query(service, unknown);
    expect((await query(service, never)).status).toBe(308);
    await ask(service, { ...never, method: 'DELETE' });
    expect(called).toBe(1);
  });

  test('is called once for a name, whatever comes of the first connection', async () => {
    let called = 0;
    const service = await start(() => void called++);
    const name: Name = { target: '/named/a', headers: {} };
    const client = await open(service, {
      ...name,
      method: 'PUT',
      length: 1000,
      body: whole.subarray(0, 300),
    });
    await untilStored(service, name, 'bytes=0-299');
    client.reset();
    await client.closed;
    expectProcessed(await ask(service, { ...name, method: 'PUT', body: whole }), whole);
    expectProcessed(await ask(service, { ...name, method: 'PUT', body: whole }), whole);
    expect(called).toBe(1);
  });

  test('lays down metadata, beside that of the service', async () => {
    const seen: unknown[] = [];
    const service = await startService(
      kind,
      {
        mode,
        metadata: () => ({ by: 'ann', kind: 'film' }),
        onCreate: async (req) => ({ metadata: { kind: 'song', title: String(req.headers['x-title']) } }),
      },
      ({ upload }, res) => {
        seen.push(upload?.metadata);
        res.end();
      },
    );
    const begun = await ask(service, { headers: { 'Content-Range': 'bytes */1000', 'X-Title': 'one' } });
    await send(service, { target: begun.headers.location ?? '', headers: { 'X-Title': 'two' } }, whole);
    await ask(service, { headers: { 'X-Title': 'three' }, body: whole });
    expect(seen).toEqual([
      { by: 'ann', kind: 'song', title: 'one' },
      { by: 'ann', kind: 'song', title: 'three' },
    ]);
  });

  test('lets an upload expire sooner than others', async () => {
    const service = await start((_req, { length }) => (length === 1000 ? { expiresAfterMs: 20 } : undefined));
    const [sooner, other] = [await handshake(service, 1000), await handshake(service, 2000)];
    await expect.poll(async () => (await query(service, sooner)).status).toBe(410);
    expect(await service.listener.expire()).toMatchObject({ expired: 1 });
    expectProblem(await send(service, sooner, whole), 410, 'gone');
    expect((await query(service, other)).status).toBe(308);
  });

  test('lets an upload live longer than others', async () => {
    const longer = { expiresAfterMs: 3_600_000 };
    const service = await start((_req, { length }) => (length === 1000 ? longer : undefined), {
      expiresAfterMs: 20,
    });
    const [name, other] = [await handshake(service, 1000), await handshake(service, 2000)];
    await expect.poll(async () => (await query(service, other)).status).toBe(410);
    expect(await service.listener.expire()).toMatchObject({ expired: 1 });
    expectProcessed(await send(service, name, whole), whole);
  });

  test('bounds the length below that of the service, and never above', async () => {
    const service = await start((req) => ({ maxLength: Number(req.headers['x-most'] ?? 1000) }), {
      maxLength: 5000,
    });
    const most = { 'X-Most': '9000' };
    const long = content(5001);
    for (const request of [
      { headers: { 'Content-Range': 'bytes */1001' } },
      { body: content(1001) },
      { body: content(1001), chunk: 100 },
      { body: content(1001), target: '/named/b', method: 'PUT', chunk: 1001 },
      { body: 'x', headers: { 'Content-Range': 'bytes 1000-1000/*' } },
      { body: 'x', headers: { 'Content-Range': 'bytes 0-0/1001' } },
      { body: long, headers: most },
      { body: long, headers: most, chunk: 1000 },
    ]) {
      expectProblem(await ask(service, request), 413, 'too_large');
    }
    const unnamed = (await service.ids()).length;
    expect(unnamed).toBeLessThanOrEqual(1); // of the name that may be gone on with
    expectProcessed(await ask(service, { body: whole }), whole);
    expectProcessed(await ask(service, { body: whole, chunk: 300 }), whole);
  });

  test('bounds the length of an upload whose length is stated late, or never', async () => {
    const service = await start(() => ({ maxLength: 1000 }));
    const name = await handshake(service, '*');
    expect((await send(service, name, whole, [0, 999], '*')).status).toBe(308);
    expectProblem(await send(service, name, content(1001), [999, 1001], '*'), 413, 'too_large');
    expectProblem(await query(service, name, 1001), 413, 'too_large');
    const rest = { ...name, headers: { 'Content-Range': 'bytes 999-*/*' } };
    expectProblem(await ask(service, { ...rest, body: 'xy', chunk: 1 }), 413, 'too_large');
    const again = await handshake(service, '*');
    expect((await send(service, again, whole, [0, 999], '*')).status).toBe(308);
    expectProcessed(
      await ask(service, {
        ...again,
        headers: { 'Content-Range': 'bytes 999-*/*' },
        body: whole.subarray(999),
        chunk: 1,
      }),
      whole,
    );
  });

  test.each<[string, Options['onCreate']]>([
    ['rejects', () => Promise.reject(new Error('on purpose'))],
    ['lays down what is no length', () => ({ maxLength: -1 })],
    ['refuses with what is no refusal', () => ({ refuse: 308 })],
  ])('one that %s: 500, reported, and nothing is stored', async (_how, onCreate) => {
    const service = await start(onCreate);
    for (const [, request] of beginnings) expectProblem(await ask(service, request), 500, 'invalid_argument');
    expect(service.errors).toHaveLength(beginnings.length);
    expect(await service.ids()).toEqual([]);
    expect(service.calls).toEqual([]);
  });

  test('is awaited before a byte is wanted', async () => {
    const entered = gate();
    const go = gate();
    const service = await start(async () => {
      entered.open();
      await go.opened;
    });
    const client = await open(service, { headers: { Expect: '100-continue' }, length: 1000 });
    await entered.opened;
    expect([await service.ids(), client.interim, service.calls]).toEqual([[], [], []]);
    go.open();
    expect((await client.nextInterim()).status).toBe(100);
    await client.write(whole);
    expectProcessed(await client.response(), whole);
  });

  test('a client that goes while it is asked leaves nothing', async () => {
    const entered = gate();
    const go = gate();
    const service = await start(async () => {
      entered.open();
      await go.opened;
    });
    const closed = new Promise((resolve) => {
      service.server.once('connection', (socket) => socket.once('close', resolve));
    });
    const client = await open(service, { length: 1000, body: whole.subarray(0, 300) });
    await entered.opened;
    client.reset();
    await closed; // the server knows
    go.open();
    await expect.poll(() => service.listener.usage().liveUploads).toBe(0);
    await expect.poll(() => service.ids()).toEqual([]);
    expect(service.errors).toEqual([]);
  });
});
