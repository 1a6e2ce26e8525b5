import { createHash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { CreateBucketCommand, GetObjectCommand, HeadObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { UploadRecord } from '../../src/store.ts';
import { decodeMetadata, type S3Store, s3Store } from '../../stores/s3.ts';
import { s3Targets } from '../s3-servers/targets.ts';
import { streamOf, sumOf } from '../support/s3-direct.ts';
import { seededContent } from '../support/seeded-content.ts';

// What only a real server can prove: that it takes parts of its own least size, sent and copied and streamed, and makes
// of them the object, the checksum and the metadata that were meant.

const MiB = 1024 * 1024;
const bucket = `real-${Date.now()}`;
const given = { title: '日本', place: 'é', text: 'two\r\nlines\n' };

describe.each(s3Targets())('$name $version', ({ endpoint, region, accessKeyId, secretAccessKey }) => {
  const client = new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  });
  let store: S3Store;
  const bytes = seededContent(37 * MiB + 4711);

  beforeAll(async () => {
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    // Each request may hold 2 MiB beside what has arrived: a part of which less is here is streamed.
    store = s3Store({ client, bucket, partSize: 5 * MiB, concurrency: 4, memoryBudget: 8 * MiB });
  });
  afterAll(() => client.destroy());

  const sumOfObject = async (key: string): Promise<string> => {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
    return sumOf((await Body?.transformToByteArray()) ?? new Uint8Array());
  };

  /** Where the server gives one: that of all bytes. */
  const checkSum = async (key: string, content: Uint8Array): Promise<void> => {
    const head = await client.send(
      new HeadObjectCommand({ Bucket: bucket, Key: key, ChecksumMode: 'ENABLED' }),
    );
    if (head.ChecksumType !== 'FULL_OBJECT') return;
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(content));
    expect(head.ChecksumCRC32).toBe(sum.toString('base64'));
  };

  test('parts that arrive out of order and in pieces, more than memory has room for', async () => {
    const record: UploadRecord = {
      id: randomBytes(18).toString('base64url'),
      createdAt: Date.now(),
      state: 'open',
      metadata: {},
      attempt: 0,
      length: bytes.length,
    };
    await store.create(record);
    const writer = await store.writer(record.id, record);
    const step = 3 * MiB + 1;
    const starts = Array.from({ length: Math.ceil(bytes.length / step) }, (_, n) => n * step);
    // The even ones, made safe, and then the odd ones: every part has to be put together.
    for (const rest of [0, 1]) {
      for (const start of starts.filter((_, n) => n % 2 === rest)) {
        await writer.write([bytes.subarray(start, start + step)], start);
      }
      await writer.sync();
    }
    await writer.close();
    const { key } = await store.contentOf(record.id);
    expect(await sumOfObject(key)).toBe(sumOf(bytes));
    await checkSum(key, bytes);
    const read = createHash('sha256');
    for await (const chunk of store.read(record.id, MiB, 30 * MiB)) read.update(chunk as Uint8Array);
    expect(read.digest('hex')).toBe(
      createHash('sha256')
        .update(bytes.subarray(MiB, 30 * MiB))
        .digest('hex'),
    );
    await store.purge(record.id);
  });

  test('streams and objects of any size, one behind the other', async () => {
    const object = { Metadata: given, ContentType: 'text/plain' };
    await store.putStream('put', streamOf(bytes, 100_000), { object }).result;
    expect(await sumOfObject('put')).toBe(sumOf(bytes));
    await checkSum('put', bytes);
    const piece = seededContent(1000);
    await store.compose('composed', [{ key: 'put' }, piece, { key: 'put', start: 17, end: 20 * MiB }], {
      object,
    }).result;
    const all = Buffer.concat([bytes, piece, bytes.subarray(17, 20 * MiB)]);
    expect(await sumOfObject('composed')).toBe(sumOf(all));
    await checkSum('composed', all);
    const head = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: 'composed' }));
    expect([head.ContentType, decodeMetadata(head.Metadata)]).toEqual(['text/plain', given]);
  });
});
