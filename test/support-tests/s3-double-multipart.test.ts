import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { describe, expect, test } from 'vitest';
import { startMultipart as start } from './multipart-helpers.ts';
import { clientOf, expectNothingUnknown, MiB, refusal, startDouble } from './s3-helpers.ts';

describe('a multipart upload', () => {
  test('from beginning to end', async () => {
    const said = { Metadata: { a: 'b' }, ContentType: 'text/x', Tagging: 't=1', ACL: 'private' as const };
    const { double, client, id, part, complete, content } = await start({}, said);
    // In any order; and of one number the last counts.
    const third = await part(3, 'third');
    await part(1, 'FIRST');
    const first = await part(1, 'first ');
    const second = await part(2, 'second ');
    expect(double.uploads()).toMatchObject([{ key: id.Key, uploadId: id.UploadId }]);
    expect(double.totalBytes()).toBe(18);
    expect(double.objects()).toEqual([]);
    const etag = await complete([first, second, third]);
    const md5s = ['first ', 'second ', 'third'].map((text) => createHash('md5').update(text).digest());
    expect(etag).toBe(`"${createHash('md5').update(Buffer.concat(md5s)).digest('hex')}-3"`);
    expect(content()).toBe('first second third');
    expect(double.object(id.Key)).toMatchObject({
      etag,
      partCount: 3,
      metadata: { a: 'b' },
      contentType: 'text/x',
      tags: { t: '1' },
      acl: 'private',
    });
    expect(double.uploads()).toEqual([]);
    expect(double.totalBytes()).toBe(18);
    const got = await client.send(
      new GetObjectCommand({ Bucket: id.Bucket, Key: id.Key, Range: 'bytes=4-8' }),
    );
    expect(await got.Body?.transformToString()).toBe('t sec');
    expectNothingUnknown(double);
  });

  test('parts that Complete does not name are gone', async () => {
    const { double, part, complete, content } = await start();
    const parts = [await part(1, 'a'), await part(2, 'b'), await part(5, 'c')];
    await complete([parts[0]!, parts[2]!]);
    expect(content()).toBe('ac');
    expect(double.totalBytes()).toBe(2);
  });

  test('without content', async () => {
    const { part, complete, content } = await start({ minPartSize: 5 * MiB });
    await complete([await part(1, Buffer.alloc(0))]);
    expect(content()).toBe('');
  });

  test('as the SDK does it by itself, in AWS sizes', async () => {
    const double = await startDouble();
    const client = clientOf(double);
    const Body = Buffer.alloc(12 * MiB, 'content');
    await new Upload({ client, params: { Bucket: double.bucket, Key: 'k', Body } }).done();
    expect(double.object('k')?.content.toBuffer().equals(Body)).toBe(true);
    expect(double.object('k')).toMatchObject({ partCount: 3, checksum: { type: 'COMPOSITE' } });
    expect(double.uploads()).toEqual([]);
    expectNothingUnknown(double);
  });
});

describe('what Complete refuses', () => {
  test('lists that do not fit', async () => {
    const { double, id, client, part, complete } = await start();
    const [one, two] = [await part(1, 'a'), await part(2, 'b')];
    expect(await refusal(complete([]))).toBe('MalformedXML 400');
    expect(await refusal(client.send(new CompleteMultipartUploadCommand(id)))).toBe('MalformedXML 400');
    expect(await refusal(complete([two, one]))).toBe('InvalidPartOrder 400');
    expect(await refusal(complete([one, one]))).toBe('InvalidPartOrder 400');
    expect(await refusal(complete([one, { ...two, ETag: one.ETag }]))).toBe('InvalidPart 400');
    expect(await refusal(complete([one, { ...two, PartNumber: 3 }]))).toBe('InvalidPart 400');
    const many = Array.from({ length: 10_001 }, (_, i) => ({ ...one, PartNumber: i + 1 }));
    expect(await refusal(complete(many))).toBe('MalformedXML 400');
    expect(await refusal(complete([one], { UploadId: 'none' }))).toBe('NoSuchUpload 404');
    expect(await refusal(complete([one], { Key: 'other' }))).toBe('NoSuchUpload 404');
    expect(await refusal(complete([one, two], { MpuObjectSize: 3 }))).toBe('InvalidRequest 400');
    expect(double.uploads()[0]?.parts.size).toBe(2);
    await complete([one, { ...two, ETag: two.ETag?.replaceAll('"', '') }], { MpuObjectSize: 2 });
    expectNothingUnknown(double);
  });

  test('parts that are too small, but for the last', async () => {
    const { part, complete } = await start({ minPartSize: 5 * MiB });
    const least = await part(1, Buffer.alloc(5 * MiB));
    const small = await part(2, Buffer.alloc(5 * MiB - 1));
    expect(await refusal(complete([least, small, await part(3, 'x')]))).toBe('EntityTooSmall 400');
    await complete([least, small]);
  });

  test('parts of several sizes, where R2 is played', async () => {
    const { part, complete } = await start({ equalPartSizes: true });
    const [long, longer] = [await part(1, 'aaa'), await part(2, 'bbbb')];
    const [same, short] = [await part(3, 'ccc'), await part(4, 'd')];
    expect(await refusal(complete([long, longer, short]))).toBe('InvalidPart 400');
    expect(await refusal(complete([long, longer]))).toBe('InvalidPart 400');
    await complete([long, same, short]);
  });

  test('a key that is taken', async () => {
    const upload = await start();
    const other = await upload.again();
    const parts = [await upload.part(1, 'mine')];
    const others = [await other.part(1, 'theirs')];
    const outcomes = await Promise.allSettled([
      upload.complete(parts, { IfNoneMatch: '*' }),
      other.complete(others, { IfNoneMatch: '*' }),
    ]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(upload.double.uploads()).toHaveLength(1);
    expect(upload.double.log.at(-1)).toMatchObject({ status: 412, code: 'PreconditionFailed' });
    const last = await upload.again();
    const etag = upload.double.object('the/key')?.etag;
    await last.complete([await last.part(1, 'x')], { IfMatch: etag });
    expect(last.content()).toBe('x');
  });

  test('in the body of a 200, if told to', async () => {
    const { double, part, complete } = await start({ completeErrors: 'in-200' });
    const one = await part(1, 'a');
    expect(await refusal(complete([{ ...one, ETag: '"no"' }]))).toMatch(/^InvalidPart /);
    expect(double.log.at(-1)).toMatchObject({ status: 200, code: 'InvalidPart', effective: false });
  });
});

describe('an upload that has ended', () => {
  test.each(['again', 'checked', 'gone'] as const)('a repeated Complete: %s', async (repeatedComplete) => {
    const { double, part, complete, content } = await start({ repeatedComplete });
    const one = await part(1, 'a');
    const two = await part(2, 'b');
    const etag = await complete([one], { IfNoneMatch: '*' });
    const repeated = complete([one], { IfNoneMatch: '*' });
    if (repeatedComplete === 'again') expect(await repeated).toBe(etag);
    else if (repeatedComplete === 'checked') expect(await refusal(repeated)).toBe('PreconditionFailed 412');
    else expect(await refusal(repeated)).toBe('NoSuchUpload 404');
    expect(await refusal(complete([one, two]))).toBe('NoSuchUpload 404');
    expect(await refusal(part(2, 'b'))).toBe('NoSuchUpload 404');
    expect(content()).toBe('a');
    expect(double.objects()).toHaveLength(1);
  });

  test('an abort, once and again', async () => {
    const { double, client, id, part, complete, abort } = await start();
    const one = await part(1, 'a');
    await abort();
    await abort();
    expect(double.totalBytes()).toBe(0);
    expect(await refusal(part(2, 'b'))).toBe('NoSuchUpload 404');
    expect(await refusal(complete([one]))).toBe('NoSuchUpload 404');
    expect(await refusal(client.send(new ListPartsCommand(id)))).toBe('NoSuchUpload 404');
    const none = new AbortMultipartUploadCommand({ ...id, UploadId: 'none' });
    expect(await refusal(client.send(none))).toBe('NoSuchUpload 404');
  });

  test('an abort cannot undo a Complete', async () => {
    const { part, complete, abort, content } = await start();
    await complete([await part(1, 'a')]);
    expect(await refusal(abort())).toBe('NoSuchUpload 404');
    expect(content()).toBe('a');
  });

  test('a part whose bytes were still coming leaves nothing', async () => {
    const { double, part, abort } = await start();
    double.faults.on('UploadPart', { what: 'slow', bytesPerSecond: 2 * MiB });
    const sent = refusal(part(1, Buffer.alloc(MiB)));
    while ((double.log.at(-1)?.received ?? 0) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await abort();
    expect(await sent).toBe('NoSuchUpload 404');
    expect(double.totalBytes()).toBe(0);
  });
});

describe('parts', () => {
  test('numbers', async () => {
    const { double, part } = await start();
    await part(10_000, 'x');
    expect(await refusal(part(10_001, 'x'))).toBe('InvalidArgument 400');
    expect(await refusal(part(0, 'x'))).toBe('InvalidArgument 400');
    expect(double.uploads()[0]?.parts.size).toBe(1);
  });

  test('that are copied', async () => {
    const { double, client, id, part, complete, content } = await start();
    const { Bucket } = id;
    await client.send(new PutObjectCommand({ Bucket, Key: 'source é', Body: '0123456789' }));
    const copy = async (PartNumber: number, CopySourceRange?: string, more = {}): Promise<CompletedPart> => {
      const CopySource = `${Bucket}/source%20%C3%A9`;
      const input = { ...id, PartNumber, CopySource, CopySourceRange, ...more };
      const { CopyPartResult } = await client.send(new UploadPartCopyCommand(input));
      return { PartNumber, ETag: CopyPartResult?.ETag };
    };
    await complete([await copy(1), await part(2, '-'), await copy(3, 'bytes=2-4')]);
    expect(content()).toBe('0123456789-234');
    expect(await refusal(copy(1))).toBe('NoSuchUpload 404');
    const other = await client.send(new CreateMultipartUploadCommand({ Bucket, Key: id.Key }));
    const { UploadId } = other;
    for (const range of ['bytes=0-10', 'bytes=5-2', 'bytes=0-', 'bytes=-3', '0-1']) {
      expect(await refusal(copy(1, range, { UploadId }))).toBe('InvalidArgument 400');
    }
    expect(await refusal(copy(1, undefined, { UploadId, CopySourceIfMatch: '"no"' }))).toBe(
      'PreconditionFailed 412',
    );
    expectNothingUnknown(double);
  });
});
