import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  ListPartsCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  paginateListParts,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { S3Double } from '../support/s3/double.ts';
import { clientOf, expectNothingUnknown, refusal, startDouble } from './s3-helpers.ts';

const put = async (double: S3Double, client: S3Client, keys: readonly string[]): Promise<void> => {
  await Promise.all(
    keys.map((Key) => client.send(new PutObjectCommand({ Bucket: double.bucket, Key, Body: 'x' }))),
  );
};

/** Keys, and prefixes with a `>` before each, page by page. */
const pagesOf = async (
  double: S3Double,
  client: S3Client,
  input: Partial<ListObjectsV2CommandInput> = {},
): Promise<string[][]> => {
  const pages: string[][] = [];
  for await (const page of paginateListObjectsV2({ client }, { Bucket: double.bucket, ...input })) {
    const keys = page.Contents?.map(({ Key }) => Key ?? '') ?? [];
    const prefixes = page.CommonPrefixes?.map(({ Prefix }) => `>${Prefix}`) ?? [];
    expect(page.KeyCount).toBe(keys.length + prefixes.length);
    pages.push([...keys, ...prefixes]);
  }
  return pages;
};

describe('ListObjectsV2', () => {
  test('pages, prefixes and delimiters', async () => {
    const double = await startDouble({ pageSize: 2 });
    const client = clientOf(double);
    await put(double, client, ['a', 'b/1', 'b/2', 'b/c/3', 'd', 'e/4', 'f']);
    const list = (input: Partial<ListObjectsV2CommandInput>) => pagesOf(double, client, input);
    expect(await list({})).toEqual([['a', 'b/1'], ['b/2', 'b/c/3'], ['d', 'e/4'], ['f']]);
    expect(await list({ Delimiter: '/' })).toEqual([['a', '>b/'], ['d', '>e/'], ['f']]);
    expect(await list({ Delimiter: '/', Prefix: 'b/' })).toEqual([['b/1', 'b/2'], ['>b/c/']]);
    expect(await list({ StartAfter: 'b/2' })).toEqual([
      ['b/c/3', 'd'],
      ['e/4', 'f'],
    ]);
    expect(await list({ MaxKeys: 1, Prefix: 'b/' })).toEqual([['b/1'], ['b/2'], ['b/c/3']]);
    expect(await list({ MaxKeys: 0 })).toEqual([[]]);
    expect(await list({ Prefix: 'nothing' })).toEqual([[]]);
    expectNothingUnknown(double);
  });

  test('the order is that of UTF-8, and awkward keys come through', async () => {
    const double = await startDouble();
    const client = clientOf(double);
    const keys = ['a&<>"\'', 'b c+%20', 'é', '\uffee', '😀'];
    await put(double, client, [...keys].reverse());
    expect(await pagesOf(double, client)).toEqual([keys]);
    await put(double, client, ['\u0001']);
    const encoded = await pagesOf(double, client, { EncodingType: 'url', Prefix: '\u0001' });
    expect(encoded).toEqual([['%01']]);
  });

  test('what it refuses', async () => {
    const double = await startDouble();
    const client = clientOf(double);
    const list = (input: object) =>
      client.send(new ListObjectsV2Command({ Bucket: double.bucket, ...input }));
    expect(await refusal(list({ ContinuationToken: 'made up' }))).toBe('InvalidArgument 400');
    expect(await refusal(list({ MaxKeys: -1 }))).toBe('InvalidArgument 400');
    expect(await refusal(list({ EncodingType: 'base64' }))).toBe('InvalidArgument 400');
    expect(await refusal(list({ Bucket: 'none-such' }))).toBe('NoSuchBucket 404');
  });

  test('however it is cut into pages, everything comes once', async () => {
    const key = fc.stringMatching(/^[ab/]{1,5}$/);
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(key, { maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        async (keys, size) => {
          const double = await startDouble({ pageSize: size });
          const client = clientOf(double);
          await put(double, client, keys);
          const flat = (await pagesOf(double, client)).flat();
          expect(flat).toEqual([...keys].sort());
          const grouped = (await pagesOf(double, client, { Delimiter: '/' })).flat();
          const shown = keys.map((each) =>
            each.includes('/') ? `>${each.slice(0, each.indexOf('/') + 1)}` : each,
          );
          expect([...grouped].sort()).toEqual([...new Set(shown)].sort());
          client.destroy();
          await double.close();
        },
      ),
      { numRuns: 25 },
    );
  });
});

test('ListParts', async () => {
  const double = await startDouble({ pageSize: 3 });
  const client = clientOf(double);
  const target = { Bucket: double.bucket, Key: 'k' };
  const created = new CreateMultipartUploadCommand({ ...target, ChecksumAlgorithm: 'CRC32' });
  const { UploadId = '' } = await client.send(created);
  const id = { ...target, UploadId };
  const numbers = [9, 1, 3, 10, 2, 10_000, 7];
  for (const PartNumber of numbers) {
    await client.send(new UploadPartCommand({ ...id, PartNumber, Body: 'x'.repeat(PartNumber) }));
  }
  const pages: (number | undefined)[][] = [];
  for await (const page of paginateListParts({ client }, id)) {
    pages.push(page.Parts?.map(({ PartNumber }) => PartNumber) ?? []);
  }
  expect(pages).toEqual([[1, 2, 3], [7, 9, 10], [10_000]]);
  const { Parts, ...rest } = await client.send(
    new ListPartsCommand({ ...id, PartNumberMarker: '3', MaxParts: 1 }),
  );
  expect(Parts).toMatchObject([{ PartNumber: 7, Size: 7 }]);
  expect(Parts?.[0]).toHaveProperty('ChecksumCRC32');
  expect(rest).toMatchObject({ IsTruncated: true, NextPartNumberMarker: '7', ChecksumType: 'COMPOSITE' });
  expectNothingUnknown(double);
});

test('ListMultipartUploads', async () => {
  const double = await startDouble({ pageSize: 2 });
  const client = clientOf(double);
  const Bucket = double.bucket;
  const ids: string[] = [];
  for (const Key of ['k', 'k', 'k', 'dir/b', 'dir/a', 'other']) {
    const { UploadId = '' } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    ids.push(`${Key} ${UploadId}`);
  }
  const list = async (input: object): Promise<string[][]> => {
    const pages: string[][] = [];
    let markers = {};
    for (;;) {
      const page = await client.send(new ListMultipartUploadsCommand({ Bucket, ...input, ...markers }));
      const prefixes = page.CommonPrefixes?.map(({ Prefix }) => `>${Prefix}`) ?? [];
      pages.push([...(page.Uploads?.map(({ Key, UploadId }) => `${Key} ${UploadId}`) ?? []), ...prefixes]);
      if (!page.IsTruncated) return pages;
      markers = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    }
  };
  const [k1 = '', k2 = '', k3 = '', b = '', a = '', other = ''] = ids;
  expect(await list({})).toEqual([
    [a, b],
    [k1, k2],
    [k3, other],
  ]);
  expect(await list({ Prefix: 'dir/' })).toEqual([[a, b]]);
  expect(await list({ Delimiter: '/' })).toEqual([[k1, '>dir/'], [k2, k3], [other]]);
  expect(await list({ KeyMarker: 'k' })).toEqual([[other]]);
  const after = { KeyMarker: 'k', UploadIdMarker: k1.slice(2) };
  expect(await list({ ...after, MaxUploads: 1 })).toEqual([[k2], [k3], [other]]);
  expectNothingUnknown(double);
});
