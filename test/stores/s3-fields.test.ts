import { crc32 } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import type { UploadRecord } from '../../src/store.ts';
import type { S3Store } from '../../stores/s3.ts';
import { type DirectWorld, directWorld, minPart, partSize, streamOf, sumOf } from '../support/s3-direct.ts';
import { seededContent } from '../support/seeded-content.ts';

const worlds: DirectWorld[] = [];

afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

const newWorld = async (...options: Parameters<typeof directWorld>): Promise<DirectWorld> => {
  const world = await directWorld(...options);
  worlds.push(world);
  return world;
};

const recordOf = (name: string, length: number): UploadRecord => ({
  id: name.padEnd(22, '-'),
  createdAt: 0,
  state: 'open',
  metadata: {},
  attempt: 0,
  length,
});

/** The id of an upload with this content, in as many parts as it takes. */
const uploaded = async (store: S3Store, name: string, content: Uint8Array): Promise<string> => {
  const record = recordOf(name, content.byteLength);
  await store.create(record);
  const writer = await store.writer(record.id, record);
  await writer.write([content], 0);
  await writer.sync();
  await writer.close();
  return record.id;
};

const bytes = seededContent(3 * partSize + 17);

describe('a checksum over the whole object', () => {
  const sumOfAll = (): string => {
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(bytes));
    return sum.toString('base64');
  };

  test('is asked for, and is that of its bytes', async () => {
    const { store, double } = await newWorld();
    const id = await uploaded(store, 'checked', bytes);
    await store.contentOf(id);
    await store.putStream('put', streamOf(bytes)).result;
    await store.compose('composed', [{ key: 'put' }]).result;
    for (const key of [`uploads/${id}/content`, 'put', 'composed']) {
      expect(double.object(key)?.checksum).toEqual({
        algorithm: 'CRC32',
        type: 'FULL_OBJECT',
        value: sumOfAll(),
      });
    }
  });

  test.each([400, 501])('that a provider refuses with %i is not asked for again', async (status) => {
    const { store, double } = await newWorld();
    const fault = double.faults.on('CreateMultipartUpload', {
      match: ({ headers }) => 'x-amz-checksum-type' in headers,
      when: 'before',
      what: 'status',
      status,
    });
    for (const key of ['a', 'b']) await store.putStream(key, streamOf(bytes)).result;
    expect(fault.fired).toBe(1);
    expect(double.calls.CreateMultipartUpload).toBe(3);
    for (const key of ['a', 'b'])
      expect(sumOf(double.object(key)?.content.toBuffer() ?? bytes.subarray(1))).toBe(sumOf(bytes));
  });

  test('is not blamed for another failure', async () => {
    const { store, double } = await newWorld();
    const fault = double.faults.on('CreateMultipartUpload', { when: 'before', what: 'status', status: 400 });
    await expect(store.putStream('a', streamOf(bytes)).result).rejects.toMatchObject({
      code: 'store_failed',
    });
    fault.remove();
    await store.putStream('a', streamOf(bytes)).result;
    expect(double.object('a')?.checksum?.type).toBe('FULL_OBJECT');
  });

  test('is not asked for by a client that sends none', async () => {
    const { store, double } = await newWorld({ client: { requestChecksumCalculation: 'WHEN_REQUIRED' } });
    await store.putStream('a', streamOf(bytes)).result;
    expect(double.object('a')?.checksum).toBeUndefined();
    expect(sumOf(double.object('a')?.content.toBuffer() ?? bytes.subarray(1))).toBe(sumOf(bytes));
  });
});

test('all that is written asks for the encryption', async () => {
  const encryption = { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'a-key' } as const;
  const { store, double } = await newWorld({ store: { encryption } });
  await store.create(recordOf('whole', 10), [seededContent(10)]);
  const id = await uploaded(store, 'parts', bytes); // leaves a fragment, and so does this:
  const record = recordOf('fragments', bytes.length);
  await store.create(record);
  const writer = await store.writer(record.id);
  await writer.write([bytes.subarray(0, 100)], 0);
  await writer.sync();
  await writer.close();
  await store.contentOf(id);
  await store.discard(record.id);
  await store.putStream('put', streamOf(bytes)).result;
  const writes = double.log.filter(({ operation }) =>
    ['PutObject', 'CreateMultipartUpload'].includes(operation),
  );
  expect(writes.some(({ key }) => key?.includes('/fragment/'))).toBe(true);
  expect(writes.length).toBeGreaterThan(8);
  for (const { headers } of writes) {
    expect(headers['x-amz-server-side-encryption']).toBe('aws:kms');
    expect(headers['x-amz-server-side-encryption-aws-kms-key-id']).toBe('a-key');
  }
});

describe('the content of an upload', () => {
  test.each([100, minPart * 40])('of %i bytes is put where it belongs without coming here', async (size) => {
    const { store, double } = await newWorld();
    const content = seededContent(size);
    const record = recordOf('small', size);
    const id = size === 100 ? record.id : await uploaded(store, 'large', content);
    if (size === 100) await store.create(record, [content]);
    const source = await store.contentOf(id);
    const before = double.log.length;
    await store.compose('final', [source], { object: { ContentType: 'text/plain' } }).result;
    const read = double.log.slice(before).filter(({ operation }) => operation === 'GetObject');
    expect(read.length).toBe(size === 100 ? 1 : 0); // less than a part cannot be copied
    expect(sumOf(double.object('final')?.content.toBuffer() ?? content.subarray(1))).toBe(sumOf(content));
  });

  test('that is not whole is gone', async () => {
    const { store } = await newWorld();
    const record = recordOf('part', bytes.length);
    await store.create(record);
    await expect(store.contentOf(record.id)).rejects.toMatchObject({ code: 'gone' });
    await expect(store.contentOf('nobody-knows-this-one--')).rejects.toMatchObject({ code: 'gone' });
    await store.purge(record.id);
  });
});
