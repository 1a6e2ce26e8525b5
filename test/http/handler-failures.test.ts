import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Handler } from '../../src/index.ts';
import type { Store } from '../../src/store.ts';
import { memoryStore } from '../../stores/memory.ts';
import { gate } from '../support/gate.ts';
import { RawClient } from '../support/raw-client.ts';
import {
  ask,
  content,
  encode,
  expectProblem,
  expectProcessed,
  handshake,
  open,
  query,
  type Request,
  send,
  untilStored,
} from '../support/requests.ts';
import { digestHandler, startService, storeKinds } from '../support/service.ts';

const whole = content(1000);

/** Fails the first time in the given way, and then does its work. */
const failingOnce = (fail: Handler): Handler => {
  let entered = 0;
  return (req, res) => (++entered === 1 ? fail(req, res) : digestHandler(req, res));
};

describe.each(storeKinds)('handlers that fail or take long (%s)', (kind) => {
  test('longer than completeWaitMs: 503 and Retry-After to each who asks, then the response', async () => {
    const { opened, open: release } = gate();
    const service = await startService(kind, { completeWaitMs: 30 }, async (req, res) => {
      await opened;
      await digestHandler(req, res);
    });
    const name = await handshake(service, 1000);
    for (const reply of [
      await send(service, name, whole),
      await query(service, name),
      await query(service, name),
    ]) {
      expect(reply.status).toBe(503);
      expect(Number(reply.headers['retry-after'])).toBeGreaterThan(0);
      expect(reply.headers).toMatchObject({ 'content-length': '0', 'cache-control': 'no-store' });
    }
    release();
    await expect.poll(() => service.listener.usage().completions).toBe(0);
    expectProcessed(await query(service, name), whole);
    expect(service.calls).toHaveLength(1);
  });

  test('… also to who asks over one connection, which is not held up by it', async () => {
    const { opened, open: release } = gate();
    const service = await startService(kind, { completeWaitMs: 30 }, async (req, res) => {
      if (req.upload?.length === whole.length) await opened;
      await digestHandler(req, res);
    });
    const name = await handshake(service, whole.length);
    expect((await send(service, name, whole)).status).toBe(503);
    const client = await RawClient.connect(service.port);
    const exchange = async (request: Request) => {
      await client.write(encode(request));
      return client.response();
    };
    const question = { ...name, headers: { 'Content-Range': `bytes */${whole.length}` } };
    for (let n = 0; n < 3; n++) expect((await exchange(question)).status).toBe(503);
    expectProcessed(await exchange({ body: content(7) }), content(7));
    release();
    await expect.poll(() => service.listener.usage().completions).toBe(0);
    expectProcessed(await exchange(question), whole);
    expect(service.calls).toHaveLength(2);
    expect(service.errors).toEqual([]);
  });

  test('one that closes its connection after its response has begun has failed, as error handlers do', async () => {
    const service = await startService(
      kind,
      {},
      failingOnce((req, res) => {
        res.write('the beginning of an answer');
        req.socket.destroy();
      }),
    );
    const name = await handshake(service, 1000);
    await expect(send(service, name, whole)).rejects.toThrow('closed before a response');
    await expect.poll(() => service.listener.usage().completions).toBe(0);
    expectProcessed(await query(service, name), whole);
    expect(service.calls.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(service.errors).toMatchObject([{ code: 'handler_failed' }]);
  });

  test('who waits while the handler runs gets its response', async () => {
    const { opened, open: release } = gate();
    const service = await startService(kind, {}, async (req, res) => {
      await opened;
      await digestHandler(req, res);
    });
    const name = await handshake(service, 1000);
    const waiting = [send(service, name, whole)];
    await expect.poll(() => service.calls.length).toBe(1);
    waiting.push(query(service, name), send(service, name, whole), query(service, name, 1000));
    release();
    for (const reply of await Promise.all(waiting)) expectProcessed(reply, whole);
    expect(service.calls).toHaveLength(1);
  });

  test.each<[string, Handler]>([
    [
      'throws',
      () => {
        throw new Error('the password is swordfish');
      },
    ],
    ['rejects', async () => Promise.reject(new Error('the password is swordfish'))],
    [
      'throws after it wrote',
      (_req, res) => {
        res.writeHead(200, { 'X-Half': 'done' }).write('half');
        throw new Error('the password is swordfish');
      },
    ],
    [
      'destroys the response',
      (_req, res) => {
        res.destroy();
      },
    ],
  ])('one that %s: 500 without its message, bytes kept, the next query is attempt 2', async (_how, fail) => {
    const service = await startService(kind, {}, failingOnce(fail));
    const name = await handshake(service, 1000);
    const reply = await send(service, name, whole);
    expectProblem(reply, 500, 'handler_failed');
    expect(reply.body.toString()).not.toContain('swordfish');
    expect(reply.headers).not.toHaveProperty('x-half');
    expectProcessed(await query(service, name), whole);
    expect(service.calls.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(new Set(service.calls.map(({ id }) => id)).size).toBe(1);
    expect(service.errors).toHaveLength(1);
  });

  test('a 5xx goes to the client as it is, bytes kept, the next query is attempt 2', async () => {
    const fail: Handler = (_req, res) => {
      res.writeHead(502, { 'X-Why': 'upstream' }).end('later');
    };
    const service = await startService(kind, {}, failingOnce(fail));
    const name = await handshake(service, 1000);
    const reply = await send(service, name, whole);
    expect([reply.status, reply.headers['x-why'], reply.body.toString()]).toEqual([502, 'upstream', 'later']);
    expectProcessed(await query(service, name), whole);
    expectProcessed(await query(service, name), whole);
    expect(service.calls.map(({ attempt }) => attempt)).toEqual([1, 2]);
  });

  test('the next attempt may also come with a repeated body', async () => {
    const fail: Handler = (_req, res) => {
      res.writeHead(500).end();
    };
    const service = await startService(kind, {}, failingOnce(fail));
    const name = await handshake(service, 1000);
    await send(service, name, whole);
    expectProcessed(await send(service, name, content(1000, 2)), whole);
  });

  test('a plain upload whose handler failed leaves nothing: its client would begin anew', async () => {
    const service = await startService(kind, {}, (_req, res) => {
      res.writeHead(500).end();
    });
    expect((await ask(service, { body: whole })).status).toBe(500);
    await expect.poll(() => service.ids()).toEqual([]);
  });

  test('a client that vanishes while the handler runs: the response is stored for the next query', async () => {
    const { opened, open: release } = gate();
    const service = await startService(kind, {}, async (req, res) => {
      await opened;
      await digestHandler(req, res);
    });
    const name = await handshake(service, 1000);
    const closing = new Promise((resolve) => {
      service.server.once('connection', (socket) => socket.once('close', resolve));
    });
    const client = await open(service, {
      ...name,
      headers: { 'Content-Range': 'bytes 0-999/1000' },
      length: 1000,
      body: whole,
    });
    await expect.poll(() => service.calls.length).toBe(1);
    client.reset();
    await closing; // the server knows
    release();
    expectProcessed(await query(service, name), whole);
    expect(service.calls).toHaveLength(1);
    expect(service.errors).toEqual([]);
  });

  test('a long response is whole and stored, too, when its client vanishes half-way', async () => {
    const { opened, open: release } = gate();
    const service = await startService(kind, { responseBytes: 1000 }, async (_req, res) => {
      res.writeHead(200, { 'X-One': '1' });
      res.write(content(5000)); // more than is stored: flows at once
      await opened;
      for (let i = 0; i < 100; i++) {
        if (!res.write(content(50_000))) await new Promise((resolve) => res.once('drain', resolve));
      }
      res.end();
    });
    const name = await handshake(service, 1000);
    const closing = new Promise((resolve) => {
      service.server.once('connection', (socket) => socket.once('close', resolve));
    });
    const client = await open(service, {
      ...name,
      headers: { 'Content-Range': 'bytes 0-999/1000' },
      length: 1000,
      body: whole,
    });
    await new Promise((resolve) => client.socket.once('data', resolve));
    client.reset();
    await closing;
    release();
    const reply = await query(service, name);
    expect([reply.status, reply.headers['x-one']]).toEqual([200, '1']);
    expect(service.calls).toHaveLength(1);
  });

  test('silence closes the connection and keeps the bytes', async () => {
    const service = await startService(kind, { idleTimeoutMs: 50 });
    const name = await handshake(service, 1000);
    const client = await open(service, {
      ...name,
      headers: { 'Content-Range': 'bytes 0-999/1000' },
      length: 1000,
      body: whole.subarray(0, 300),
    });
    await client.closed;
    expect((await query(service, name)).headers.range).toBe('bytes=0-299');
    expectProcessed(await send(service, name, whole, [300, 1000]), whole);
    expect(service.errors).toEqual([]);
  });

  test('the clock follows progress, not the whole', async () => {
    const idleTimeoutMs = 600;
    const service = await startService(kind, { idleTimeoutMs });
    const name = await handshake(service, 1000);
    const headers = { 'Content-Range': 'bytes 0-999/1000' };
    const started = performance.now();
    const client = await open(service, { ...name, headers, length: 1000 });
    for (let at = 0; at < 1000; at += 50) {
      await client.write(whole.subarray(at, at + 50));
      await new Promise((resolve) => setTimeout(resolve, 60)); // time itself is what this is about
    }
    expectProcessed(await client.response(), whole);
    expect(performance.now() - started).toBeGreaterThan(2 * idleTimeoutMs);
  });

  test('DELETE cancels an open upload: 204, and from then on 410', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    await send(service, name, whole, [0, 300]);
    const reply = await ask(service, { ...name, method: 'DELETE' });
    expect(reply.status).toBe(204);
    expect(reply.body).toHaveLength(0);
    expectProblem(await query(service, name), 410, 'gone');
    expectProblem(await send(service, name, whole), 410, 'gone');
    expectProblem(await ask(service, { ...name, method: 'DELETE' }), 410, 'gone');
    expect(service.calls).toEqual([]);
  });

  test('DELETE while the body is coming ends that request with 410', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    const client = await open(service, {
      ...name,
      headers: { 'Content-Range': 'bytes 0-999/1000' },
      length: 1000,
      body: whole.subarray(0, 300),
    });
    await untilStored(service, name, 'bytes=0-299');
    expect((await ask(service, { ...name, method: 'DELETE' })).status).toBe(204);
    expectProblem(await client.response(), 410, 'gone');
    expectProblem(await query(service, name), 410, 'gone');
  });

  test('DELETE never removes a complete upload: 409, and the response stays', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    await send(service, name, whole);
    expectProblem(await ask(service, { ...name, method: 'DELETE' }), 409, 'complete');
    expectProcessed(await query(service, name), whole);
    const [id = ''] = await service.ids();
    const chunks: Buffer[] = [];
    for await (const chunk of service.listener.read(id, 0, 1000)) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).equals(whole)).toBe(true);
  });

  test('DELETE while the handler runs is 409', async () => {
    const { opened, open: release } = gate();
    const service = await startService(kind, {}, async (req, res) => {
      await opened;
      await digestHandler(req, res);
    });
    const name = await handshake(service, 1000);
    const sending = send(service, name, whole);
    await expect.poll(() => service.calls.length).toBe(1);
    expectProblem(await ask(service, { ...name, method: 'DELETE' }), 409, 'complete');
    release();
    expectProcessed(await sending, whole);
  });

  test('DELETE by entity tag, and of what never was', async () => {
    const service = await startService(kind, { handshake: 'etag' });
    const name = await handshake(service, 1000);
    expect((await ask(service, { ...name, method: 'DELETE' })).status).toBe(204);
    const never = { 'If-Match': '"resumable-AAAAAAAAAAAAAAAAAAAAAA"' };
    expectProblem(await ask(service, { method: 'DELETE', headers: never }), 412, 'unknown_operation');
    const session = '/upload?upload_id=AAAAAAAAAAAAAAAAAAAAAA';
    expectProblem(await ask(service, { method: 'DELETE', target: session }), 404, 'not_found');
  });
});

test('a claim that takes longer than completeWaitMs: 503, and the handler that starts after it does its work', async () => {
  const { opened, open: release } = gate();
  const memory = memoryStore();
  const store: Store = {
    ...memory,
    async update(version, record, options) {
      if (record.state === 'claimed') await opened;
      return memory.update(version, record, options);
    },
  };
  const service = await startService('memory', { store, completeWaitMs: 30 });
  const name = await handshake(service, 1000);
  expect((await send(service, name, whole)).status).toBe(503);
  expect(service.calls).toEqual([]);
  release();
  await expect.poll(() => service.listener.usage().completions).toBe(0);
  expectProcessed(await query(service, name), whole);
  expect(service.errors).toEqual([]);
  expect(service.calls.map(({ attempt }) => attempt)).toEqual([1]);
});

test('what is left at a 503 has the rest of the grace to end when the service is closed', async () => {
  const { opened, open: release } = gate();
  const ended: string[] = [];
  const memory = memoryStore();
  const store: Store = {
    ...memory,
    async update(version, record, options) {
      if (record.state === 'claimed') await opened;
      const isDone = await memory.update(version, record, options);
      if (record.state === 'finished') ended.push('upload');
      return isDone;
    },
    close: async () => void ended.push('store'),
  };
  const service = await startService('memory', { store, completeWaitMs: 300 });
  const name = await handshake(service, 1000);
  const sent = send(service, name, whole);
  await expect.poll(() => service.listener.usage().completions).toBe(1);
  const closed = service.listener.close({ graceMs: 10_000 });
  expect((await sent).status).toBe(503);
  await sleep(100); // long enough for what would not wait
  release();
  await closed;
  expect(service.calls).toHaveLength(1);
  expect(ended).toEqual(['upload', 'store']);
});
