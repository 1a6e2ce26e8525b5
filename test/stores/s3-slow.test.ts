import { DeleteObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { describe, expect, test } from 'vitest';
import type { UploadRecord } from '../../src/store.ts';
import { type S3Store, s3Store } from '../../stores/s3.ts';
import { gate } from '../support/gate.ts';
import { newId } from '../support/model.ts';
import { content, expectProcessed, handshake, query, send } from '../support/requests.ts';
import type { S3Double } from '../support/s3/double.ts';
import { startBucket } from '../support/s3-bucket.ts';
import { afterwards } from '../support/scripted-server.ts';
import { digestHandler, type Service, startService } from '../support/service.ts';

// What takes long in a bucket, or ends halfway.

const KiB = 1024;
const newStore = (double: S3Double): S3Store => {
  const client = new S3Client({ ...double.clientConfig, maxAttempts: 1 });
  afterwards(() => client.destroy());
  return s3Store({ client, bucket: double.bucket, partSize: 16 * KiB, provider: { minPart: KiB } });
};

const newRecord = (id: string, length: number): UploadRecord => ({
  id,
  createdAt: Date.now(),
  state: 'open',
  length,
  metadata: {},
  attempt: 0,
});

describe('a content that takes longer to put together than a lease lasts', () => {
  test('is put together under a claim that is renewed: no other node enters the handler', async () => {
    const double = await startBucket({ minPartSize: KiB });
    const entered: string[] = [];
    const start = (node: string): Promise<Service> =>
      startService(
        'memory',
        { store: newStore(double), leaseMs: 1000, completeWaitMs: 20 },
        async (req, res) => {
          entered.push(node);
          await digestHandler(req, res);
        },
      );
    const [a, b] = await Promise.all([start('a'), start('b')]);
    const bytes = content(100_000);
    const name = await handshake(a, bytes.length);
    const together = gate();
    const slow = double.faults.on('CompleteMultipartUpload', { what: 'delay', until: together.opened });
    expect((await send(a, name, bytes)).status).toBe(503);
    const until = Date.now() + 2_500;
    while (Date.now() < until) expect((await query(b, name)).status).toBe(503);
    together.open();
    await expect.poll(async () => (await query(b, name)).status).toBe(201);
    expectProcessed(await query(b, name), bytes);
    expect(entered).toEqual(['a']);
    expect(slow.fired).toBe(1);
  });
});

describe('an upload whose removal from the bucket breaks off', () => {
  test.each([1, 2, 3, 4])(
    'at its request %d: is removed all the same, and its name is free after the next',
    async (nth) => {
      const double = await startBucket({ minPartSize: KiB });
      const store = newStore(double);
      const id = newId();
      const first = newRecord(id, 1000);
      await store.create(first, [content(1000)]);
      const removed = { ...first, state: 'removed' as const, removedAt: Date.now() };
      expect(await store.update(1, removed)).toBe(true);
      await store.discard(id);
      const broken = double.faults.on('any', {
        nth,
        match: ({ method }) => method !== 'GET',
        what: 'status',
        status: 503,
      });
      await store.purge(id).catch(() => undefined);
      broken.remove();

      const left = await newStore(double).load(id);
      if (left !== undefined) {
        expect(left.record.state).toBe('removed');
        const listed: string[] = [];
        for await (const each of store.list()) listed.push(each);
        expect(listed).toEqual([id]);
        await store.purge(id);
      }
      expect(double.objects().filter(({ key }) => key.includes(id))).toEqual([]);
      await store.create(newRecord(id, 3), [Buffer.from('new')]);
      expect(await newStore(double).load(id)).toMatchObject({
        version: 1,
        record: { state: 'open', length: 3 },
      });
    },
  );

  test('at a version that alone is not deleted: likewise', async () => {
    const double = await startBucket({ minPartSize: KiB });
    const store = newStore(double);
    const id = newId();
    const first = newRecord(id, 1000);
    await store.create(first, [content(1000)]);
    const claim = { owner: 'somebody', expiresAt: 1 };
    await store.update(1, { ...first, state: 'claimed', attempt: 1, claim });
    await store.update(2, { ...first, state: 'finished', attempt: 1, response: 'stored' });
    await store.update(3, { ...first, state: 'removed', attempt: 1, removedAt: Date.now() });
    await store.discard(id);
    for (const version of [2, 3, 4, 1]) {
      const client = new S3Client({ ...double.clientConfig, maxAttempts: 1 });
      afterwards(() => client.destroy());
      client.middlewareStack.add(
        (next) => async (request) => {
          const { Delete } = request.input as { Delete?: { Objects: { Key: string }[] } };
          if (Delete === undefined) return next(request);
          const kept = Delete.Objects.filter(({ Key }) => new RegExp(`/record/0*${version}$`).test(Key));
          Delete.Objects = Delete.Objects.filter((object) => !kept.includes(object));
          if (Delete.Objects.length > 0) await next(request);
          throw Object.assign(new Error('one was not deleted'), { name: 'SlowDown' });
        },
        { step: 'initialize' },
      );
      const partial = s3Store({ client, bucket: double.bucket });
      await partial.purge(id).catch(() => undefined);
      const left = await newStore(double).load(id);
      expect(left?.record.state ?? 'removed').toBe('removed');
    }
    await store.purge(id);
    expect(double.objects().filter(({ key }) => key.includes(id))).toEqual([]);
  });

  test('that has left a version without the first has nothing left after the next', async () => {
    const double = await startBucket({ minPartSize: KiB });
    const store = newStore(double);
    const id = newId();
    await store.create(newRecord(id, 1000), [content(1000)]);
    await store.update(1, { ...newRecord(id, 1000), state: 'removed', removedAt: Date.now() });
    const first = double.objects().find(({ key }) => key.includes(id))?.key;
    const client = new S3Client(double.clientConfig);
    afterwards(() => client.destroy());
    await client.send(new DeleteObjectCommand({ Bucket: double.bucket, Key: first }));
    await store.purge(id);
    expect(double.objects().filter(({ key }) => key.includes(id))).toEqual([]);
  });
});
