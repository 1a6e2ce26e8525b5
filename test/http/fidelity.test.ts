import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Handler } from '../../src/index.ts';
import { memoryStore } from '../../stores/memory.ts';
import { faultyStore } from '../support/faulty-store.ts';
import { gate } from '../support/gate.ts';
import { RawClient } from '../support/raw-client.ts';
import {
  ask,
  chunked,
  content,
  encode,
  expectProcessed,
  handshake,
  type Name,
  open,
  part,
  query,
  type Reply,
  type Request,
  send,
} from '../support/requests.ts';
import { digestHandler, type Service, startService, storeKinds } from '../support/service.ts';

// What a handler sees is what it would see of one ordinary request without this library.

const whole = content(100_000);
const { byteLength: length } = whole;
const all = part(0, length, length);

/** The request as far as it does not depend on the connection. */
const messageOf = (req: IncomingMessage) => ({
  method: req.method,
  url: req.url,
  headers: { ...req.headers },
  distinct: { ...req.headersDistinct },
  version: [req.httpVersion, req.httpVersionMajor, req.httpVersionMinor],
  raw: pairs(req.rawHeaders),
});

/** Names in lower case, sorted: their order and their case are the sender's, and mean nothing. */
const pairs = (raw: readonly string[]): string[] =>
  raw.flatMap((name, at) => (at % 2 === 0 ? [`${name.toLowerCase()}: ${raw[at + 1]}`] : [])).sort();

/** What a parser, a router or a log may ask of the connection, and whether a body can still come. */
const stateOf = (req: IncomingMessage, res: ServerResponse) => ({
  from: [req.socket.remoteAddress, req.socket.remoteFamily, typeof req.socket.remotePort],
  to: [req.socket.localAddress, req.socket.localPort],
  encrypted: (req.socket as { encrypted?: boolean }).encrypted,
  socket: [req.socket.readable, req.socket.destroyed],
  request: [req.readable, req.readableEnded, req.destroyed, req.aborted, req.closed, req.errored],
  response: [res.destroyed, res.closed, res.writableEnded, res.headersSent, res.errored, res.req === req],
});

const seenBy = () => {
  const messages: ReturnType<typeof messageOf>[] = [];
  const states: ReturnType<typeof stateOf>[] = [];
  const handler: Handler = (req, res) => {
    messages.push(messageOf(req));
    states.push(stateOf(req, res));
    return digestHandler(req, res);
  };
  return { messages, states, handler };
};

/** The same handler without this library. */
const plainServer = async (handler: Handler): Promise<{ readonly port: number }> => {
  const server = createServer(handler);
  onTestFinished(() => closed(server));
  return listening(server);
};

const listening = async (server: Server): Promise<{ readonly port: number }> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port };
};

const closed = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });

const fields = {
  'Content-Type': 'video/mp4; x="ä"',
  'Content-Disposition': 'attachment; filename="film.mp4"',
  Authorization: 'Bearer one',
  Cookie: 'a=b; c=d',
  'If-Match': '"theirs"',
  'User-Agent': 'test/1',
  'X-Forwarded-For': '10.0.0.1, 10.0.0.2',
};

/** What only says how one message travels. */
const travelling = {
  Connection: 'keep-alive',
  TE: 'trailers',
  'Keep-Alive': 'timeout=5',
  Prefer: 'checkpoint',
};

/** What a handler sees of it without this library. */
const ordinary = async (request: Request) => {
  const { messages, handler } = seenBy();
  expectProcessed(await ask(await plainServer(handler), request), whole);
  return messages[0];
};

describe.each(storeKinds)('hold mode shows one ordinary request (%s)', (kind) => {
  test.each(['PUT', 'POST', 'PATCH'])('with method, URL and fields of the operation: %s', async (method) => {
    const request = { method, target: '/upload/a%20b?x=1&y=%2F', headers: fields, body: whole };
    const expected = await ordinary(request);
    const { messages, handler } = seenBy();
    let fails = false;
    const service = await startService(kind, {}, (req, res) =>
      fails ? res.writeHead(503).end() : handler(req, res),
    );
    // At once, …
    expectProcessed(await ask(service, request), whole);
    // … in parts, …
    const operation = { method, headers: { ...fields, ...travelling } };
    const later = { method, headers: { ...operation.headers, 'Content-Type': 'text/other', 'X-More': '1' } };
    const { target } = await handshake(service, length, request.target);
    await send(service, { ...operation, target }, whole, [0, 40_000]);
    expectProcessed(await send(service, { ...later, target }, whole, [40_000, length]), whole);
    // … and where a query completes it.
    fails = true;
    const again = await handshake(service, length, request.target);
    expect((await send(service, { ...operation, target: again.target }, whole)).status).toBe(503);
    fails = false;
    const { Authorization, Cookie } = fields;
    const headers = { Authorization, Cookie, 'Content-Range': 'bytes */*' };
    expectProcessed(await ask(service, { ...again, method: 'GET', headers }), whole);
    expect(messages).toEqual([expected, expected, expected]);
  });

  test.each<[string, Request]>([
    ['Expect', { headers: { ...fields, Expect: '100-continue' }, body: whole }],
    ['chunked coding', { headers: fields, body: whole, chunk: 10_000 }],
    [
      'chunked coding, and fields of the hop',
      { headers: { ...fields, ...travelling }, body: whole, chunk: 999 },
    ],
    ['a range of its own', { headers: { ...fields, 'Content-Range': all }, body: whole }],
  ])('with the length of the whole, and nothing of the way it came: %s', async (_what, request) => {
    const expected = await ordinary({ headers: fields, body: whole });
    const { messages, handler } = seenBy();
    const service = await startService(kind, {}, handler);
    expectProcessed(await ask(service, request), whole);
    expect(messages).toEqual([expected]);
    expect(expected?.headers).toMatchObject({ 'content-length': String(length) });
    expect(Object.keys(expected?.headers ?? {})).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(content-range|expect|transfer-encoding|prefer)$/)]),
    );
  });

  test('with fields in all their forms, which say the same', async () => {
    const { messages, handler } = seenBy();
    const service = await startService(kind, {}, handler);
    const name = await handshake(service, length);
    const client = await RawClient.connect(service.port);
    const lines = ['X-Multi: a', 'x-multi: b', 'Accept: text/html', 'Cookie: a=b', 'Cookie: c=d'];
    const head = encode({ ...name, headers: { 'Content-Range': all, 'Content-Length': String(length) } });
    await client.write(head.toString().replace('\r\n\r\n', `\r\n${lines.join('\r\n')}\r\n\r\n`));
    await client.write(whole);
    expectProcessed(await client.response(), whole);
    const [{ headers, distinct, raw } = { headers: {}, distinct: {}, raw: [] }] = messages;
    expect(headers).toMatchObject({ 'x-multi': 'a, b', accept: 'text/html', cookie: 'a=b; c=d' });
    const spread = Object.entries(distinct).flatMap(([field, values]) =>
      (values ?? []).map((value) => `${field}: ${value}`),
    );
    expect(spread.sort()).toEqual(raw);
    expect(Object.keys(distinct).sort()).toEqual(Object.keys(headers).sort());
  });

  test('with Authorization and Cookie of the request that completes it, or none', async () => {
    const { messages, handler } = seenBy();
    const service = await startService(kind, {}, handler);
    const secrets = (n: string) => ({
      Authorization: `Bearer ${n}`,
      Cookie: `a=${n}`,
      'Proxy-Authorization': n,
    });
    const cases: [Record<string, string>, Record<string, string>][] = [
      [secrets('one'), secrets('two')],
      [secrets('one'), {}],
      [{}, secrets('two')],
    ];
    for (const [first, last] of cases) {
      const { target } = await handshake(service, length);
      await send(service, { target, headers: first }, whole, [0, 10]);
      expectProcessed(await send(service, { target, headers: last }, whole, [10, length]), whole);
      const { authorization, cookie, 'proxy-authorization': proxy } = messages.at(-1)?.headers ?? {};
      const value = last.Authorization;
      expect([authorization, cookie, proxy]).toEqual(value ? ['Bearer two', 'a=two', 'two'] : Array(3));
    }
  });

  test('with the trailers of a chunked body that completes it', async () => {
    const seen: unknown[] = [];
    const service = await startService(kind, {}, (req, res) => {
      req.resume().on('end', () => {
        seen.push([req.trailers, req.trailersDistinct, req.rawTrailers]);
        res.end();
      });
    });
    const named = await handshake(service, '*');
    await send(service, named, whole, [0, 10], '*');
    for (const name of [named, { target: '/upload' }]) {
      const range = name === named ? { 'Content-Range': 'bytes 10-*/*' } : {};
      const client = await open(service, { ...name, headers: { ...range, Trailer: 'X-Sum' } });
      await client.write(chunked(whole.subarray(10), 10_000, false));
      await client.write('0\r\nX-Sum: abc\r\n\r\n');
      expect((await client.response()).status).toBe(200);
    }
    const expected = [{ 'x-sum': 'abc' }, { 'x-sum': ['abc'] }, ['X-Sum', 'abc']];
    expect(seen).toEqual([expected, expected]);
  });

  test.each(['1.0', '1.1'] as const)('with the version of its client: HTTP/%s', async (version) => {
    const expected = await ordinary({ version, headers: fields, body: whole });
    const { messages, handler } = seenBy();
    const service = await startService(kind, { checkpoints: 'always' }, handler);
    const one = await ask(service, { version, headers: fields, body: whole });
    const begun = await ask(service, { version, headers: { 'Content-Range': 'bytes */*' } });
    const target = begun.headers.location ?? '';
    const range = { 'Content-Range': part(0, 10, '*') };
    const first = { version, target, headers: { ...fields, ...range }, body: whole.subarray(0, 10) };
    expect((await ask(service, first)).status).toBe(308);
    const rest = { ...fields, 'Content-Range': part(10, length, length) };
    const two = await ask(service, { version, target, headers: rest, body: whole.subarray(10) });
    for (const reply of [one, two]) {
      expectProcessed(reply, whole);
      if (version === '1.0') expect([reply.interim, reply.headers.connection]).toEqual([[], 'close']);
    }
    expect(messages).toEqual([expected, expected]);
  });

  test('also where HEAD completes it: the answer has no body then, and one for who asks next', async () => {
    const { handler } = seenBy();
    let isFirst = true;
    const service = await startService(kind, {}, (req, res) => {
      if (!isFirst) return handler(req, res);
      isFirst = false;
      return res.writeHead(503).end();
    });
    const name = await handshake(service, length);
    expect((await send(service, name, whole)).status).toBe(503);
    const head = { ...name, method: 'HEAD', headers: { 'Content-Range': 'bytes */*' } };
    const reply: Reply = await ask(service, head);
    expect([reply.status, reply.body.byteLength, service.calls.at(-1)?.method]).toEqual([201, 0, 'POST']);
    expectProcessed(await query(service, name), whole);
  });
});

describe.each(storeKinds)('stream mode shows one ordinary request (%s)', (kind) => {
  test('that tells its length, where that is known when it begins', async () => {
    const expected = await ordinary({ headers: fields, body: whole });
    const { messages, handler } = seenBy();
    const service = await startService(kind, { mode: 'stream' }, handler);
    expectProcessed(await ask(service, { headers: fields, body: whole }), whole);
    expectProcessed(
      await ask(service, { headers: { ...fields, Expect: '100-continue' }, body: whole }),
      whole,
    );
    const { target } = await handshake(service, length);
    await send(service, { target, headers: { ...fields, ...travelling } }, whole, [0, 10]);
    expectProcessed(await send(service, { target, headers: {} }, whole, [10, length]), whole);
    expect(messages).toEqual([expected, expected, expected]);
  });

  test('with chunked coding, where it is not', async () => {
    const expected = await ordinary({ headers: fields, body: whole, chunk: 10_000 });
    const { messages, handler } = seenBy();
    const service = await startService(kind, { mode: 'stream' }, handler);
    expectProcessed(await ask(service, { headers: fields, body: whole, chunk: 10_000 }), whole);
    const { target } = await handshake(service, '*');
    await send(service, { target, headers: fields }, whole, [0, 10], '*');
    expectProcessed(await send(service, { target, headers: {} }, whole, [10, length]), whole);
    expect(messages).toEqual([expected, expected]);
    expect(expected?.headers).not.toHaveProperty('content-length');
  });
});

/** The connection of an ordinary request whose body has not been read yet. */
const usable = {
  from: ['127.0.0.1', 'IPv4', 'number'],
  to: ['127.0.0.1', expect.any(Number)],
  encrypted: undefined,
  socket: [true, false],
  request: [true, false, false, false, false, null],
  response: [false, false, false, false, null, true],
};

test('what is expected of a connection is what an ordinary request has', async () => {
  const { states, handler } = seenBy();
  expectProcessed(await ask(await plainServer(handler), { body: whole }), whole);
  expect(states).toEqual([usable]);
});

describe.each(storeKinds)('the connection as a handler sees it (%s)', (kind) => {
  test('is that of its client', async () => {
    const { states, handler } = seenBy();
    const service = await startService(kind, {}, handler);
    const name = await handshake(service, length);
    await send(service, name, whole, [0, 10]);
    for (const reply of [
      await send(service, name, whole, [10, length]),
      await ask(service, { body: whole }),
      await ask(service, { body: whole, chunk: 10_000 }),
    ]) {
      expectProcessed(reply, whole);
    }
    for (const state of states) expect(state).toEqual({ ...usable, to: ['127.0.0.1', service.port] });
  });

  test.each([
    ['hold', 'reset'],
    ['hold', 'finish'],
    ['stream', 'reset'],
    ['stream', 'finish'],
  ] as const)('stays that where the client goes meanwhile (%s mode, %s)', async (mode, cut) => {
    const { states, handler } = seenBy();
    const [entered, go] = [gate(), gate()];
    const service = await startService(kind, { mode }, async (req, res) => {
      entered.open();
      await go.opened;
      return handler(req, res);
    });
    const name = await goneOnceIn(service, entered.opened, cut);
    go.open();
    const reply = await query(service, name);
    if (reply.status === 201) expectProcessed(reply, whole);
    else expectProcessed(await send(service, name, whole), whole); // a cut may cost what nobody has promised
    expect(states).toEqual([{ ...usable, to: ['127.0.0.1', service.port] }]);
    expect([service.calls.length, service.errors]).toEqual([1, []]);
  });

  test('is none where nobody is there: a handler that runs for an upload of before', async () => {
    const { states, handler } = seenBy();
    let isFirst = true;
    const service = await startService(kind, {}, (req, res) => {
      if (!isFirst) return handler(req, res);
      isFirst = false;
      return res.writeHead(503).end();
    });
    const name = await handshake(service, length);
    expect((await send(service, name, whole)).status).toBe(503);
    expect(await service.listener.retryPending()).toMatchObject({ finished: 1 });
    const nobody = { from: [undefined, undefined, 'undefined'], to: [undefined, undefined] };
    expect(states).toEqual([{ ...usable, ...nobody }]);
    expectProcessed(await query(service, name), whole);
  });
});

/** A client completes an upload, and has gone, to the server's knowledge, when that has come so far. */
const goneOnceIn = async (
  service: Service,
  reached: Promise<void>,
  cut: 'reset' | 'finish',
): Promise<Name> => {
  const name = await handshake(service, length);
  await send(service, name, whole, [0, 10]);
  const gone = new Promise((resolve) => {
    service.server.once('connection', (socket) => socket.once('close', resolve));
  });
  const headers = { 'Content-Range': part(10, length, length) };
  const client = await open(service, { ...name, headers, length: length - 10, body: whole.subarray(10) });
  await reached;
  client[cut]();
  await gone;
  return name;
};

/** Holds a claim up. */
const claimedLate = () => {
  const [reached, go] = [gate(), gate()];
  const store = faultyStore(memoryStore(), async ({ when, record }) => {
    if (record?.state !== 'claimed' || when !== 'before') return;
    reached.open();
    await go.opened;
  });
  return { store, reached: reached.opened, go: go.open };
};

test.each(['reset', 'finish'] as const)(
  'the connection is that of its client where that has gone before the handler (%s)',
  async (cut) => {
    const { states, handler } = seenBy();
    const { store, reached, go } = claimedLate();
    const service = await startService('memory', { store }, handler);
    const name = await goneOnceIn(service, reached, cut);
    expect(service.calls).toEqual([]);
    go();
    expectProcessed(await query(service, name), whole);
    expect(states).toEqual([{ ...usable, to: ['127.0.0.1', service.port] }]);
    expect([service.calls.length, service.errors]).toEqual([1, []]);
  },
);

test('a client that sends nothing more, but listens, is no sign that there is no body', async () => {
  const { states, handler } = seenBy();
  const { store, reached, go } = claimedLate();
  const service = await startService('memory', { store }, handler);
  Object.assign(service.server, { httpAllowHalfOpen: true });
  const ended = new Promise((resolve) => {
    service.server.once('connection', (socket) => socket.once('end', resolve));
  });
  const client = await open(service, { length, body: whole });
  await reached;
  client.finish();
  await ended;
  go();
  expectProcessed(await client.response(), whole);
  expect(states).toEqual([{ ...usable, to: ['127.0.0.1', service.port] }]);
});
