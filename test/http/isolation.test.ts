import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, test } from 'vitest';
import { type Handler, listen, resumable } from '../../src/index.ts';
import { memoryStore } from '../../stores/memory.ts';
import { faultyStore } from '../support/faulty-store.ts';
import { gate } from '../support/gate.ts';
import {
  ask,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  open,
  query,
  send,
  sha256,
} from '../support/requests.ts';
import { digestHandler, startService, storeKinds } from '../support/service.ts';

const whole = content(1000);

describe.each(storeKinds)('the handler works for the upload, not for the connection (%s)', (kind) => {
  test('it does not see that its client has gone, and its answer is there for the next', async () => {
    const entered = gate();
    const gone = gate();
    const service = await startService(kind, {}, async (_req, res) => {
      entered.open();
      await gone.opened;
      if (res.destroyed || res.closed) throw new Error('the client is gone');
      await pipeline(Readable.from([Buffer.from('the '), Buffer.from('answer')]), res.writeHead(201));
    });
    const name = await handshake(service, 1000);
    const client = await open(service, { target: name.target, body: whole, length: 1000 });
    await entered.opened;
    client.reset();
    await expect
      .poll(() => new Promise((resolve) => service.server.getConnections((_error, count) => resolve(count))))
      .toBe(0);
    gone.open();
    await expect.poll(() => service.listener.usage().completions).toBe(0);
    const reply = await query(service, name);
    expect([reply.status, String(reply.body)]).toEqual([201, 'the answer']);
    expect(service.calls).toHaveLength(1);
    expect(service.errors).toEqual([]);
  });

  test('it may answer first and read on, however slowly', async () => {
    const body = content(3_000_000);
    const read = gate();
    const chunks: Buffer[] = [];
    const service = await startService(kind, {}, (req, res) => {
      const slow = new Writable({
        highWaterMark: 1,
        write(chunk: Buffer, _encoding, done) {
          chunks.push(chunk);
          setImmediate(done);
        },
      });
      req.pipe(slow).on('finish', read.open);
      req.once('data', () => res.writeHead(202).end());
    });
    expect((await ask(service, { body })).status).toBe(202);
    await read.opened;
    expect(sha256(Buffer.concat(chunks))).toBe(sha256(body));
  });

  test('what it fails at after its answer is reported, and changes nothing', async () => {
    const service = await startService(kind, {}, async (req, res) => {
      await digestHandler(req, res);
      throw new Error('too late');
    });
    const name = await handshake(service, 1000);
    expectProcessed(await send(service, name, whole), whole);
    expectProcessed(await query(service, name), whole);
    expect(service.errors).toMatchObject([{ message: 'too late' }]);
  });

  test('a client that cannot come back waits longer than completeWaitMs, as ever', async () => {
    const { opened, open: release } = gate();
    const service = await startService(kind, { completeWaitMs: 20 }, async (req, res) => {
      setTimeout(release, 60);
      await opened;
      await digestHandler(req, res);
    });
    expectProcessed(await ask(service, { body: whole }), whole);
    expect(service.calls).toHaveLength(1);
  });

  test.each([401, 407, 408, 425, 429])(
    'a %i is about the request at hand: the next one runs it again',
    async (status) => {
      const refuse: Handler = (req, res) =>
        req.upload?.attempt === 1 ? res.writeHead(status).end() : digestHandler(req, res);
      const service = await startService(kind, {}, refuse);
      const name = await handshake(service, 1000);
      expect((await send(service, name, whole)).status).toBe(status);
      expectProcessed(await query(service, name), whole);
    },
  );

  test.each([400, 403, 409, 415, 422])('a %i is about the content, and final', async (status) => {
    const service = await startService(kind, {}, (_req, res) => res.writeHead(status).end('no'));
    const name = await handshake(service, 1000);
    for (const reply of [await send(service, name, whole), await query(service, name)]) {
      expect([reply.status, String(reply.body)]).toEqual([status, 'no']);
    }
    expect(service.calls).toHaveLength(1);
  });

  test('a stored answer without a body reaches a client that is still sending', async () => {
    const service = await startService(kind, { drainMs: 60_000 }, (_req, res) => res.writeHead(204).end());
    const name = await handshake(service, 1000);
    expect((await send(service, name, whole)).status).toBe(204);
    const client = await open(service, {
      target: name.target,
      headers: { 'Content-Length': '1000' },
      length: 1000,
    });
    expect((await client.response()).status).toBe(204);
  });
});

test('a lease that is lost to an attempt that fails: the handler runs once more, and its client is answered', async () => {
  const store = faultyStore(memoryStore());
  const service = await startService('memory', { store });
  const name = await handshake(service, 1000);
  let stolen = false;
  store.hook = async ({ op, when, record }) => {
    if (op !== 'update' || when !== 'before' || record?.state !== 'finished' || stolen) return;
    stolen = true;
    // Another process takes over, fails, and gives the claim back, just before the first one is done.
    for (const state of ['claimed', 'open'] as const) {
      const current = await store.load(record.id);
      if (current === undefined) throw new Error('the upload is gone');
      const { claim: _, ...rest } = current.record;
      await store.update(current.version, { ...rest, attempt: 2, state });
    }
  };
  expectProcessed(await send(service, name, whole), whole);
  expectProcessed(await query(service, name), whole);
  expect(service.calls.map(({ attempt }) => attempt)).toEqual([1, 3]);
});

test('a body that somebody has read already is an error at once, not a wait', async () => {
  const errors: unknown[] = [];
  const listener = resumable({ store: memoryStore(), onError: (error) => errors.push(error) }, digestHandler);
  const server = createServer({ requestTimeout: 0 }, (req, res) => {
    req.resume().once('end', () => listener(req, res));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  expectProblem(
    await ask({ port: (server.address() as AddressInfo).port }, { body: whole }),
    500,
    'invalid_argument',
  );
  expect(errors).toMatchObject([{ message: expect.stringContaining('before any body parser') }]);
  server.close();
  server.closeAllConnections();
  await listener.close({ graceMs: 0 });
});

test('listen bounds the time of a request head, and not that of a body', async () => {
  const listener = resumable({ store: memoryStore() }, digestHandler);
  const server = await listen(listener);
  expect([server.headersTimeout, server.requestTimeout]).toEqual([60_000, 0]);
  server.close();
  await listener.close({ graceMs: 0 });
});
