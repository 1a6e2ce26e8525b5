import { describe, expect, test } from 'vitest';
import {
  ask,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  query,
  type Reply,
  send,
  sha256,
} from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

const whole = content(1000);

/** A response without what belongs to its moment and its connection. */
const lasting = ({ status, reason, headers, body }: Reply) => {
  const { date: _, connection: __, 'keep-alive': ___, ...kept } = headers;
  return { status, reason, headers: kept, body: body.toString('latin1') };
};

describe.each(storeKinds)('the final response again (%s)', (kind) => {
  test('status, reason, fields and body are those of the first time', async () => {
    const service = await startService(kind, {}, (_req, res) => {
      res.statusMessage = 'Very Well';
      res.writeHead(202, {
        'X-One': '1',
        'X-Two': ['a', 'b'],
        ETag: '"content"',
        'Content-Type': 'text/plain',
      });
      res.write('in two ');
      res.end('parts');
    });
    const name = await handshake(service, 1000);
    const first = await send(service, name, whole);
    expect(first).toMatchObject({ status: 202, reason: 'Very Well' });
    expect(first.headers).toMatchObject({ 'x-one': '1', 'x-two': 'a, b', etag: '"content"' });
    expect(first.body.toString()).toBe('in two parts');
    for (const again of [await query(service, name), await ask(service, { ...name, body: whole })]) {
      expect(lasting(again)).toEqual(lasting(first));
    }
    expect(service.calls).toHaveLength(1);
  });

  test('by a full repetition at a unique URL, with its body', async () => {
    const service = await startService(kind, { identify: (req) => req.url });
    const big = content(4_000_000);
    const request = { method: 'PUT', target: '/one', body: big };
    const first = await ask(service, request);
    expectProcessed(first, big);
    expect(lasting(await ask(service, request))).toEqual(lasting(first));
    expect(lasting(await ask(service, { ...request, chunk: 100_000 }))).toEqual(lasting(first));
    expect(service.calls).toHaveLength(1);
  });

  test('a binary body', async () => {
    const bytes = content(5000, 9);
    const service = await startService(kind, {}, (_req, res) => {
      res.writeHead(200, { 'Content-Type': 'application/octet-stream' }).end(bytes);
    });
    const name = await handshake(service, 1000);
    for (const reply of [await send(service, name, whole), await query(service, name)]) {
      expect(sha256(reply.body)).toBe(sha256(bytes));
    }
  });

  test('204 without a body', async () => {
    const service = await startService(kind, {}, (_req, res) => {
      res.writeHead(204).end();
    });
    const name = await handshake(service, 1000);
    const first = await send(service, name, whole);
    const again = await query(service, name);
    expect([first.status, again.status]).toEqual([204, 204]);
    expect(again.headers).not.toHaveProperty('content-length');
  });

  test('a cookie is set once, for the client that completed the upload', async () => {
    const service = await startService(kind, {}, (_req, res) => {
      res.writeHead(200, { 'Set-Cookie': 'session=secret' }).end();
    });
    const name = await handshake(service, 1000);
    expect((await send(service, name, whole)).headers['set-cookie']).toBe('session=secret');
    expect((await query(service, name)).headers).not.toHaveProperty('set-cookie');
  });

  test('of a body beyond responseBytes only status and fields', async () => {
    const long = content(5000, 9).toString('hex');
    const service = await startService(kind, { responseBytes: 1000 }, (_req, res) => {
      res.writeHead(201, { Location: '/files/1', ETag: '"of the body"', 'X-One': '1' });
      for (let at = 0; at < long.length; at += 600) res.write(long.slice(at, at + 600));
      res.end();
    });
    const name = await handshake(service, 1000);
    const first = await send(service, name, whole);
    expect(first.body.toString()).toBe(long);
    const again = await query(service, name);
    expect(again.status).toBe(201);
    expect(again.headers).toMatchObject({ location: '/files/1', 'x-one': '1', 'content-length': '0' });
    expect(again.headers).not.toHaveProperty('etag');
    expect(again.body).toHaveLength(0);
    expect(service.calls).toHaveLength(1);
  });

  test('a body of responseBytes to the byte is kept', async () => {
    const service = await startService(kind, { responseBytes: 1000 }, (_req, res) => {
      res.end(content(1000, 3));
    });
    const name = await handshake(service, 1000);
    await send(service, name, whole);
    expect(sha256((await query(service, name)).body)).toBe(sha256(content(1000, 3)));
  });

  test('a refused content expires, an accepted one does not', async () => {
    const service = await startService(kind, { expiresAfterMs: 0 }, (req, res) => {
      req.resume();
      res.writeHead(req.url === '/refused' ? 422 : 201).end('answered');
    });
    expect((await ask(service, { target: '/accepted', body: whole })).status).toBe(201);
    expect((await ask(service, { target: '/refused', body: whole })).status).toBe(422);
    expect(await service.listener.expire()).toEqual({ expired: 1, purged: 0, unanswered: 0 });
    const states = await Promise.all((await service.ids()).map((id) => service.listener.find(id)));
    expect(states.map((status) => status?.state).sort()).toEqual(['finished', undefined]);
  });

  test('a 4xx of the handler is final', async () => {
    const service = await startService(kind, {}, (_req, res) => {
      res.writeHead(422, { 'Content-Type': 'text/plain' }).end('not a picture');
    });
    const name = await handshake(service, 1000);
    const first = await send(service, name, whole);
    expect([first.status, first.body.toString()]).toEqual([422, 'not a picture']);
    expect(lasting(await query(service, name))).toEqual(lasting(first));
    expect(service.calls).toHaveLength(1);
  });
});

describe.each(['fs', 'sqlite'] as const)('after a restart on the same folder (%s)', (kind) => {
  test('the final response is the same', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    const first = await send(service, name, whole);
    const next = await service.restart();
    expect(lasting(await query(next, name))).toEqual(lasting(first));
    expect(lasting(await send(next, name, whole))).toEqual(lasting(first));
    expect(next.calls).toEqual([]);
  });

  test('an open upload goes on where it was', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    await send(service, name, whole, [0, 43]);
    await send(service, name, whole, [500, 600]);
    const next = await service.restart();
    expect((await query(next, name)).headers.range).toBe('bytes=0-42,500-599');
    expectProcessed(await send(next, name, whole, [43, 1000]), whole);
  });

  test('a cancelled upload is still gone', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    await ask(service, { ...name, method: 'DELETE' });
    expectProblem(await query(await service.restart(), name), 410, 'gone');
  });

  test('what has all bytes and no answer is found and processed without any client', async () => {
    const service = await startService(kind, {}, () => {
      throw new Error('not today');
    });
    const name = await handshake(service, 1000);
    const headers = { ...name.headers, 'Content-Type': 'text/x', Cookie: 'a=b' };
    expectProblem(await send(service, { ...name, headers }, whole), 500, 'handler_failed');
    const hash = async (req: AsyncIterable<Buffer>): Promise<string> => {
      const chunks = [];
      for await (const chunk of req) chunks.push(chunk);
      return sha256(Buffer.concat(chunks));
    };
    const next = await service.restart({}, async (req, res) => {
      res.end(await hash(req));
    });
    expect(await next.listener.retryPending()).toEqual({ finished: 1, failed: 0, exhausted: 0, held: 0 });
    expect(next.calls).toMatchObject([{ method: 'POST', url: '/upload', attempt: 2 }]);
    expect(next.calls[0]?.headers).toMatchObject({ 'content-type': 'text/x', 'content-length': '1000' });
    expect(next.calls[0]?.headers).not.toHaveProperty('cookie');
    expect((await query(next, name)).body.toString()).toBe(sha256(whole));
    expect(next.calls).toHaveLength(1);
  });
});
