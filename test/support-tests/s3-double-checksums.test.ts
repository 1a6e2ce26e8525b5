import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import {
  type CompletedPart,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { describe, expect, test } from 'vitest';
import { startMultipart } from './multipart-helpers.ts';
import { clientOf, expectNothingUnknown, refusal, start, startDouble } from './s3-helpers.ts';

describe('checksums', () => {
  test.each([
    ['CRC32', 'y/Q5Jg=='],
    ['CRC32C', '4waSgw=='],
    ['CRC64NVME', 'rosUhgp5mIg='],
    ['SHA1', '98O8HYCOBHMq32eZZczDTKeuNEE='],
    ['SHA256', 'FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU='],
  ] as const)('%s is checked, kept and returned', async (algorithm, value) => {
    const { double, client, Bucket, put } = await start();
    const name = `Checksum${algorithm}`;
    await put('sdk', '123456789', { ChecksumAlgorithm: algorithm });
    await put('own', '123456789', { [name]: value });
    expect(double.objects().map(({ checksum }) => checksum?.value)).toEqual([value, value]);
    expect(await refusal(put('k', '12345678', { [name]: value }))).toBe('BadDigest 400');
    expect(await refusal(put('k', '123456789', { [name]: 'AAA=' }))).toBe('InvalidRequest 400');
    const input = { Bucket, Key: 'sdk' } as const;
    const head = await client.send(new HeadObjectCommand({ ...input, ChecksumMode: 'ENABLED' }));
    expect(head).toMatchObject({ [name]: value, ChecksumType: 'FULL_OBJECT' });
    expect(await client.send(new HeadObjectCommand(input))).not.toHaveProperty(name);
    const got = await client.send(new GetObjectCommand(input));
    expect(await got.Body?.transformToString()).toBe('123456789');
    expectNothingUnknown(double);
  });

  test('Content-MD5', async () => {
    const { put } = await start();
    await put('k', 'hello', { ContentMD5: 'XUFAKrxLKna5cZ2REBfFkg==' });
    expect(await refusal(put('k', 'other', { ContentMD5: 'XUFAKrxLKna5cZ2REBfFkg==' }))).toBe(
      'BadDigest 400',
    );
    expect(await refusal(put('k', 'hello', { ContentMD5: 'no' }))).toBe('InvalidDigest 400');
  });

  test('a client that adds no checksum', async () => {
    const double = await startDouble();
    const client = clientOf(double, { requestChecksumCalculation: 'WHEN_REQUIRED' });
    await client.send(new PutObjectCommand({ Bucket: double.bucket, Key: 'k', Body: 'x' }));
    expect(double.object('k')).not.toHaveProperty('checksum');
    expectNothingUnknown(double);
  });
});

describe('checksums of multipart uploads', () => {
  const whole = (text: string): string => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(crc32(text));
    return bytes.toString('base64');
  };

  test('composite ones: each part has to be listed with its own', async () => {
    const { double, client, id, part, complete } = await startMultipart({}, { ChecksumAlgorithm: 'SHA256' });
    const algorithm = { ChecksumAlgorithm: 'SHA256' };
    const sha256 = (data: string | Buffer): Buffer => createHash('sha256').update(data).digest();
    const one = await part(1, 'first', algorithm);
    const two = await part(2, 'second', algorithm);
    expect(await refusal(part(3, 'third'))).toBe('InvalidRequest 400');
    expect(await refusal(complete([one, two]))).toBe('InvalidRequest 400');
    const listed = [one, two].map((each, i) => ({
      ...each,
      ChecksumSHA256: sha256(['first', 'second'][i] ?? '').toString('base64'),
    }));
    const wrong = { ...two, ChecksumSHA256: sha256('other').toString('base64') };
    expect(await refusal(complete([listed[0]!, wrong]))).toBe('InvalidPart 400');
    await complete(listed);
    const value = `${sha256(Buffer.concat([sha256('first'), sha256('second')])).toString('base64')}-2`;
    const { Bucket, Key } = id;
    const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));
    expect(head).toMatchObject({ ChecksumSHA256: value, ChecksumType: 'COMPOSITE' });
    expectNothingUnknown(double);
  });

  test.each(['CRC32', 'CRC32C', 'CRC64NVME'] as const)(
    '%s of the whole object',
    async (ChecksumAlgorithm) => {
      const type = { ChecksumAlgorithm, ChecksumType: 'FULL_OBJECT' as const };
      const { double, client, id, part, complete } = await startMultipart({ minPartSize: 0 }, type);
      const name = `Checksum${ChecksumAlgorithm}`;
      const texts = ['first', '', 'second '.repeat(1000)];
      const parts: CompletedPart[] = [];
      for (const text of texts) {
        parts.push(await part(parts.length + 1, Buffer.from(text), { ChecksumAlgorithm }));
      }
      const { Bucket } = id;
      await client.send(
        new PutObjectCommand({ Bucket, Key: 'put', Body: texts.join(''), ChecksumAlgorithm }),
      );
      const value = double.object('put')?.checksum?.value;
      expect(await refusal(complete(parts, { [name]: `${value}`.replace(/^./, '!') }))).toBe('BadDigest 400');
      await complete(parts, { [name]: value, ChecksumType: 'FULL_OBJECT' });
      expect(double.object(id.Key)?.checksum).toEqual({
        algorithm: ChecksumAlgorithm,
        value,
        type: 'FULL_OBJECT',
      });
      const got = await client.send(new GetObjectCommand({ Bucket, Key: id.Key }));
      expect(await got.Body?.transformToString()).toBe(texts.join(''));
      expectNothingUnknown(double);
    },
  );

  test('a part of a whole need not bring its own, but not another kind', async () => {
    const type = { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' } as const;
    const { double, part, complete } = await startMultipart({}, type);
    expect(await refusal(part(1, 'a', { ChecksumAlgorithm: 'SHA1' }))).toBe('InvalidRequest 400');
    const plain = clientOf(double, { requestChecksumCalculation: 'WHEN_REQUIRED' });
    const { uploadId: UploadId, key: Key, bucket: Bucket } = double.uploads()[0]!;
    const input = { Bucket, Key, UploadId, PartNumber: 1, Body: 'a' };
    const { ETag } = await plain.send(new UploadPartCommand(input));
    const parts = [{ ETag, PartNumber: 1 }];
    expect(await refusal(complete(parts, { ChecksumType: 'COMPOSITE' }))).toBe('InvalidRequest 400');
    await complete(parts, { ChecksumCRC32: whole('a') });
  });

  test('what Create did not name must not be listed, although every part has one', async () => {
    const { double, part, complete } = await startMultipart();
    const one = await part(1, 'a');
    expect(double.uploads()[0]?.parts.get(1)?.checksum).toEqual({ algorithm: 'CRC32', value: whole('a') });
    expect(await refusal(complete([{ ...one, ChecksumCRC32: whole('a') }]))).toBe('InvalidPart 400');
    await complete([one]);
    expect(double.object('the/key')).not.toHaveProperty('checksum');
  });

  test('with one, part numbers have to be consecutive', async () => {
    const { part, complete } = await startMultipart(
      {},
      { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' },
    );
    const parts = [await part(1, 'a'), await part(3, 'b')];
    expect(await refusal(complete(parts))).toBe('InternalError 500');
  });

  test('kinds that there are not', async () => {
    const double = await startDouble();
    const client = clientOf(double);
    const create = (input: object) =>
      client.send(new CreateMultipartUploadCommand({ Bucket: double.bucket, Key: 'k', ...input }));
    const refused = [
      { ChecksumAlgorithm: 'SHA256', ChecksumType: 'FULL_OBJECT' },
      { ChecksumAlgorithm: 'CRC64NVME', ChecksumType: 'COMPOSITE' },
      { ChecksumType: 'FULL_OBJECT' },
    ];
    for (const input of refused) expect(await refusal(create(input))).toBe('InvalidRequest 400');
    expectNothingUnknown(double);
    expect(await refusal(create({ ChecksumAlgorithm: 'XXHASH64' }))).toBe('NotImplemented 501');
    expect(double.unknown).toHaveLength(1);
    expect(double.uploads()).toEqual([]);
  });
});
