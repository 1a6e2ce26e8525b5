import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { describe, expect, test } from 'vitest';
import type { S3Double } from '../support/s3/double.ts';
import { clientOf, expectNothingUnknown, MiB, refusal, startDouble } from './s3-helpers.ts';

const start = async (): Promise<{
  readonly double: S3Double;
  readonly client: S3Client;
  /** With the SDK's own retries. */
  readonly patient: S3Client;
  put(client: S3Client, Key?: string, Body?: Buffer): Promise<unknown>;
  get(client: S3Client, Key?: string): Promise<Uint8Array | undefined>;
}> => {
  const double = await startDouble();
  const Bucket = double.bucket;
  return {
    double,
    client: clientOf(double),
    patient: clientOf(double, { maxAttempts: 3 }),
    put: (client, Key = 'k', Body = Buffer.from('hello')) =>
      client.send(new PutObjectCommand({ Bucket, Key, Body })),
    async get(client, Key = 'k') {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
      return Body?.transformToByteArray();
    },
  };
};

describe('a fault', () => {
  test('before the effect and after it', async () => {
    const { double, client, put } = await start();
    const before = double.faults.on('PutObject', { nth: 1, when: 'before', what: 'reset' });
    expect(await refusal(put(client))).toMatch(/ECONNRESET|hang up/);
    expect(double.objects()).toEqual([]);
    const after = double.faults.on('PutObject', { nth: 1, when: 'after', what: 'reset' });
    expect(await refusal(put(client))).toMatch(/ECONNRESET|hang up/);
    expect(double.objects()).toHaveLength(1);
    await put(client);
    expect([before.fired, after.fired]).toEqual([1, 1]);
    expect(double.log.map(({ outcome, effective }) => [outcome, effective])).toEqual([
      ['lost', false],
      ['lost', true],
      ['answered', true],
    ]);
  });

  test.each([
    [{}, 'InternalError 500'],
    [{ status: 503 }, 'SlowDown 503'],
    [{ status: 400 }, 'RequestTimeout 400'],
    [{ status: 409 }, 'ConditionalRequestConflict 409'],
    [{ status: 403, code: 'ExpiredToken' }, 'ExpiredToken 403'],
  ])('that is an error: %j', async (error, expected) => {
    const { double, client, put } = await start();
    double.faults.on('PutObject', { what: 'status', ...error });
    expect(await refusal(put(client))).toBe(expected);
    expect(double.objects()).toEqual([]);
    double.faults.clear();
    double.faults.on('any', { what: 'status', when: 'after', ...error });
    expect(await refusal(put(client))).toBe(expected);
    expect(double.objects()).toHaveLength(1);
  });

  test('of a HEAD has no body', async () => {
    const { double, client } = await start();
    double.faults.on('HeadObject', { what: 'status', status: 503 });
    const sent = client.send(new HeadObjectCommand({ Bucket: double.bucket, Key: 'k' }));
    expect(await refusal(sent)).toMatch(/ 503$/);
  });

  test('is what the SDK tries again after', async () => {
    const { double, patient, put, get } = await start();
    double.faults.on('PutObject', { nth: [1, 2], what: 'status', status: 503 });
    double.faults.on('GetObject', { nth: 1, what: 'reset' });
    await put(patient);
    expect(await get(patient)).toHaveLength(5);
    expect(double.calls).toMatchObject({ PutObject: 3, GetObject: 2, HeadObject: 0 });
    expect(double.log.map(({ operation, status }) => `${operation} ${status}`)).toEqual([
      'PutObject 503',
      'PutObject 503',
      'PutObject 200',
      'GetObject undefined',
      'GetObject 200',
    ]);
    expectNothingUnknown(double);
  });

  test('may be meant for some calls only, and be taken back', async () => {
    const { double, client, put } = await start();
    const rule = double.faults.on('PutObject', { nth: 2, match: ({ key }) => key === 'b', what: 'status' });
    for (const key of ['a', 'b', 'a']) await put(client, key);
    expect(await refusal(put(client, 'b'))).toBe('InternalError 500');
    const always = double.faults.on('PutObject', { what: 'status' });
    expect(await refusal(put(client, 'a'))).toBe('InternalError 500');
    always.remove();
    await put(client, 'b');
    expect(rule.fired).toBe(1);
  });

  test('in the body of a 200', async () => {
    const { double, client } = await start();
    const id = { Bucket: double.bucket, Key: 'k' };
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(id));
    const part = { ...id, UploadId, PartNumber: 1 };
    const { ETag } = await client.send(new UploadPartCommand({ ...part, Body: 'x' }));
    double.faults.on('CompleteMultipartUpload', {
      nth: 1,
      what: 'status',
      status: 200,
      code: 'PreconditionFailed',
    });
    double.faults.on('CompleteMultipartUpload', { nth: 2, when: 'after', what: 'status', status: 200 });
    const complete = () =>
      client.send(
        new CompleteMultipartUploadCommand({
          ...id,
          UploadId,
          MultipartUpload: { Parts: [{ ETag, PartNumber: 1 }] },
        }),
      );
    expect(await refusal(complete())).toMatch(/^PreconditionFailed /);
    expect(double.uploads()).toHaveLength(1);
    expect(await refusal(complete())).toMatch(/^InternalError /);
    expect(double.uploads()).toHaveLength(0);
    await complete();
    expect(double.log.slice(-3).map(({ status, code }) => `${status} ${code}`)).toEqual([
      '200 PreconditionFailed',
      '200 InternalError',
      '200 undefined',
    ]);
  });
});

describe('time', () => {
  test('a delay, and a wait for the test', async () => {
    const { double, client, put } = await start();
    double.faults.on('PutObject', { nth: 1, what: 'delay', delayMs: 100 });
    const began = performance.now();
    await put(client);
    expect(performance.now() - began).toBeGreaterThan(95);
    let release = (): void => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    double.faults.on('PutObject', { when: 'after', what: 'delay', until });
    let done = false;
    const held = put(client, 'held').then(() => {
      done = true;
    });
    while (double.object('held') === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(done).toBe(false);
    release();
    await held;
  });

  test.each(['before', 'after'] as const)('a test is called %s the effect, and waited for', async (when) => {
    const { double, client, put } = await start();
    const seen: number[] = [];
    double.faults.on('PutObject', {
      nth: 2,
      when,
      what: 'reset',
      until: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        seen.push(double.objects().length);
      },
    });
    await put(client, 'a');
    expect(seen).toEqual([]);
    expect(await refusal(put(client, 'b'))).toMatch(/ECONNRESET|hang up/);
    expect(seen).toEqual([when === 'before' ? 1 : 2]);
  });

  test('close ends what still waits', async () => {
    const { double, client, put } = await start();
    double.faults.on('PutObject', { nth: 1, what: 'delay', until: new Promise(() => {}) });
    double.faults.on('PutObject', { nth: 2, what: 'delay', delayMs: 60_000 });
    const sent = [put(client, 'a'), put(client, 'b')].map(refusal);
    while (double.calls.PutObject < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    await double.close();
    for (const each of await Promise.all(sent)) expect(each).toMatch(/ECONNRESET|hang up/);
    expect(double.objects()).toEqual([]);
  });

  test('bodies that trickle, either way', async () => {
    const { double, client, put, get } = await start();
    double.faults.on('any', { what: 'slow', bytesPerSecond: MiB });
    const body = Buffer.alloc(MiB / 8, 'x');
    const began = performance.now();
    await put(client, 'k', body);
    const written = performance.now() - began;
    expect(await get(client)).toHaveLength(body.length);
    expect(written).toBeGreaterThan(100);
    expect(performance.now() - began - written).toBeGreaterThan(100);
  });
});

describe('bodies that break off', () => {
  test('a request, after so many bytes', async () => {
    const { double, client, put } = await start();
    double.faults.on('PutObject', { what: 'reset', afterBytes: MiB });
    expect(await refusal(put(client, 'k', Buffer.alloc(4 * MiB)))).toMatch(/ECONNRESET|EPIPE|hang up/);
    expect(double.log[0]?.received).toBeGreaterThanOrEqual(MiB);
    expect(double.log[0]?.received).toBeLessThan(2 * MiB);
    expect(double.totalBytes()).toBe(0);
  });

  test('an answer, after so many bytes or in the middle', async () => {
    const { double, client, put } = await start();
    const body = Buffer.alloc(100_000, 'content');
    await put(client, 'k', body);
    const read = async (): Promise<{ size: number; error: unknown }> => {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: double.bucket, Key: 'k' }));
      let size = 0;
      try {
        for await (const chunk of Body as AsyncIterable<Buffer>) size += chunk.length;
      } catch (error) {
        return { size, error };
      }
      return { size, error: undefined };
    };
    double.faults.on('GetObject', { nth: 1, what: 'cut' });
    expect(await read()).toMatchObject({
      size: 50_000,
      error: { message: expect.stringMatching(/abort|RESET/) },
    });
    double.faults.on('GetObject', { nth: 1, what: 'cut', afterBytes: 10 });
    expect(await read()).toMatchObject({ size: 10, error: expect.any(Error) });
    expect(await read()).toEqual({ size: 100_000, error: undefined });
    expect(double.log.map(({ outcome, sent }) => [outcome, sent])).toEqual([
      ['answered', 0],
      ['lost', 50_000],
      ['lost', 10],
      ['answered', 100_000],
    ]);
  });
});

test('an answer may be shorter than what it is of, and say nothing of it', async () => {
  const { double, client, put } = await start();
  await put(client, 'k', Buffer.alloc(100_000, 'content'));
  const read = async (): Promise<number | undefined> => {
    const range = { Bucket: double.bucket, Key: 'k', Range: 'bytes=0-99999' };
    const { Body } = await client.send(new GetObjectCommand(range));
    return (await Body?.transformToByteArray())?.length;
  };
  double.faults.on('GetObject', { nth: 1, what: 'short' });
  expect(await read()).toBe(50_000);
  double.faults.on('GetObject', { nth: 1, what: 'short', afterBytes: 0 });
  expect(await read()).toBe(0);
  expect(await read()).toBe(100_000);
  expect(double.log.slice(1).map(({ outcome, sent }) => [outcome, sent])).toEqual([
    ['answered', 50_000],
    ['answered', 0],
    ['answered', 100_000],
  ]);
});

test('64 MiB cost little', async () => {
  const { double, client, put, get } = await start();
  const body = Buffer.alloc(64 * MiB, 'content');
  await put(client, 'k', body);
  expect(await get(client)).toHaveLength(body.length);
  const received = double.log[0]?.received;
  expect(received).toBe(body.length);
  expect(double.object('k')?.content.size).toBe(body.length);
});
