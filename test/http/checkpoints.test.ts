import { describe, expect, test } from 'vitest';
import { RawClient } from '../support/raw-client.ts';
import {
  content,
  encode,
  expectProcessed,
  handshake,
  open,
  part,
  query,
  send,
  untilStored,
} from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

const whole = content(10_000);
/** Everything that is written becomes safe, and may be told, at once. */
const eager = { checkpointPushMs: 0, checkpointMs: 1, flushMs: 1 };
const prefer = { Prefer: 'checkpoint' };

const lastStored = (range: string | undefined): number => {
  const match = /^bytes=0-(\d+)$/.exec(range ?? '');
  return match === null ? -1 : Number(match[1]);
};

describe.each(storeKinds)('103 Checkpoint (%s)', (kind) => {
  test.each([
    ['on-request', {}, false],
    ['on-request', prefer, true],
    ['on-request', { Prefer: 'respond-async, Checkpoint;x=1' }, true],
    ['on-request', { Prefer: 'x="checkpoint", wait=5' }, false],
    ['always', {}, true],
    ['never', prefer, false],
  ] as const)('option %s, fields %o: %s', async (checkpoints, fields, expected) => {
    const service = await startService(kind, { ...eager, checkpoints });
    const name = await handshake(service, 10_000);
    const headers = { ...fields, 'Content-Range': part(0, 10_000, 10_000) };
    const client = await open(service, { ...name, headers, length: 10_000, body: whole.subarray(0, 5000) });
    await untilStored(service, name, 'bytes=0-4999');
    await client.write(whole.subarray(5000));
    expectProcessed(await client.response(), whole);
    expect(client.interim.length > 0).toBe(expected);
  });

  test.each(['location', 'etag'] as const)('makes a plain POST resumable after a cut (%s)', async (form) => {
    const service = await startService(kind, { ...eager, handshake: form });
    const client = await open(service, { headers: prefer, length: 10_000 });
    const first = await client.nextInterim(); // before any byte of the body
    expect([first.status, first.reason]).toEqual([103, 'Checkpoint']);
    expect(first.headers).not.toHaveProperty('range');
    const { location, etag } = first.headers;
    expect([location === undefined, etag === undefined]).toEqual(
      form === 'location' ? [false, true] : [true, false],
    );
    const name =
      location === undefined
        ? { target: '/upload', headers: { 'If-Match': etag ?? '' } }
        : { target: location, headers: {} };

    await client.write(whole.subarray(0, 5000));
    let told = await client.nextInterim();
    while (lastStored(told.headers.range) < 4999) told = await client.nextInterim();
    client.reset();
    await client.closed;
    const { range } = (await query(service, name, 10_000)).headers;
    expect(range).toBe('bytes=0-4999');
    expectProcessed(await send(service, name, whole, [5000, 10_000]), whole);
    expect(service.calls).toHaveLength(1);
  });

  test('every Range is true: what it says is stored after a cut, and never shrinks', async () => {
    const service = await startService(kind, { ...eager, checkpointBytes: 1000 });
    const name = await handshake(service, 10_000);
    const headers = { ...prefer, 'Content-Range': part(0, 10_000, 10_000) };
    const client = await open(service, { ...name, headers, length: 10_000 });
    for (let at = 0; at < 8000; at += 500) {
      await client.write(whole.subarray(at, at + 500));
      while (lastStored((await client.nextInterim()).headers.range) < at + 499);
    }
    client.reset();
    await client.closed;
    const told = client.interim.map((response) => lastStored(response.headers.range));
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(told.length).toBeGreaterThanOrEqual(16);
    const { range } = (await query(service, name)).headers;
    expect(lastStored(range)).toBeGreaterThanOrEqual(told.at(-1) ?? 0);
    // The bytes themselves are there: others for the same place change nothing.
    await send(service, name, content(10_000, 2), [0, 8000]);
    expectProcessed(await send(service, name, whole, [8000, 10_000]), whole);
  });

  test('tells a request that repeats what is stored so before its first byte, so that it need not ask', async () => {
    const service = await startService(kind, { ...eager, checkpointPushMs: 3_600_000 });
    const name = await handshake(service, 10_000);
    await send(service, name, whole, [0, 7000]);
    const headers = { ...prefer, 'Content-Range': part(0, 10_000, 10_000) };
    const client = await open(service, { ...name, headers, length: 10_000 });
    expect((await client.nextInterim()).headers.range).toBe('bytes=0-6999');
    await client.write(whole);
    expectProcessed(await client.response(), whole);
    expect(client.interim).toHaveLength(1);
  });

  test('at most one in an interval', async () => {
    const service = await startService(kind, { ...eager, checkpointPushMs: 3_600_000 });
    const name = await handshake(service, 10_000);
    const headers = { ...prefer, 'Content-Range': part(0, 10_000, 10_000) };
    const client = await open(service, { ...name, headers, length: 10_000 });
    for (let at = 0; at < 10_000; at += 1000) {
      if (at > 0) await untilStored(service, name, `bytes=0-${at - 1}`);
      await client.write(whole.subarray(at, at + 1000));
    }
    expectProcessed(await client.response(), whole);
    expect(client.interim).toHaveLength(1);
  });

  test('at most one in an interval, the one with the identity included', async () => {
    const service = await startService(kind, { ...eager, checkpointPushMs: 3_600_000 });
    const client = await open(service, { headers: prefer, length: 10_000 });
    const { location = '' } = (await client.nextInterim()).headers;
    const name = { target: location, headers: {} };
    for (let at = 0; at < 10_000; at += 1000) {
      if (at > 0) await untilStored(service, name, `bytes=0-${at - 1}`);
      await client.write(whole.subarray(at, at + 1000));
    }
    expectProcessed(await client.response(), whole);
    expect(client.interim).toHaveLength(1);
  });

  test('none behind the final response, none of an earlier request', async () => {
    const service = await startService(kind, { ...eager, checkpoints: 'always' });
    const client = await open(service, { length: 10_000, body: whole });
    expectProcessed(await client.response(), whole);
    const before = client.interim.length;
    await client.write(encode({ headers: { 'Content-Range': 'bytes */5' } }));
    expect((await client.response()).status).toBe(308);
    expect(client.interim).toHaveLength(before);
  });

  test('none while an earlier response of the pipeline is not finished', async () => {
    let answer = (): void => {};
    const service = await startService(kind, { ...eager, checkpoints: 'always' }, async (req, res) => {
      if (req.method === 'GET') {
        await new Promise<void>((resolve) => {
          answer = resolve;
        });
        res.end('got');
      } else {
        req.resume();
        res.end('posted');
      }
    });
    const client = await RawClient.connect(service.port);
    await client.write(encode({ method: 'GET' }));
    await expect.poll(() => service.calls.length).toBe(1);
    await client.write(encode({ body: whole }));
    await expect.poll(() => service.calls.length).toBe(2);
    expect(client.interim).toEqual([]);
    answer();
    expect((await client.response()).body.toString()).toBe('got');
    expect((await client.response()).body.toString()).toBe('posted');
  });
});
