import { describe, expect, test } from 'vitest';
import { RawClient } from '../support/raw-client.ts';
import {
  ask,
  content,
  encode,
  expectProblem,
  expectProcessed,
  handshake,
  open,
  part,
  query,
  send,
  untilStored,
} from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

// What the proposal asks of a server.

const whole = content(1000);

describe.each(storeKinds)('server rules (%s)', (kind) => {
  test('S1 308 Resume Incomplete as long as bytes are missing, then the final response', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    for (const [start, end] of [
      [0, 300],
      [300, 999],
    ] as const) {
      const reply = await send(service, name, whole, [start, end]);
      expect([reply.status, reply.reason]).toEqual([308, 'Resume Incomplete']);
    }
    expectProcessed(await send(service, name, whole, [999, 1000]), whole);
  });

  test('S2 Range lists what is stored: last positions given, disjoint, sorted and merged', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    expect((await query(service, name)).headers).not.toHaveProperty('range');
    const ranges = [];
    for (const bytes of [
      [500, 600],
      [0, 43],
      [100, 200],
      [43, 100],
      [550, 700],
    ] as const) {
      ranges.push((await send(service, name, whole, bytes)).headers.range);
    }
    expect(ranges).toEqual([
      'bytes=500-599',
      'bytes=0-42,500-599',
      'bytes=0-42,100-199,500-599',
      'bytes=0-199,500-599',
      'bytes=0-199,500-699',
    ]);
  });

  test('S3 the Location of a 308 is where later requests go', async () => {
    const service = await startService(kind);
    const reply = await ask(service, { headers: { 'Content-Range': 'bytes */1000' } });
    const target = reply.headers.location ?? '';
    expectProcessed(await send(service, { target, headers: {} }, whole), whole);
  });

  test('S4 who must wait is told how long in whole seconds', async () => {
    let finish = (): void => {};
    const gate = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const service = await startService(kind, { completeWaitMs: 20 }, async (_req, res) => {
      await gate;
      res.end();
    });
    const name = await handshake(service, 1000);
    const reply = await send(service, name, whole);
    expect(reply.status).toBe(503);
    expect(reply.headers['retry-after']).toMatch(/^[1-9]\d*$/);
    finish();
  });

  test('S5 the ETag of a 308 names the operation, and is the same in each', async () => {
    const service = await startService(kind, { handshake: 'etag' });
    const name = await handshake(service, 1000);
    const tag = name.headers['If-Match'];
    expect((await query(service, name)).headers.etag).toBe(tag);
    expect((await send(service, name, whole, [0, 10])).headers.etag).toBe(tag);
    const other = await handshake(service, 1000);
    expect(other.headers['If-Match']).not.toBe(tag);
    expectProcessed(await send(service, name, whole, [10, 1000]), whole);
  });

  test('S6 an answer given before the body was read comes with the body still being read', async () => {
    const service = await startService(kind, { maxLength: 1000 });
    const client = await open(service, { length: 4_000_000 });
    const reply = await client.response();
    expectProblem(reply, 413, 'too_large');
    for (let i = 0; i < 40; i++) await client.write(content(100_000)); // neither a reset nor a stall
    await client.closed;
  });

  test('S7 no 308 for what cannot be mended by sending bytes', async () => {
    const service = await startService(kind, { maxLength: 5000 });
    const name = await handshake(service, 1000);
    const gone = await handshake(service, 1000);
    await ask(service, { ...gone, method: 'DELETE' });
    const replies = [
      await query(service, gone),
      await send(service, gone, whole, [0, 10]),
      await query(service, { target: '/upload?upload_id=AAAAAAAAAAAAAAAAAAAAAA', headers: {} }),
      await query(service, name, 1001),
      await ask(service, { ...name, headers: { 'Content-Range': 'bytes 0-x/1000' } }),
      await ask(service, { headers: { 'Content-Range': 'bytes */5001' } }),
    ];
    expect(replies.map(({ status }) => status)).toEqual([410, 410, 404, 400, 400, 413]);
  });

  test('S8 the handler sees one request with the whole content', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    for (let at = 0; at < 1000; at += 100) await send(service, name, whole, [at, at + 100]);
    expectProcessed(await query(service, name), whole);
    expect(service.calls).toHaveLength(1);
    expect(service.calls[0]).toMatchObject({ method: 'POST', url: '/upload', attempt: 1 });
    expect(service.calls[0]?.headers).toMatchObject({ 'content-length': '1000' });
    expect(service.calls[0]?.headers).not.toHaveProperty('content-range');
  });

  test('S9 a finished operation is not processed again, and answered as it was', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    const first = await send(service, name, whole);
    const again = [
      await query(service, name, 1000),
      await query(service, name),
      await send(service, name, whole, [500, 1000]),
      await send(service, name, whole),
      await ask(service, { ...name, body: whole }),
    ];
    for (const reply of again) {
      expect(reply.status).toBe(201);
      expect(reply.headers['content-type']).toBe(first.headers['content-type']);
      expect(reply.body).toEqual(first.body);
    }
    expect(service.calls).toHaveLength(1);
  });

  test('S10 any number of 103 (Checkpoint) come before the final response, with the fields of a 308', async () => {
    const service = await startService(kind, {
      handshake: 'etag',
      checkpoints: 'always',
      checkpointPushMs: 0,
      checkpointMs: 5,
      flushMs: 5,
    });
    const name = await handshake(service, 1000);
    const client = await open(service, {
      ...name,
      headers: { ...name.headers, 'Content-Range': part(0, 1000, 1000) },
      length: 1000,
      body: whole.subarray(0, 400),
    });
    const checkpoint = await client.nextInterim();
    expect([checkpoint.status, checkpoint.reason]).toEqual([103, 'Checkpoint']);
    expect(checkpoint.headers).toMatchObject({ etag: name.headers['If-Match'], range: 'bytes=0-399' });
    expect(checkpoint.headers['cache-control']).toBeUndefined();
    await client.write(whole.subarray(400));
    expectProcessed(await client.response(), whole);
  });

  test('S10 no 103 to HTTP/1.0', async () => {
    const service = await startService(kind, {
      checkpoints: 'always',
      checkpointPushMs: 0,
      checkpointMs: 1,
      flushMs: 1,
    });
    const name = await handshake(service, 1000);
    const client = await RawClient.connect(service.port);
    const head = encode({
      ...name,
      version: '1.0',
      headers: { 'Content-Range': part(0, 1000, 1000), 'Content-Length': '1000' },
    });
    await client.write(Buffer.concat([head, whole.subarray(0, 400)]));
    await untilStored(service, name, 'bytes=0-399');
    await client.write(whole.subarray(400));
    expectProcessed(await client.response(), whole);
    expect(client.interim).toEqual([]);
  });
});
