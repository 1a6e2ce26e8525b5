import { describe, expect, test } from 'vitest';
import type { UploadStatus } from '../../src/http/hooks.ts';
import { gate } from '../support/gate.ts';
import {
  content,
  expectProcessed,
  handshake,
  type Name,
  open,
  part,
  query,
  send,
  untilStored,
} from '../support/requests.ts';
import { type Options, type Service, startService, storeKinds } from '../support/service.ts';

const whole = content(100_000);
const onPurpose = new Error('on purpose');
const bothModes = storeKinds.flatMap((kind) => [[kind, 'hold'] as const, [kind, 'stream'] as const]);
/** What is written is safe at once. */
const eager: Options = { flushMs: 1, checkpointMs: 1 };

/** Sends the beginning of the whole, and stays connected. */
const begin = (service: Service, name: Name, end: number) =>
  open(service, {
    ...name,
    headers: { ...name.headers, 'Content-Range': part(0, whole.byteLength, whole.byteLength) },
    length: whole.byteLength,
    body: whole.subarray(0, end),
  });

const soon = { interval: 5 };
const endOf = ({ received }: Pick<UploadStatus, 'received'>): number => received.at(-1)?.end ?? 0;

describe.each(bothModes)('onCheckpoint (%s, %s)', (kind, mode) => {
  test('is told of more each time, never twice at once, and only of what is stored', async () => {
    const told: number[] = [];
    let running = 0;
    const service = await startService(kind, {
      mode,
      ...eager,
      metadata: () => ({ by: 'ann' }),
      onCheckpoint: async (upload) => {
        expect(++running).toBe(1);
        const stored = await service.store.load(upload.id);
        expect(upload).toMatchObject({ state: 'open', length: whole.byteLength, metadata: { by: 'ann' } });
        expect(stored?.received.at(-1)?.end ?? 0).toBeGreaterThanOrEqual(endOf(upload));
        told.push(endOf(upload));
        running--;
      },
    });
    const name = await handshake(service, whole.byteLength);
    const client = await begin(service, name, 1000);
    for (let at = 1000; at < 90_000; at += 10_000) {
      await expect.poll(() => told.at(-1), soon).toBe(at);
      await client.write(whole.subarray(at, at + 10_000));
    }
    await expect.poll(() => told.at(-1), soon).toBe(91_000);
    await client.write(whole.subarray(91_000));
    expectProcessed(await client.response(), whole);
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(service.errors).toEqual([]); // of the hook's own expectations too
  });

  test('is awaited: what came meanwhile is told in one more call, and no byte waits for it', async () => {
    const told: number[] = [];
    const entered = gate();
    const go = gate();
    const service = await startService(kind, {
      mode,
      ...eager,
      onCheckpoint: async (upload) => {
        told.push(endOf(upload));
        entered.open();
        await go.opened;
      },
    });
    const name = await handshake(service, whole.byteLength);
    const client = await begin(service, name, 1000);
    await entered.opened;
    for (let at = 1000; at < 90_000; at += 10_000) {
      await client.write(whole.subarray(at, at + 10_000));
      await untilStored(service, name, `bytes=0-${at + 9999}`);
    }
    expect(told).toEqual([1000]);
    go.open();
    await expect.poll(() => told).toEqual([1000, 91_000]);
    await client.write(whole.subarray(91_000));
    expectProcessed(await client.response(), whole);
  });

  test('is over before its request is answered', async () => {
    const order: string[] = [];
    const entered = gate();
    const go = gate();
    const service = await startService(kind, {
      mode,
      ...eager,
      onCheckpoint: async () => {
        entered.open();
        await go.opened;
        order.push('told');
      },
    });
    const name = await handshake(service, whole.byteLength);
    const client = await begin(service, name, 1000);
    await entered.opened;
    await client.write(whole.subarray(1000));
    const answered = client.response().then(() => order.push('answered'));
    const [id = ''] = await service.ids();
    await expect
      .poll(async () => (await service.store.load(id))?.received.at(-1)?.end)
      .toBe(whole.byteLength);
    go.open();
    await answered;
    expect(order.at(-1)).toBe('answered');
    expect(order.at(0)).toBe('told');
  });

  test('what it throws is reported, and costs no byte', async () => {
    const service = await startService(kind, {
      mode,
      ...eager,
      onCheckpoint: () => {
        throw onPurpose;
      },
    });
    const name = await handshake(service, whole.byteLength);
    const client = await begin(service, name, 1000);
    await expect.poll(() => service.errors.length).toBe(1);
    await client.write(whole.subarray(1000, 50_000));
    await expect.poll(() => service.errors.length).toBeGreaterThan(1);
    await untilStored(service, name, 'bytes=0-49999');
    await client.write(whole.subarray(50_000));
    expectProcessed(await client.response(), whole);
    expect(new Set(service.errors)).toEqual(new Set([onPurpose]));
  });

  test('what it was told of outlives the connection', async () => {
    const told: number[] = [];
    const service = await startService(kind, {
      mode,
      ...eager,
      checkpointBytes: 1000,
      onCheckpoint: (upload) => void told.push(endOf(upload)),
    });
    const name = await handshake(service, whole.byteLength);
    const client = await begin(service, name, 40_000);
    await expect.poll(() => told.length).toBeGreaterThan(0);
    client.reset();
    await client.closed;
    const { range = '' } = (await query(service, name)).headers;
    const end = Number(/^bytes=0-(\d+)$/.exec(range)?.[1]) + 1;
    expect(end).toBeGreaterThanOrEqual(told.at(-1) ?? Number.POSITIVE_INFINITY);
    expectProcessed(await send(service, name, whole, [end, whole.byteLength]), whole);
  });

  test('of a plain request it is told as well', async () => {
    const told: number[] = [];
    const service = await startService(kind, {
      mode,
      ...eager,
      onCheckpoint: (upload) => void told.push(endOf(upload)),
    });
    const client = await open(service, { length: whole.byteLength, body: whole.subarray(0, 1000) });
    await expect.poll(() => told).toEqual([1000]);
    await client.write(whole.subarray(1000));
    expectProcessed(await client.response(), whole);
    expect(client.interim).toEqual([]);
  });
});
