import { S3Client } from '@aws-sdk/client-s3';
import { afterEach, describe, expect, test } from 'vitest';
import { upload } from '../../src/client/index.ts';
import { type S3StoreOptions, s3Store } from '../../stores/s3.ts';
import {
  ask,
  content,
  expectProcessed,
  handshake,
  open,
  part,
  query,
  send,
  sha256,
} from '../support/requests.ts';
import type { S3Double } from '../support/s3/double.ts';
import { startBucket } from '../support/s3-bucket.ts';
import { type Options, type Service, startService } from '../support/service.ts';

// The whole way: requests over HTTP, the engine, the store, the SDK, and S3's own wire.

const MiB = 1024 * 1024;
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A node of its own over the bucket: it shares nothing with another but that. */
const startNode = (
  double: S3Double,
  options: Options = {},
  partSize = 5 * MiB,
  sizes: Partial<S3StoreOptions> = {},
): Promise<Service> => {
  const client = new S3Client({ ...double.clientConfig, maxAttempts: 1 });
  cleanups.push(() => client.destroy());
  const provider = { minPart: Math.min(partSize, 5 * MiB) };
  const store = s3Store({ client, bucket: double.bucket, partSize, provider, ...sizes });
  return startService('memory', { store, ...options });
};

const requests = (double: S3Double): Record<string, number> =>
  Object.fromEntries(Object.entries(double.calls).filter(([, count]) => count > 0));

describe('uploads into a bucket', () => {
  test('small and empty ones are one object, made with the record, and an answer', async () => {
    const double = await startBucket();
    const node = await startNode(double);
    await ask(node, { body: 'the first finds out what the bucket can do' });
    for (const length of [0, 1, 1024, 500_000]) {
      const before = { ...double.calls };
      expectProcessed(await ask(node, { body: content(length), chunk: 65_536 }), content(length));
      expect(double.calls.PutObject - before.PutObject).toBe(2);
      expect(double.calls.ListObjectsV2 - before.ListObjectsV2).toBe(1); // by the handler, who reads it
    }
    expect(double.calls.CreateMultipartUpload).toBe(0);
  });

  test('a large one goes in parts, and is one object in the end', async () => {
    const double = await startBucket();
    const node = await startNode(double);
    const bytes = content(23 * MiB + 17);
    expectProcessed(await ask(node, { body: bytes }), bytes);
    expect(double.uploads()).toEqual([]);
    const made = double.objects().filter(({ key }) => key.endsWith('/content'));
    expect(made.map(({ size, partCount }) => ({ size, partCount }))).toEqual([
      { size: bytes.length, partCount: 5 },
    ]);
    expect(double.objects().filter(({ key }) => key.includes('/fragment/'))).toEqual([]);
    expect(double.calls.UploadPart).toBe(5);
  });

  test('one that is cut goes on at another node, from the byte after the last', async () => {
    const double = await startBucket();
    const nodes = [await startNode(double), await startNode(double)] as const;
    const bytes = content(13 * MiB);
    const name = await handshake(nodes[0], bytes.length);
    const client = await open(nodes[0], {
      ...name,
      headers: { 'Content-Range': part(0, bytes.length, bytes.length) },
      length: bytes.length,
      body: bytes.subarray(0, 7 * MiB),
    });
    await expect.poll(async () => (await query(nodes[0], name)).headers.range).toBe(`bytes=0-${7 * MiB - 1}`);
    client.reset();
    await client.closed;
    const state = await query(nodes[1], name);
    expect(state.headers.range).toBe(`bytes=0-${7 * MiB - 1}`);
    expectProcessed(await send(nodes[1], name, bytes, [7 * MiB, bytes.length]), bytes);
    for (const node of nodes) expectProcessed(await query(node, name), bytes);
    expect([nodes[0].calls.length, nodes[1].calls.length]).toEqual([0, 1]);
    expect(double.uploads()).toEqual([]);
    expect(double.objects().filter(({ key }) => key.includes('/fragment/'))).toEqual([]);
  });

  test('a resume at another node takes three requests before the first new byte, a further page of parts one more', async () => {
    const double = await startBucket({ minPartSize: 1024, pageSize: 4 });
    const nodes = [await startNode(double, {}, 10_000), await startNode(double, {}, 10_000)] as const;
    for (const node of nodes) await ask(node, { body: 'the first finds out what the bucket can do' });
    const bytes = content(100_000);
    const name = await handshake(nodes[0], bytes.length);
    await send(nodes[0], name, bytes, [0, 60_000]); // six parts: two pages
    const before = double.log.length;
    expect((await send(nodes[1], name, bytes, [60_000, 75_000])).status).toBe(308);
    const operations = double.log.slice(before).map(({ operation }) => operation);
    expect(operations.slice(0, operations.indexOf('UploadPart'))).toEqual([
      'ListObjectsV2',
      'GetObject',
      'ListParts',
      'ListParts',
    ]);
    // What a process has seen of the record it need not read again.
    const again = double.log.length;
    expect((await send(nodes[1], name, bytes, [80_000, 90_000])).status).toBe(308);
    const next = double.log.slice(again).map(({ operation }) => operation);
    expect(next.slice(0, next.indexOf('UploadPart'))).toEqual(['ListObjectsV2', 'ListParts', 'ListParts']);
    expectProcessed(await send(nodes[0], name, bytes, [75_000, bytes.length]), bytes);
  });

  test('a part that memory has no room for is put together on its way, and again where that fails', async () => {
    const double = await startBucket({ minPartSize: 1024 });
    const sizes = { memoryBudget: 40_000, concurrency: 2 };
    const node = await startNode(double, { batchBytes: 10_000 }, 200_000, sizes);
    const bytes = content(500_000);
    const name = await handshake(node, bytes.length);
    const fault = double.faults.on('UploadPart', {
      nth: 1,
      when: 'before',
      what: 'reset',
      afterBytes: 50_000,
    });
    for (const [start, end] of [
      [300_000, 450_000],
      [0, 120_000],
      [450_000, 500_000],
      [120_000, 300_000],
    ] as const) {
      await send(node, name, bytes, [start, end]);
    }
    expectProcessed(await query(node, name), bytes);
    expect(fault.fired).toBe(1);
    const parts = double.log.filter(({ operation }) => operation === 'UploadPart');
    expect(parts.length).toBe(4);
    for (const { headers } of parts) expect(headers['x-amz-trailer']).toBe('x-amz-checksum-crc32');
    expect(double.objects().filter(({ key }) => key.includes('/fragment/'))).toEqual([]);
  });

  test('ranges that arrive at once, at several nodes, become one content', async () => {
    const double = await startBucket({ minPartSize: 1024 });
    const nodes = await Promise.all([0, 1, 2].map(() => startNode(double, {}, 64 * 1024)));
    const bytes = content(1_000_003);
    const name = await handshake(nodes[0] as Service, bytes.length);
    const step = 100_001;
    const replies = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        send(nodes[i % 3] as Service, name, bytes, [i * step, Math.min((i + 1) * step, bytes.length)]),
      ),
    );
    expect(replies.every(({ status }) => [201, 308, 503].includes(status))).toBe(true);
    await expect.poll(async () => (await query(nodes[0] as Service, name)).status).toBe(201);
    expectProcessed(await query(nodes[1] as Service, name), bytes);
    expect(nodes.flatMap(({ calls }) => calls)).toHaveLength(1);
  });

  test.each(['before', 'after'] as const)(
    'whichever request fails, %s its effect, the client ends with the same bytes',
    async (when) => {
      const bytes = content(150_000);
      /** Says whether there was an nth request to fail. */
      const fail = async (nth: number): Promise<boolean> => {
        const double = await startBucket({ minPartSize: 1024 });
        const node = await startNode(double, { completeWaitMs: 100 }, 40_000);
        const fault = double.faults.on('any', { nth, when, what: 'reset' });
        const retry = { minMs: 1, maxMs: 20, maxCount: 20 };
        const { status, body } = await upload(`http://127.0.0.1:${node.port}/upload`, bytes, { retry })
          .result;
        expect([nth, status]).toEqual([nth, 201]);
        expect([nth, JSON.parse(String(body))]).toEqual([nth, { size: bytes.length, sha256: sha256(bytes) }]);
        expect(node.calls.length).toBeLessThanOrEqual(2);
        await node.stop();
        return fault.fired > 0;
      };
      let nth = 0;
      for (let isFailing = true; isFailing; ) {
        // Several at once: after a failure a client waits, and most of the time is that.
        const batch = await Promise.all(Array.from({ length: 8 }, () => fail(++nth)));
        isFailing = batch.every((fired) => fired);
      }
      expect(nth).toBeGreaterThan(16); // so many requests there are
    },
    120_000,
  );

  test.each([
    ['there is no bucket', { bucket: 'no-such-bucket' }, 'there is no bucket'],
    ['the key is wrong', { credentials: { accessKeyId: 'AKIANOBODY', secretAccessKey: 'x' } }, 'credentials'],
    ['the region is another', { region: 'eu-west-1' }, 'region'],
  ])('a clear error before any byte moves where %s', async (_what, wrong, message) => {
    const double = await startBucket();
    const { bucket = double.bucket, ...config } = wrong as { bucket?: string };
    const client = new S3Client({ ...double.clientConfig, ...config, maxAttempts: 1 });
    cleanups.push(() => client.destroy());
    const node = await startService('memory', { store: s3Store({ client, bucket }) });
    const reply = await ask(node, { body: content(100_000) });
    expect(reply.status).toBe(503);
    expect(node.errors).toMatchObject([{ code: 'store_failed', message: expect.stringContaining(message) }]);
    expect(requests(double)).toEqual({ HeadBucket: expect.any(Number) });
  });
});
