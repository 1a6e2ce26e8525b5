import { randomBytes } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { UploadRecord } from '../../src/store.ts';
import type { Entry } from '../../stores/s3/entry.ts';
import { type GcCounts, type S3Store, s3Store } from '../../stores/s3.ts';
import { type S3Double, startS3Double } from '../support/s3/double.ts';
import { seededContent } from '../support/seeded-content.ts';

const nothing: GcCounts = {
  multipartUploads: 0,
  fragments: 0,
  records: 0,
  contents: 0,
  markers: 0,
  bytes: 0,
};
const partSize = 4096;
const hour = 60 * 60 * 1000;

let double: S3Double;
let client: S3Client;
let store: S3Store;
const clients: S3Client[] = [];

const newId = (): string => randomBytes(16).toString('base64url');

const record = (facts: Partial<UploadRecord> = {}): UploadRecord => ({
  id: newId(),
  createdAt: Date.now(),
  state: 'open',
  metadata: {},
  attempt: 0,
  ...facts,
});

const openStore = (prefix?: string): S3Store => {
  const own = new S3Client({ ...double.clientConfig, maxAttempts: 1 });
  clients.push(own);
  client = own;
  const at = prefix === undefined ? {} : { prefix };
  return s3Store({ client: own, bucket: double.bucket, partSize, provider: { minPart: 1024 }, ...at });
};

beforeEach(async () => {
  double = await startS3Double({ minPartSize: 1024, pageSize: 3 });
  store = openStore();
});

afterEach(async () => {
  for (const own of clients.splice(0)) own.destroy();
  expect(double.unknown).toEqual([]);
  await double.close();
});

const keys = (): string[] => double.objects().map(({ key }) => key);
const put = (Key: string, size = 0) =>
  client.send(new PutObjectCommand({ Bucket: double.bucket, Key, Body: new Uint8Array(size) }));

/** A multipart upload of somebody, with one part of this size. */
const begin = async (Key: string, size: number): Promise<void> => {
  const at = { Bucket: double.bucket, Key };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(at));
  await client.send(new UploadPartCommand({ ...at, UploadId, PartNumber: 1, Body: new Uint8Array(size) }));
};

/** An open upload with one part and a fragment of 100 bytes. */
const half = async (facts: Partial<UploadRecord> = {}): Promise<UploadRecord> => {
  const made = record({ length: 3 * partSize, ...facts });
  await store.create(made);
  await write(made.id, 0, partSize + 100);
  return made;
};

const write = async (id: string, start: number, end: number): Promise<void> => {
  const writer = await store.writer(id);
  await writer.write([seededContent(3 * partSize).subarray(start, end)], start);
  await writer.sync();
  await writer.close();
};

const update = async (id: string, facts: Partial<UploadRecord>): Promise<void> => {
  const stored = await store.load(id);
  if (stored === undefined) throw new Error('no upload');
  expect(await store.update(stored.version, { ...stored.record, ...facts })).toBe(true);
};

const finished = { state: 'finished', response: '', attempt: 1 } as const;
const life = async (id: string): Promise<string> => {
  const bytes = await double.object(`uploads/${id}/record/0000000000000001`)?.content.toBuffer();
  return (JSON.parse(String(bytes)) as Entry).life;
};
const number = (value: number): string => String(value).padStart(16, '0');
const fragment = (id: string, ofLife: string, start: number, end: number): string =>
  `uploads/${id}/fragment/${ofLife}/${number(start)}-${number(end)}-${number(Date.now())}-by`;

/** What a dry run says, which changes nothing; then the same happens, and after that nothing more. */
const expectRemoved = async (expected: Partial<GcCounts>): Promise<void> => {
  const before = { objects: keys(), uploads: double.uploads().length, bytes: double.totalBytes() };
  expect(await store.gc({ olderThanMs: 0, dryRun: true })).toEqual({ ...nothing, ...expected });
  expect({ objects: keys(), uploads: double.uploads().length, bytes: double.totalBytes() }).toEqual(before);
  expect(await store.gc({ olderThanMs: hour })).toEqual(nothing);
  expect({ objects: keys(), uploads: double.uploads().length, bytes: double.totalBytes() }).toEqual(before);
  expect(await store.gc({ olderThanMs: 0 })).toEqual({ ...nothing, ...expected });
  expect(await store.gc({ olderThanMs: 0 })).toEqual(nothing);
};

describe('what is needed stays', () => {
  test('uploads of every sort, and all that is not the store\u2019s', async () => {
    for (let i = 0; i < 5; i++) await half();
    await store.create(record({ length: 10 }), [new Uint8Array(10)]);
    await store.create(record());
    const whole = await half();
    await write(whole.id, partSize + 100, 3 * partSize);
    await update(whole.id, { state: 'claimed', attempt: 1 });
    await update(whole.id, finished);
    await put('other/0123456789abcdef/record/0000000000000007', 5);
    await put('uploads/notes.txt', 5);
    await put('uploads/short/record/0000000000000007', 5);
    await put(`uploads/${newId()}/record/7`, 5);
    await put(`uploads/${newId()}/thumbnail`, 5);
    await put(`uploads/deeper/${newId()}/content`, 5);
    await begin(`other/${newId()}/content`, 2000);
    await begin(`uploads/${newId()}/thumbnail`, 2000);
    await begin('uploads/film.mp4', 2000);
    await begin(`uploads-2/${newId()}/content`, 2000);
    await expectRemoved({});
    const chunks: Uint8Array[] = [];
    for await (const chunk of store.read(whole.id, 0, 3 * partSize)) chunks.push(chunk as Uint8Array);
    expect(Buffer.concat(chunks).equals(seededContent(3 * partSize))).toBe(true);
  });

  test('the parts of an upload that was answered and never read', async () => {
    const { id } = await half({ length: partSize + 100 });
    await update(id, finished);
    await expectRemoved({});
    const chunks: Uint8Array[] = [];
    for await (const chunk of store.read(id, 0, partSize + 100)) chunks.push(chunk as Uint8Array);
    expect(Buffer.concat(chunks)).toHaveLength(partSize + 100);
  });

  test('what is young', async () => {
    await begin(`uploads/${newId()}/content`, 2000);
    await put(`uploads/${newId()}/record/${number(7)}`, 5);
    expect(await store.gc({ olderThanMs: 60_000 })).toEqual(nothing);
    expect(double.uploads()).toHaveLength(1);
  });
});

describe('multipart uploads', () => {
  test('of no upload', async () => {
    for (let i = 0; i < 8; i++) await begin(`uploads/${newId()}/content`, 2000 + i);
    await expectRemoved({ multipartUploads: 8, bytes: 8 * 2000 + 28 });
    expect(double.uploads()).toEqual([]);
  });

  test('of an upload that has another: it keeps its own', async () => {
    const { id } = await half();
    for (let i = 0; i < 4; i++) await begin(`uploads/${id}/content`, 2000);
    await expectRemoved({ multipartUploads: 4, bytes: 8000 });
    expect(double.uploads()).toHaveLength(1);
    await write(id, partSize + 100, 3 * partSize);
    expect((await store.load(id))?.received).toEqual([{ start: 0, end: 3 * partSize }]);
  });

  test('of an upload that was answered before it was whole, which keeps its answer', async () => {
    const { id } = await half();
    await update(id, { ...finished, response: 'no' });
    await expectRemoved({ multipartUploads: 1, fragments: 1, bytes: partSize + 100 });
    expect((await store.load(id))?.record.response).toBe('no');
  });

  test.each([
    ['was removed', { state: 'removed', removedAt: 1 }, 3 * partSize, 1],
    // … whole, and all of it in parts.
    ['was handed over', { ...finished, moved: true }, partSize + 100, 0],
  ] as const)(
    'and fragments of one that %s, before they were discarded',
    async (_, facts, length, fragments) => {
      const { id } = await half({ length });
      await update(id, facts);
      await expectRemoved({ multipartUploads: 1, fragments, bytes: partSize + 100 });
      expect((await store.load(id))?.record).toMatchObject(facts);
    },
  );

  test('and the content of one that was put together under another', async () => {
    const { id } = await half({ length: partSize + 100 });
    await update(id, { state: 'claimed', attempt: 1 });
    await store.prepare?.(id);
    await begin(`uploads/${id}/content`, 2000);
    await put(fragment(id, await life(id), 0, 50), 50);
    await expectRemoved({ multipartUploads: 1, fragments: 1, bytes: 2050 });
    expect(double.object(`uploads/${id}/content`)?.size).toBe(partSize + 100);
  });
});

describe('objects', () => {
  test('fragments of another life', async () => {
    const { id } = await half();
    await put(fragment(id, 'another', 0, 70), 70);
    await expectRemoved({ fragments: 1, bytes: 70 });
    expect((await store.load(id))?.received).toEqual([{ start: 0, end: partSize + 100 }]);
  });

  test('whatever is in a folder without a first version', async () => {
    const id = newId();
    const ghosts = [7, 8].map((version) => `uploads/${id}/record/${number(version)}`);
    for (const key of [
      ...ghosts,
      fragment(id, 'a', 0, 1),
      `uploads/${id}/content`,
      `uploads/${id}/discarded`,
    ])
      await put(key, 5);
    await expectRemoved({ records: 2, fragments: 1, contents: 1, markers: 1, bytes: 25 });
    expect(keys()).toEqual([]);
  });

  test('content that came with an upload whose discarding broke off', async () => {
    const made = record({ length: 3000 });
    await store.create(made, [new Uint8Array(3000)]);
    await update(made.id, { state: 'removed', removedAt: 1 });
    await put(`uploads/${made.id}/discarded`);
    await expectRemoved({ contents: 1, bytes: 3000 });
    expect(double.totalBytes()).toBeLessThan(1000);
    expect((await store.load(made.id))?.record.state).toBe('removed');
  });

  test('what a start-up probe has left', async () => {
    await put('uploads/resumable-http-probe-0123456789ab');
    await put('uploads/resumable-http-probe-of-somebody-else');
    await expectRemoved({ markers: 1 });
    expect(keys()).toEqual(['uploads/resumable-http-probe-of-somebody-else']);
  });
});

test.each([
  ['under a prefix without a slash', 'a/b'],
  ['in the whole bucket', ''],
])('%s', async (_, prefix) => {
  store = openStore(prefix);
  const own = await half();
  const root = prefix === '' ? '' : 'a/b/';
  await begin(`${root}${newId()}/content`, 2000);
  await begin(`${root}x/${newId()}/content`, 2000);
  await put(`uploads/${newId()}/content`, 5);
  await expectRemoved({ multipartUploads: 1, bytes: 2000 });
  expect((await store.load(own.id))?.received).toEqual([{ start: 0, end: partSize + 100 }]);
});

test('an upload that is discarded again has nothing left, wherever it broke off before', async () => {
  const { id } = await half();
  await put(`uploads/${id}/discarded`);
  await store.discard(id);
  expect(double.uploads()).toEqual([]);
  expect(keys().some((key) => key.includes('fragment'))).toBe(false);
  const made = record({ length: 3000 });
  await store.create(made, [new Uint8Array(3000)]);
  await put(`uploads/${made.id}/discarded`);
  const before = double.calls.PutObject;
  await store.discard(made.id);
  await store.discard(made.id);
  expect(double.calls.PutObject).toBe(before + 1);
  expect(double.totalBytes()).toBeLessThan(1500);
});

test('a version that a late update has left is not taken for one of the next upload', async () => {
  const made = record({ length: 10 });
  await put(`uploads/${made.id}/record/${number(7)}`, 5);
  await store.create(made);
  expect((await store.load(made.id))?.version).toBe(1);
});

test('a server that takes a multipart upload away before its object is there is waited for', async () => {
  const { id } = await half();
  double.faults.on('ListParts', { what: 'status', status: 404, code: 'NoSuchUpload', nth: [1, 2] });
  expect((await store.load(id))?.received).toEqual([{ start: 0, end: partSize + 100 }]);
  for (const { key, uploadId } of double.uploads())
    await client.send(
      new AbortMultipartUploadCommand({ Bucket: double.bucket, Key: key, UploadId: uploadId }),
    );
  await expect(store.load(id)).rejects.toMatchObject({ code: 'gone' });
});

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('no age: %d', async (olderThanMs) => {
  await expect(store.gc({ olderThanMs })).rejects.toMatchObject({ code: 'invalid_argument' });
});
