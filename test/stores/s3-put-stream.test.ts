import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PutProgress, PutState } from '../../stores/s3.ts';
import {
  type DirectWorld,
  directWorld,
  expectNeverFalls,
  failingAfter,
  partSize,
  settled,
  silentAfter,
  streamOf,
  sumOf,
} from '../support/s3-direct.ts';
import { seededContent } from '../support/seeded-content.ts';

let world: DirectWorld;
beforeEach(async () => {
  world = await directWorld();
});
afterEach(() => world.close());

const content = seededContent(10 * partSize + 123);
/** As it would come to another process. */
const sent = (state: PutState | undefined): PutState => JSON.parse(JSON.stringify(state));
const until = async (isSo: () => boolean): Promise<void> => {
  while (!isSo()) await delay(2);
};

const isPart =
  (number: number) =>
  ({ partNumber }: { readonly partNumber?: number }): boolean =>
    partNumber === number;

/** Each state once, where it changes. */
const statesOf = (progress: readonly PutProgress[]): readonly string[] =>
  progress.map(({ state }) => state).filter((state, i, all) => state !== all[i - 1]);

describe('a stream becomes an object', () => {
  test.each([0, 1, partSize - 1, partSize, partSize + 1, 3 * partSize, 3 * partSize + 1])(
    'of %i bytes',
    async (size) => {
      const bytes = content.subarray(0, size);
      const result = await world.store.putStream('a', streamOf(bytes)).result;
      expect(world.sum('a')).toBe(sumOf(bytes));
      expect(result).toEqual({ key: 'a', size, etag: world.double.object('a')?.etag });
      const { calls } = world.double;
      const isWhole = size <= partSize;
      expect(calls.PutObject).toBe(isWhole ? 1 : 0);
      expect(calls.UploadPart).toBe(isWhole ? 0 : Math.ceil(size / partSize));
      expect(calls.CreateMultipartUpload).toBe(isWhole ? 0 : 1);
    },
  );

  test.each([1, 7, partSize, 3 * partSize + 5, 1e6])('from chunks of %i bytes', async (chunk) => {
    const bytes = content.subarray(0, chunk === 1 ? partSize + 7 : undefined);
    await world.store.putStream('a', streamOf(bytes, chunk)).result;
    expect(world.sum('a')).toBe(sumOf(bytes));
  });

  test('in order, however its parts finish', async () => {
    const { double, store } = world;
    double.faults.on('UploadPart', { nth: [1, 4], what: 'delay', delayMs: 100 });
    double.faults.on('UploadPart', { nth: 2, what: 'delay', delayMs: 50 });
    const progress: PutProgress[] = [];
    await store.putStream('a', streamOf(content), { onProgress: (now) => progress.push(now) }).result;
    expect(world.sum('a')).toBe(sumOf(content));
    expect(statesOf(progress)).toEqual(['reading', 'sending', 'completing', 'done']);
    expectNeverFalls(progress);
    const size = content.byteLength;
    expect(progress.at(-1)).toEqual({ state: 'done', read: size, stored: size, parts: 11 });
  });

  test('from a stream of text', async () => {
    await world.store.putStream('a', Readable.from(['日本', 'é'])).result;
    expect(world.double.object('a')?.content.toBuffer().toString()).toBe('日本é');
  });

  test('with what is said of it', async () => {
    const object = { ContentType: 'text/css', Metadata: { a: 'b' }, StorageClass: 'STANDARD_IA' } as const;
    for (const size of [10, 2 * partSize]) {
      await world.store.putStream(`a${size}`, streamOf(content.subarray(0, size)), { object }).result;
      const made = world.double.object(`a${size}`);
      expect(made).toMatchObject({
        contentType: 'text/css',
        metadata: { a: 'b' },
        storageClass: 'STANDARD_IA',
      });
    }
  });

  test('with parts that grow, so that 10,000 of them reach far, but not past the memory budget', async () => {
    const other = await directWorld({ store: { provider: { maxParts: 20 } } });
    const options = { memoryBudget: 3 * partSize };
    await other.store.putStream('a', streamOf(content), options).result;
    const sizes = other.double.log.filter(({ operation }) => operation === 'UploadPart');
    expect(sizes.map(({ received }) => received)).toEqual(
      [1, 1, 2, 2, 3].map((parts) => parts * partSize).concat(partSize + 123),
    );
    const tooMuch = await settled(
      other.store.putStream('b', streamOf(seededContent(60 * partSize)), options).result,
    );
    expect(tooMuch).toMatchObject({ code: 'too_large' });
    expect(other.double.object('b')).toBeUndefined();
    for (const { key, uploadId } of other.double.uploads()) {
      const state = {
        key,
        uploadId,
        plan: { size: partSize, maxPart: partSize, maxParts: 20 },
        parts: [],
        offset: 0,
      };
      await other.store.putStream(key, streamOf(content), { state }).abort();
    }
    await other.close();
  });

  test('that is no longer than an object can be', async () => {
    const other = await directWorld({ store: { provider: { maxObject: 2 * partSize } } });
    const put = other.store.putStream('a', streamOf(content));
    await expect(put.result).rejects.toMatchObject({ code: 'too_large', expected: 2 * partSize });
    await put.abort();
    await other.close();
  });

  test('through a client that repeats what fails', async () => {
    const other = await directWorld({ client: { maxAttempts: 3 } });
    const { faults } = other.double;
    faults.on('UploadPart', { nth: 2, what: 'status', status: 503 });
    faults.on('UploadPart', { nth: 4, what: 'reset', when: 'after' });
    faults.on('CreateMultipartUpload', { nth: 1, what: 'status', status: 500 });
    faults.on('CompleteMultipartUpload', { nth: 1, what: 'reset', when: 'after' });
    await other.store.putStream('a', streamOf(content)).result;
    expect(other.sum('a')).toBe(sumOf(content));
    await other.close();
  });

  test('although the answer to its completion was lost, and the upload is forgotten', async () => {
    const other = await directWorld({ client: { maxAttempts: 3 }, double: { repeatedComplete: 'gone' } });
    other.double.faults.on('CompleteMultipartUpload', { nth: 1, what: 'reset', when: 'after' });
    const { etag } = await other.store.putStream('a', streamOf(content)).result;
    expect(other.sum('a')).toBe(sumOf(content));
    expect(etag).toBe(other.double.object('a')?.etag);
    await other.close();
  });

  test('in parts of one size, where the provider wants them so', async () => {
    const provider = { equalParts: true, maxParts: 11 };
    const other = await directWorld({ store: { provider }, double: { equalPartSizes: true } });
    await other.store.putStream('a', streamOf(content)).result;
    expect(other.sum('a')).toBe(sumOf(content));
    await other.close();
  });
});

describe('memory', () => {
  /** Most bytes that had been read and were not yet acknowledged. */
  const mostHeld = async (memoryBudget: number, concurrency: number) => {
    const { double, store } = world;
    double.faults.on('UploadPart', { what: 'delay', delayMs: 5 });
    let [read, most, underway] = [0, 0, 0];
    let stored = 0;
    const source = Readable.from(
      (async function* () {
        for await (const chunk of streamOf(content, 512)) {
          read += chunk.byteLength;
          most = Math.max(most, read - stored);
          yield chunk;
        }
      })(),
      { objectMode: true, highWaterMark: 1 },
    );
    const options = {
      memoryBudget,
      concurrency,
      onProgress: (progress: PutProgress) => {
        stored = progress.stored;
        const open = double.log.filter(
          ({ operation, outcome }) => operation === 'UploadPart' && outcome === 'under way',
        );
        underway = Math.max(underway, open.length);
      },
    };
    await store.putStream('a', source, options).result;
    expect(world.sum('a')).toBe(sumOf(content));
    return { most, underway };
  };

  test.each([1, 2, 3, 6])('is at most that of %i parts, with the one that is being read', async (parts) => {
    const { most, underway } = await mostHeld(parts * partSize, 10);
    expect(most).toBeLessThanOrEqual(parts * partSize + 2 * 512); // and what the stream itself holds
    expect(underway).toBeLessThanOrEqual(parts);
  });

  test('is not used for more requests than are asked for', async () => {
    expect((await mostHeld(100 * partSize, 2)).underway).toBeLessThanOrEqual(2);
  });

  test.each([
    { memoryBudget: partSize - 1 },
    { memoryBudget: 0 },
    { memoryBudget: Number.NaN },
    { concurrency: 0 },
    { concurrency: 1.5 },
    { partSize: 1023 },
  ])('and concurrency are refused where they are not usable: %j', async (options) => {
    const source = streamOf(content);
    const put = world.store.putStream('a', source, options);
    await expect(put.result).rejects.toMatchObject({ code: 'invalid_argument' });
    await put.abort();
    expect(source.destroyed).toBe(true);
    expect(world.double.log).toEqual([]);
  });
});

describe('an abort', () => {
  const aborted = { code: 'interrupted', message: 'the upload was aborted' };

  test.each([
    ['HeadBucket', 0],
    ['CreateMultipartUpload', 0],
    ['UploadPart', 1],
    ['UploadPart', 5],
  ] as const)('during %s leaves nothing, with %i parts before it', async (operation, before) => {
    const { double, store } = world;
    double.faults.on(operation, { nth: before + 1, what: 'delay', delayMs: 60, when: 'after' });
    const progress: PutProgress[] = [];
    const source = streamOf(content);
    const put = store.putStream('a', source, { onProgress: (now) => progress.push(now) });
    await until(() => double.calls[operation] > before);
    await put.abort();
    expect(double.uploads()).toEqual([]);
    await expect(put.result).rejects.toMatchObject(aborted);
    expect(put.state()).toBeUndefined();
    expect(source.destroyed).toBe(true);
    expect(progress.at(-1)?.state).toBe('aborted');
    expectNeverFalls(progress);
    await put.abort();
    await delay(100); // what was under way may still arrive
    expect(double.totalBytes()).toBe(0);
  });

  test('by a signal, with its reason, while the source is silent', async () => {
    const controller = new AbortController();
    const source = silentAfter(content);
    const put = world.store.putStream('a', source, { signal: controller.signal });
    await until(() => put.state()?.offset === 10 * partSize);
    const reason = new Error('no more');
    controller.abort(reason);
    await expect(put.result).rejects.toMatchObject({ ...aborted, cause: reason });
    expect(world.double.totalBytes()).toBe(0);
  });

  test('by a signal of before costs no request', async () => {
    const put = world.store.putStream('a', streamOf(content), { signal: AbortSignal.abort() });
    await expect(put.result).rejects.toMatchObject(aborted);
    expect(world.double.log).toEqual([]);
  });

  test('at the first progress is heard', async () => {
    const put = world.store.putStream('a', streamOf(content), { onProgress: () => void put.abort() });
    await expect(put.result).rejects.toMatchObject(aborted);
    expect(world.double.totalBytes()).toBe(0);
  });

  test.each([10, partSize * 2])('is too late while the object of %i bytes is being made', async (size) => {
    const { double, store } = world;
    for (const operation of ['PutObject', 'CompleteMultipartUpload'] as const)
      double.faults.on(operation, { what: 'delay', delayMs: 50 });
    const put = store.putStream('a', streamOf(content.subarray(0, size)));
    await until(() => double.calls.PutObject + double.calls.CompleteMultipartUpload > 0);
    await put.abort();
    await expect(put.result).resolves.toMatchObject({ size });
    expect(double.object('a')?.size).toBe(size);
  });

  test('that finds the object could not be made removes the parts', async () => {
    const { double, store } = world;
    double.faults.on('CompleteMultipartUpload', { what: 'status', status: 500, delayMs: 50 });
    const put = store.putStream('a', streamOf(content));
    await until(() => double.calls.CompleteMultipartUpload > 0);
    await put.abort();
    await expect(put.result).rejects.toMatchObject(aborted);
  });

  test('that fails says so, leaves its state, and can be repeated', async () => {
    const { double, store } = world;
    const rule = double.faults.on('AbortMultipartUpload', { what: 'status', status: 503 });
    const put = store.putStream('a', silentAfter(content));
    await until(() => put.state()?.offset === 10 * partSize);
    await expect(put.abort()).rejects.toMatchObject({ name: 'SlowDown' });
    await expect(put.result).rejects.toMatchObject({ code: 'store_failed', cause: { name: 'SlowDown' } });
    expect(put.state()?.offset).toBe(10 * partSize);
    rule.remove();
    await put.abort();
    expect(put.state()).toBeUndefined();
  });

  test('is repeated when the upload has not ended by the first', async () => {
    // As when a part arrives whose request was cancelled.
    const other = await directWorld({ loseFirst: 'AbortMultipartUploadCommand' });
    const put = other.store.putStream('a', silentAfter(content));
    await until(() => put.state()?.offset === 10 * partSize);
    await put.abort();
    expect(other.double.calls).toMatchObject({ AbortMultipartUpload: 1, ListParts: 2 });
    await other.close();
  });
});

describe('a failure', () => {
  test('of a part keeps those that are there, and is told while the source is silent', async () => {
    const { double, store } = world;
    double.faults.on('UploadPart', { match: isPart(4), what: 'status', status: 500, delayMs: 50 });
    const progress: PutProgress[] = [];
    const source = silentAfter(content.subarray(0, 4 * partSize));
    const put = store.putStream('a', source, { onProgress: (now) => progress.push(now) });
    await expect(put.result).rejects.toMatchObject({
      code: 'store_failed',
      cause: { name: 'InternalError' },
    });
    expect(progress.at(-1)?.state).toBe('failed');
    expectNeverFalls(progress);
    expect(source.destroyed).toBe(true);
    const state = put.state();
    await put.abort();
    expect(state).toMatchObject({ key: 'a', offset: 3 * partSize });
    expect(progress.at(-1)?.state).toBe('aborted');
  });

  test('of the source keeps what is stored, and its error', async () => {
    const error = new Error('read failed');
    const put = world.store.putStream('a', failingAfter(content, error));
    await expect(put.result).rejects.toMatchObject({ code: 'interrupted', cause: error });
    expect(put.state()?.offset).toBe(10 * partSize);
    await put.abort();
  });

  test('of a source that was cut off without an error is none of an end', async () => {
    const source = silentAfter(content);
    const put = world.store.putStream('a', source);
    await until(() => put.state()?.offset === 10 * partSize);
    source.destroy();
    await expect(put.result).rejects.toMatchObject({ code: 'interrupted' });
    await put.abort();
    expect(world.double.object('a')).toBeUndefined();
  });

  test("of a source before anybody reads it is nobody else's", async () => {
    world.double.faults.on('HeadBucket', { what: 'delay', delayMs: 50 });
    const source = silentAfter(content);
    const put = world.store.putStream('a', source);
    const error = new Error('too early');
    source.destroy(error);
    await expect(put.result).rejects.toMatchObject({ code: 'interrupted', cause: error });
    expect(put.state()).toBeUndefined();
  });

  test('is a source that was read before, or has no bytes', async () => {
    const source = streamOf(content);
    for await (const _ of source);
    for (const bad of [source, Readable.from([1, 2])]) {
      const put = world.store.putStream('a', bad);
      await expect(put.result).rejects.toMatchObject({ code: 'invalid_argument' });
    }
    expect(world.double.objects()).toEqual([]);
  });

  test('of the bucket is told before any byte moves', async () => {
    const other = await directWorld({ store: { bucket: 'no-such-bucket' } });
    const put = other.store.putStream('a', streamOf(content));
    await expect(put.result).rejects.toMatchObject({
      code: 'store_failed',
      message: 'there is no bucket no-such-bucket',
    });
    await other.close();
  });

  test('of who is told about the progress fails the upload', async () => {
    const error = new Error('not mine');
    const put = world.store.putStream('a', streamOf(content), {
      onProgress: ({ parts }) => {
        if (parts === 2) throw error;
      },
    });
    await expect(put.result).rejects.toMatchObject({ code: 'handler_failed', cause: error });
    await put.abort();
  });

  test('is an upload that somebody else has ended', async () => {
    const { double, store } = world;
    const source = silentAfter(content.subarray(0, 3 * partSize));
    const put = store.putStream('a', source);
    await until(() => put.state()?.offset === 3 * partSize);
    await store.putStream('a', streamOf(content), { state: sent(put.state()) }).abort();
    source.push(content.subarray(3 * partSize));
    await expect(put.result).rejects.toMatchObject({ code: 'gone', id: 'a' });
    await put.abort();
    expect(double.uploads()).toEqual([]);
  });
});
