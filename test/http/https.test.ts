import { once } from 'node:events';
import type { IncomingMessage, RequestOptions, ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Handler, resumable } from '../../src/index.ts';
import { memoryStore } from '../../stores/memory.ts';
import { selfSigned } from '../support/certificate.ts';
import { gate } from '../support/gate.ts';
import { content, part, sha256 } from '../support/requests.ts';
import { digestHandler } from '../support/service.ts';

const whole = content(300_000);
const { byteLength: length } = whole;
const certificate = selfSigned();

const connectionOf = ({ socket }: IncomingMessage) => ({
  encrypted: (socket as { encrypted?: boolean }).encrypted,
  from: socket.remoteAddress,
  to: [socket.localAddress, socket.localPort],
  readable: socket.readable,
});

/** A service over TLS, and requests to it. */
const start = async (mode: 'hold' | 'stream', handler: Handler) => {
  const errors: unknown[] = [];
  const listener = resumable(
    { store: memoryStore(), mode, onError: (error) => errors.push(error) },
    handler as (req: IncomingMessage, res: ServerResponse) => unknown,
  );
  const server = https.createServer({ ...certificate, requestTimeout: 0 }, listener);
  server.on('checkContinue', listener.checkContinue);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await listener.close({ graceMs: 0 });
  });
  const { port } = server.address() as AddressInfo;
  const request = (path: string, headers: RequestOptions['headers']) =>
    https.request({
      host: '127.0.0.1',
      port,
      path,
      method: 'POST',
      servername: 'localhost',
      ca: certificate.cert,
      agent: false,
      headers: { ...headers },
    });
  return { port, server, errors, request };
};

type Requesting = ReturnType<Awaited<ReturnType<typeof start>>['request']>;

/** Ends the request, and reads its response. */
const answer = async (request: Requesting, body: Uint8Array = Buffer.alloc(0)) => {
  const responding = once(request, 'response');
  request.end(body);
  const [response] = (await responding) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() };
};

describe.each(['hold', 'stream'] as const)('over TLS (%s mode)', (mode) => {
  test('an upload is cut, gone on with, and seen as one request of an encrypted connection', async () => {
    const seen: unknown[] = [];
    const { port, request } = await start(mode, (req, res) => {
      seen.push(connectionOf(req));
      return digestHandler(req, res);
    });
    const begun = await answer(request('/upload', { 'Content-Range': `bytes */${length}` }));
    const target = begun.headers.location ?? '';
    expect(begun.status).toBe(308);
    const first = request(target, { 'Content-Range': part(0, length, length), 'Content-Length': length });
    first.on('error', () => undefined); // it is cut
    first.write(whole.subarray(0, 100_000));
    const asked = (): ReturnType<typeof answer> => answer(request(target, { 'Content-Range': 'bytes */*' }));
    await expect.poll(async () => (await asked()).headers.range).toBe('bytes=0-99999');
    first.destroy();
    const rest = request(target, { 'Content-Range': part(100_000, length, length) });
    const done = await answer(rest, whole.subarray(100_000));
    expect([done.status, JSON.parse(done.body)]).toEqual([201, { size: length, sha256: sha256(whole) }]);
    expect(await asked()).toMatchObject({ status: 201, body: done.body });
    expect(seen).toEqual([{ encrypted: true, from: '127.0.0.1', to: ['127.0.0.1', port], readable: true }]);
  });

  test('a client that goes while the handler runs: the connection is still said to be encrypted', async () => {
    const seen: unknown[] = [];
    const [entered, go] = [gate(), gate()];
    const { port, server, errors, request } = await start(mode, async (req, res) => {
      entered.open();
      await go.opened;
      seen.push(connectionOf(req));
      return digestHandler(req, res);
    });
    const { headers } = await answer(request('/upload', { 'Content-Range': 'bytes */1' }));
    const target = headers.location ?? '';
    const gone = new Promise((resolve) => {
      server.once('secureConnection', (socket) => socket.once('close', resolve));
    });
    const only = request(target, { 'Content-Range': 'bytes 0-0/1' });
    only.on('error', () => undefined); // it is cut
    only.end('x');
    await entered.opened;
    only.destroy();
    await gone;
    go.open();
    const body = JSON.stringify({ size: 1, sha256: sha256(Buffer.from('x')) });
    expect(await answer(request(target, { 'Content-Range': 'bytes */*' }))).toMatchObject({
      status: 201,
      body,
    });
    expect(seen).toEqual([{ encrypted: true, from: '127.0.0.1', to: ['127.0.0.1', port], readable: true }]);
    expect(errors).toEqual([]);
  });
});
