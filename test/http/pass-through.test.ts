import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { RawClient } from '../support/raw-client.ts';
import { ask, content, encode, handshake, open, type Request, send, sha256 } from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

const whole = content(100);

describe.each(storeKinds)('what is no upload (%s)', (kind) => {
  /** A service that notes the request objects of server and handler. */
  const watched = async (options = {}) => {
    const seen: IncomingMessage[] = [];
    const service = await startService(kind, options, async (req, res) => {
      seen.push(req);
      const chunks: Buffer[] = [];
      for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk);
      res.writeHead(200, 'Fine', { 'X-Own': '1' }).end(Buffer.concat([Buffer.from('got '), ...chunks]));
    });
    const made: IncomingMessage[] = [];
    service.server.prependListener('request', (req: IncomingMessage) => made.push(req));
    return { service, seen, made };
  };

  test.each<[string, Request]>([
    ['GET', { method: 'GET' }],
    ['GET with a Range', { method: 'GET', headers: { Range: 'bytes=0-1', 'If-Range': '"x"' } }],
    ['HEAD', { method: 'HEAD' }],
    ['OPTIONS', { method: 'OPTIONS', headers: { 'Access-Control-Request-Method': 'POST' } }],
    ['DELETE without identity', { method: 'DELETE' }],
    ["DELETE with the application's If-Match", { method: 'DELETE', headers: { 'If-Match': '"theirs"' } }],
    ['POST without body', { method: 'POST' }],
    ['POST without body or length', { method: 'POST', headers: { 'Transfer-Encoding': '' } }],
    ['PUT without body', { method: 'PUT', headers: { 'If-None-Match': '*' } }],
    ['PATCH without body', { method: 'PATCH' }],
  ])('%s reaches the handler untouched', async (_what, request) => {
    const { service, seen, made } = await watched();
    const fields = {
      'Content-Type': 'text/x',
      Cookie: 'a=b',
      Authorization: 'Basic x',
      Prefer: 'checkpoint',
    };
    const { 'Transfer-Encoding': none, ...own } = request.headers ?? {};
    const target = '/some/thing?a=1&upload=2#x';
    const client = await RawClient.connect(service.port);
    client.bodiless = request.method === 'HEAD';
    const text = encode({ ...request, target, headers: { ...fields, ...own } });
    await client.write(none === undefined ? text : text.toString().replace('Content-Length: 0\r\n', ''));
    const reply = await client.response();
    expect([reply.status, reply.reason, reply.headers['x-own']]).toEqual([200, 'Fine', '1']);
    expect(seen).toHaveLength(1);
    expect(seen[0]).toBe(made[0]);
    expect(seen[0]).not.toHaveProperty('upload');
    const [call] = service.calls;
    expect(call).toMatchObject({ method: request.method, url: target, id: undefined });
    expect(call?.headers).toMatchObject({
      'content-type': 'text/x',
      cookie: 'a=b',
      authorization: 'Basic x',
      prefer: 'checkpoint',
      ...Object.fromEntries(Object.entries(own).map(([key, value]) => [key.toLowerCase(), value])),
    });
    expect(await service.ids()).toEqual([]);
    expect(service.listener.usage()).toEqual({ heldBytes: 0, liveUploads: 0, completions: 0 });
  });

  test('other methods with a body reach the handler with it', async () => {
    const { service } = await watched();
    for (const method of ['DELETE', 'OPTIONS', 'REPORT']) {
      const reply = await ask(service, { method, body: 'the body' });
      expect(reply.body.toString()).toBe('got the body');
    }
    expect(await service.ids()).toEqual([]);
  });

  test('a request the application says is no upload reaches it as it comes', async () => {
    const { service, seen, made } = await watched({ isUpload: () => false });
    for (const headers of [{}, { 'Content-Range': 'bytes 0-99/200' }, { 'Content-Range': 'rubbish' }]) {
      const reply = await ask(service, { body: whole, headers });
      expect(sha256(reply.body.subarray(4))).toBe(sha256(whole));
    }
    expect(seen).toEqual(made);
    expect(await service.ids()).toEqual([]);
  });

  test("DELETE at a unique URL is the application's own unless an upload is open there", async () => {
    const { service } = await watched({ identify: (req: IncomingMessage) => req.url });
    const target = '/one';
    const remove = () => ask(service, { method: 'DELETE', target });
    expect((await remove()).status).toBe(200);
    await ask(service, {
      method: 'PUT',
      target,
      headers: { 'Content-Range': 'bytes 0-9/100' },
      body: whole.subarray(0, 10),
    });
    expect((await remove()).status).toBe(204);
    expect((await remove()).status).toBe(200);
    expect(service.calls.map(({ method }) => method)).toEqual(['DELETE', 'DELETE']);
  });

  test('a 5xx to such a request is sent as it is', async () => {
    const service = await startService(kind, {}, (_req, res) => {
      res.writeHead(503).end('busy');
    });
    const reply = await ask(service, { method: 'GET' });
    expect([reply.status, reply.body.toString()]).toEqual([503, 'busy']);
  });

  test('a body being sent to one route leaves others alone', async () => {
    const { service } = await watched();
    const name = await handshake(service, 100);
    const client = await open(service, {
      ...name,
      headers: { 'Content-Range': 'bytes 0-99/100' },
      length: 100,
    });
    expect((await ask(service, { method: 'GET' })).status).toBe(200);
    await client.write(whole);
    expect((await client.response()).status).toBe(200);
    expect((await send(service, name, whole)).status).toBe(200);
  });
});
