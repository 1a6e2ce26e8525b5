import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fsStore } from '../../stores/fs.ts';
import {
  ask,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  open,
  part,
  query,
  type Reply,
  send,
} from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

const whole = content(1_500_000);
const all = { 'Content-Range': part(0, 1_500_000, 1_500_000) };
const identify = (req: { url?: string | undefined }) => /^\/named\/(\w+)$/.exec(req.url ?? '')?.[1];

/** Where the one stored range ends. */
const storedEnd = ({ headers: { range } }: Reply): number =>
  range === undefined ? 0 : Number(/^bytes=0-(\d+)$/.exec(range)?.[1]) + 1;

describe.each(storeKinds)('at the edges (%s)', (kind) => {
  test('a handler that is reading goes on when its client vanishes', async () => {
    let vanished = (): void => {};
    const gone = new Promise<void>((resolve) => {
      vanished = resolve;
    });
    const service = await startService(kind, {}, async (req, res) => {
      const sum = createHash('sha256');
      let first = true;
      for await (const chunk of req) {
        sum.update(chunk);
        if (first) await gone;
        first = false;
      }
      res.end(sum.digest('hex'));
    });
    const name = await handshake(service, 1_500_000);
    service.server.once('connection', (socket) => socket.once('close', vanished));
    const client = await open(service, { ...name, headers: all, length: 1_500_000, body: whole });
    await expect.poll(() => service.calls.length).toBe(1);
    client.reset();
    const reply = await query(service, name);
    expect(reply.body.toString()).toBe(createHash('sha256').update(whole).digest('hex'));
    expect(service.calls).toHaveLength(1);
    expect(service.errors).toEqual([]);
  });

  test.each(['reset', 'finish'] as const)(
    'a cut (%s) right behind the last byte completes all the same',
    async (cut) => {
      const service = await startService(kind);
      const name = await handshake(service, 1_500_000);
      const client = await open(service, { ...name, headers: all, length: 1_500_000, body: whole });
      await expect.poll(() => service.calls.length).toBe(1);
      client[cut]();
      await client.closed;
      expectProcessed(await query(service, name), whole);
      expect(service.calls).toHaveLength(1);
    },
  );

  test('uploads pass through a memory budget smaller than a chunk', async () => {
    const service = await startService(kind, { memoryBudget: 1000, batchBytes: 700, flushMs: 1 });
    const bytes = whole.subarray(0, 200_000);
    const name = await handshake(service, 200_000);
    await Promise.all([0, 1, 2, 3].map((i) => send(service, name, bytes, [i * 50_000, (i + 1) * 50_000])));
    expectProcessed(await query(service, name), bytes);
    const replies = await Promise.all([1, 2, 3, 4].map((i) => ask(service, { body: content(100_000, i) })));
    replies.forEach((reply, i) => {
      expectProcessed(reply, content(100_000, i + 1));
    });
    await expect.poll(() => service.listener.usage().heldBytes).toBe(0);
  });

  test('103 and 100 (Continue) come both to who wants both', async () => {
    const service = await startService(kind);
    const headers = { Expect: '100-continue', Prefer: 'checkpoint' };
    const client = await open(service, { headers, length: 1_500_000 });
    const statuses = [(await client.nextInterim()).status, (await client.nextInterim()).status];
    expect(statuses.sort()).toEqual([100, 103]);
    await client.write(whole);
    expectProcessed(await client.response(), whole);
  });

  test('who waits for 100 and asks for what is finished gets the answer without it', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1_500_000);
    await send(service, name, whole);
    const client = await open(service, {
      ...name,
      headers: { ...all, Expect: '100-continue' },
      length: 1_500_000,
    });
    expectProcessed(await client.response(), whole);
    expect(client.interim).toEqual([]);
  });

  test('an empty POST is an upload where the application says so', async () => {
    const service = await startService(kind, { isUpload: (req) => req.url === '/upload' || undefined });
    expectProcessed(await ask(service, { target: '/upload' }), Buffer.alloc(0));
    expect(service.calls[0]?.id).toBeDefined();
    await ask(service, { target: '/other' });
    expect(service.calls[1]?.id).toBeUndefined();
  });

  test('an upload of maxLength to the byte is taken, one more is not', async () => {
    const service = await startService(kind, { maxLength: 1000 });
    for (const chunk of [undefined, 300]) {
      const framing = chunk === undefined ? {} : { chunk };
      const fits = content(1000);
      expectProcessed(await ask(service, { body: fits, ...framing }), fits);
      expectProblem(await ask(service, { body: content(1001), ...framing }), 413, 'too_large');
    }
  });

  test('another length under a name that is finished is 400', async () => {
    const service = await startService(kind, { identify });
    const put = (body: Buffer) => ask(service, { method: 'PUT', target: '/named/a', body });
    expectProcessed(await put(content(1000)), content(1000));
    expectProblem(await put(content(999)), 400, 'length_changed');
    expectProcessed(await put(content(1000)), content(1000));
  });

  test('many queries while a body arrives all tell the truth', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1_500_000);
    const client = await open(service, { ...name, headers: all, length: 1_500_000 });
    let told = 0;
    for (let at = 0; at < 1_400_000; at += 100_000) {
      await client.write(whole.subarray(at, at + 100_000));
      const replies = await Promise.all(Array.from({ length: 5 }, () => query(service, name)));
      for (const reply of replies) {
        expect(reply.status).toBe(308);
        expect(storedEnd(reply)).toBeLessThanOrEqual(at + 100_000);
        told = Math.max(told, storedEnd(reply));
      }
    }
    client.reset();
    await expect.poll(() => service.listener.usage().liveUploads).toBe(0);
    const stored = storedEnd(await query(service, name));
    expect(stored).toBeGreaterThanOrEqual(told);
    expectProcessed(await send(service, name, whole, [stored, 1_500_000]), whole);
  });

  test('a status that HTTP does not have is a failure of the handler, which may run again', async () => {
    let entered = 0;
    const service = await startService(kind, {}, (_req, res) => {
      res.writeHead(++entered === 1 ? 1000 : 200).end();
    });
    const name = await handshake(service, 1000);
    expect((await send(service, name, whole.subarray(0, 1000))).status).toBe(500);
    expect((await query(service, name)).status).toBe(200);
    expect(entered).toBe(2);
  });

  test('closing: what still sends is kept, and answered 503 or cut', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1_500_000);
    const client = await open(service, {
      ...name,
      headers: all,
      length: 1_500_000,
      body: whole.subarray(0, 700_000),
    });
    await expect.poll(async () => (await query(service, name)).headers.range).toBe('bytes=0-699999');
    const response = client.response();
    await service.listener.close({ graceMs: 0 });
    expectProblem(await response, 503, 'closing');
    expectProblem(await ask(service, { body: whole }), 503, 'closing');
    if (kind === 'memory') return;
    const next = await service.restart();
    expectProcessed(await send(next, name, whole, [700_000, 1_500_000]), whole);
  });
});

test('two services on one folder share an upload, and process it once', async () => {
  const one = await startService('fs');
  const two = await startService('fs', { store: fsStore(join(one.folder, 'store')) });
  const name = await handshake(one, 1_500_000);
  const parts = Array.from({ length: 10 }, (_, i) => [i * 150_000, (i + 1) * 150_000] as const);
  const replies = await Promise.all(
    parts.map((range, i) => send(i % 2 === 0 ? one : two, name, whole, range)),
  );
  for (const { status } of replies) expect([201, 308, 503]).toContain(status);
  await expect
    .poll(async () => [(await query(one, name)).status, (await query(two, name)).status])
    .toEqual([201, 201]);
  for (const service of [one, two]) expectProcessed(await query(service, name), whole);
  expect(one.calls.length + two.calls.length).toBe(1);
});

test('a hanging connection to one service does not hold up a resume at another', async () => {
  const one = await startService('fs');
  const two = await startService('fs', { store: fsStore(join(one.folder, 'store')) });
  const name = await handshake(one, 1_500_000);
  const hanging = await open(one, {
    ...name,
    headers: all,
    length: 1_500_000,
    body: whole.subarray(0, 700_000),
  });
  await expect.poll(async () => (await query(one, name)).headers.range).toBe('bytes=0-699999');
  expect((await query(two, name)).headers.range).toBe('bytes=0-699999');
  expectProcessed(await send(two, name, whole, [700_000, 1_500_000]), whole);
  await hanging.write(whole.subarray(700_000)); // harmless: the same bytes
  expectProcessed(await hanging.response(), whole);
  expect(one.calls.length + two.calls.length).toBe(1);
});
