import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { S3Client } from '@aws-sdk/client-s3';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type PutProgress, type Source, s3Store } from '../../stores/s3.ts';
import {
  type DirectWorld,
  directWorld,
  failingAfter,
  minPart,
  partSize,
  settled,
  silentAfter,
  streamOf,
  sumOf,
} from '../support/s3-direct.ts';
import { seededContent } from '../support/seeded-content.ts';

let world: DirectWorld;
let folder: string;
beforeEach(async () => {
  world = await directWorld({ double: { buckets: ['test-bucket', 'other-bucket'] } });
  folder = await mkdtemp(join(tmpdir(), 'compose-'));
});
afterEach(async () => {
  await world.close();
  await rm(folder, { recursive: true });
});

/** No two of them begin alike. */
const bytesOf = (size: number, seed = size): Uint8Array => seededContent(size, seed + 1);
const until = async (isSo: () => boolean): Promise<void> => {
  while (!isSo()) await delay(2);
};

/** An object with these bytes, and no trace of how it was made. */
const objectOf = async (key: string, bytes: Uint8Array): Promise<{ readonly key: string }> => {
  await world.store.putStream(key, Readable.from([Buffer.from(bytes)]), { partSize: 1e6 }).result;
  return { key };
};
const fileOf = async (name: string, bytes: Uint8Array): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
};
/** Of the requests since `from`, bytes that objects were read for. */
const readSince = (from: number): number =>
  world.double.log
    .slice(from)
    .filter(({ operation }) => operation === 'GetObject')
    .reduce((sum, { sent }) => sum + sent, 0);

const expectComposed = async (sources: readonly Source[], bytes: readonly Uint8Array[]): Promise<void> => {
  const whole = Buffer.concat(bytes);
  const result = await world.store.compose('a', sources).result;
  expect(world.sum('a')).toBe(sumOf(whole));
  expect(result).toEqual({ key: 'a', size: whole.byteLength, etag: world.double.object('a')?.etag });
};

describe('an object is put together', () => {
  test('from a stream, a file, bytes and an object', async () => {
    const [first, second, third, fourth] = [bytesOf(5000), bytesOf(6000), bytesOf(7000), bytesOf(8000)];
    const sources = [streamOf(first), await fileOf('b', second), third, await objectOf('d', fourth)];
    await expectComposed(sources, [first, second, third, fourth]);
  });

  test('from streams of unknown size anywhere', async () => {
    const object = await objectOf('o', bytesOf(3000));
    const [a, b, c] = [bytesOf(10), bytesOf(9000), bytesOf(700)];
    const sources = [streamOf(a), object, streamOf(b), object, Readable.from([]), streamOf(c)];
    await expectComposed(sources, [a, bytesOf(3000), b, bytesOf(3000), c]);
  });

  test('whatever the sources are', async () => {
    const sizes = [0, 1, 500, minPart - 1, minPart, minPart + 1, 2 * minPart - 1, partSize, 10_000];
    const objects = new Map<number, { readonly key: string }>();
    for (const size of sizes) objects.set(size, await objectOf(`o${size}`, bytesOf(size)));
    const anySource = fc.record({
      kind: fc.constantFrom('object', 'object', 'stream', 'bytes', 'range'),
      size: fc.constantFrom(...sizes),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(anySource, { maxLength: 8 }), async (given) => {
        const bytes: Uint8Array[] = [];
        const sources: Source[] = given.map(({ kind, size }): Source => {
          const whole = bytesOf(size);
          const [start, end] = [Math.floor(size / 3), size - Math.floor(size / 5)];
          bytes.push(kind === 'range' ? whole.subarray(start, end) : whole);
          if (kind === 'stream') return streamOf(whole);
          if (kind === 'bytes') return whole;
          const { key = '' } = objects.get(size) ?? {};
          return kind === 'range' ? { key, start, end } : { key };
        });
        const from = world.double.log.length;
        await expectComposed(sources, bytes);
        const parts = world.double.object('a')?.partCount ?? 1;
        if (parts > 1) expect(readSince(from)).toBeLessThanOrEqual(minPart * given.length);
      }),
      { numRuns: 30 },
    );
  }, 60_000);

  test('of small ones in one request', async () => {
    const { double } = world;
    const object = await objectOf('o', bytesOf(300));
    const before = { ...double.calls };
    await expectComposed(
      [bytesOf(100), object, streamOf(bytesOf(200))],
      [100, 300, 200].map((n) => bytesOf(n)),
    );
    expect(double.calls.PutObject - before.PutObject).toBe(1);
    expect(double.calls.CreateMultipartUpload).toBe(before.CreateMultipartUpload);
  });

  test.each([[[]], [[new Uint8Array()]], [[Readable.from([])]]])('of nothing', async (sources) => {
    await expectComposed(sources, []);
  });

  test('of large objects without a byte of them passing through here', async () => {
    const sizes = [10_000, 20_000, minPart, 100];
    const objects = [];
    for (const size of sizes) objects.push(await objectOf(`o${size}`, bytesOf(size)));
    const { double } = world;
    const [from, before] = [double.log.length, { ...double.calls }];
    await expectComposed(
      objects,
      sizes.map((size) => bytesOf(size)),
    );
    expect(readSince(from)).toBe(0);
    expect(double.calls.UploadPart).toBe(before.UploadPart);
    expect(double.calls.UploadPartCopy).toBe(4);
  });

  test('with as little read of an object as makes what is before it a part', async () => {
    const object = await objectOf('o', bytesOf(50_000));
    const from = world.double.log.length;
    await expectComposed([bytesOf(24), object, bytesOf(1)], [bytesOf(24), bytesOf(50_000), bytesOf(1)]);
    expect(readSince(from)).toBe(minPart - 24);
  });

  test('from objects of other buckets, with keys of any characters, and ranges of them', async () => {
    const { double, store } = world;
    const client = new S3Client(double.clientConfig);
    const provider = { minPart };
    const other = s3Store({ client, bucket: 'other-bucket', partSize, provider });
    const whole = bytesOf(9000);
    const sources: Source[] = [];
    for (const [at, key] of ['日本/é ü+&?%41.bin', "a b/'(c)*!~", 'plain'].entries()) {
      await (at === 1 ? store : other).putStream(key, streamOf(whole)).result;
      sources.push({ key, start: 100, end: 8000, ...(at !== 1 && { bucket: 'other-bucket' }) });
    }
    const range = whole.subarray(100, 8000);
    await expectComposed(
      [...sources, bytesOf(1), ...sources],
      [range, range, range, bytesOf(1), range, range, range],
    );
    client.destroy();
  });

  test('over an object that is one of its own sources', async () => {
    await objectOf('a', bytesOf(5000));
    await expectComposed(
      [{ key: 'a' }, bytesOf(10), { key: 'a' }],
      [bytesOf(5000), bytesOf(10), bytesOf(5000)],
    );
  });

  test('with what is said of it, and nothing of what is said of the sources', async () => {
    await world.store.putStream('o', streamOf(bytesOf(5000)), { object: { Metadata: { of: 'source' } } })
      .result;
    const object = { ContentType: 'text/css', Metadata: { a: 'b' } };
    await world.store.compose('a', [{ key: 'o' }, { key: 'o' }], { object }).result;
    expect(world.double.object('a')).toMatchObject({ contentType: 'text/css', metadata: { a: 'b' } });
  });

  test('in parts of one size, where the provider wants them so', async () => {
    const r2 = await directWorld({
      store: { provider: { equalParts: true } },
      double: { equalPartSizes: true },
    });
    const content = bytesOf(20_000);
    await r2.store.putStream('o', streamOf(content)).result;
    const sources = [bytesOf(100), { key: 'o' }, streamOf(bytesOf(300)), { key: 'o', start: 1 }];
    await r2.store.compose('a', sources).result;
    const whole = Buffer.concat([bytesOf(100), content, bytesOf(300), content.subarray(1)]);
    expect(r2.sum('a')).toBe(sumOf(whole));
    expect(r2.double.calls.UploadPartCopy).toBeGreaterThan(4);
    await r2.close();
  });

  test('with progress that never falls, and the states of a stream', async () => {
    const object = await objectOf('o', bytesOf(50_000));
    world.double.faults.on('UploadPartCopy', { nth: 1, what: 'delay', delayMs: 50 });
    const progress: PutProgress[] = [];
    const options = { onProgress: (now: PutProgress) => progress.push(now) };
    await world.store.compose('a', [object, streamOf(bytesOf(9000)), object], options).result;
    progress.forEach(({ read, stored, parts }, i) => {
      const before = progress[i - 1] ?? { read: 0, stored: 0, parts: 0 };
      expect(read).toBeGreaterThanOrEqual(before.read);
      expect(stored).toBeGreaterThanOrEqual(before.stored);
      expect(parts).toBeGreaterThanOrEqual(before.parts);
    });
    const states = progress.map(({ state }) => state).filter((state, i, all) => state !== all[i - 1]);
    expect(states).toEqual(['reading', 'sending', 'completing', 'done']);
    expect(progress.at(-1)).toMatchObject({ read: 109_000, stored: 109_000 });
  });

  test('through a body that breaks off and goes on', async () => {
    const object = await objectOf('o', bytesOf(50_000));
    world.double.faults.on('GetObject', { nth: [1, 2], what: 'cut' });
    await expectComposed([bytesOf(24), object], [bytesOf(24), bytesOf(50_000)]);
    expect(world.double.calls.GetObject).toBe(3);
  });
});

describe('a source that changes meanwhile is an error, and nothing is made', () => {
  const gone = { code: 'gone' };
  const expectNothing = (): void => {
    expect(world.double.object('a')).toBeUndefined();
    expect(world.double.uploads()).toEqual([]);
  };

  test('an object that is copied', async () => {
    const { double, store } = world;
    const object = await objectOf('o', bytesOf(50_000));
    const source = silentAfter(new Uint8Array());
    const made = store.compose('a', [source, object]);
    await until(() => double.calls.HeadObject > 0);
    await objectOf('o', bytesOf(50_000, 7));
    source.push(null);
    await expect(made.result).rejects.toMatchObject({
      ...gone,
      id: 'o',
      cause: { name: 'PreconditionFailed' },
    });
    expectNothing();
  });

  test.each(['another', 'shorter', 'no more'])('an object that is read, and is %s', async (what) => {
    const { double, store } = world;
    const object = await objectOf('o', bytesOf(500));
    const source = silentAfter(bytesOf(10));
    const made = store.compose('a', [source, object]);
    await until(() => double.calls.HeadObject > 0);
    if (what === 'no more') await objectOf('o', new Uint8Array());
    else await objectOf('o', bytesOf(what === 'shorter' ? 10 : 500, 7));
    source.push(null);
    await expect(made.result).rejects.toMatchObject({ ...gone, id: 'o' });
    expectNothing();
  });

  test.each([
    ['another', 500],
    ['longer', 501],
    ['shorter', 10],
  ])('a file that is %s', async (_, size) => {
    const path = await fileOf('f', bytesOf(500));
    const source = silentAfter(bytesOf(10));
    const made = world.store.compose('a', [source, path]);
    await until(() => world.double.calls.HeadBucket > 0);
    await delay(50);
    await writeFile(path, bytesOf(size, 7));
    source.push(null);
    await expect(made.result).rejects.toMatchObject({ ...gone, id: path });
    expectNothing();
  });
});

describe('what cannot be is said, and leaves nothing', () => {
  test.each([
    ['not_found', { key: 'no-such-object' }],
    ['not_found', '/no/such/file'],
    ['invalid_argument', tmpdir()],
    ['invalid_argument', { key: 'o', end: 5001 }],
    ['invalid_argument', { key: 'o', start: 5, end: 4 }],
    ['invalid_argument', { key: 'o', start: -1 }],
    ['invalid_argument', 5 as unknown as string],
    ['invalid_argument', undefined as unknown as string],
    ['not_found', { key: 'o', bucket: 'other-bucket' }],
  ])('with %s: %j', async (code, bad) => {
    await objectOf('o', bytesOf(5000));
    const source = streamOf(bytesOf(5000));
    const from = world.double.log.length;
    await expect(world.store.compose('a', [source, bad]).result).rejects.toMatchObject({ code });
    expect(source.destroyed).toBe(true);
    // Nothing was sent before that was known.
    for (const { operation } of world.double.log.slice(from)) expect(operation).toMatch(/^Head/);
  });

  test('too many parts, before any byte moves', async () => {
    const other = await directWorld({ store: { provider: { maxParts: 3 } } });
    await other.store.putStream('o', streamOf(bytesOf(5000))).result;
    const sources = Array.from({ length: 4 }, () => ({ key: 'o' }));
    const before = other.double.log.length;
    await expect(other.store.compose('a', sources).result).rejects.toMatchObject({ code: 'too_large' });
    for (const { operation } of other.double.log.slice(before)) expect(operation).toBe('HeadObject');
    const streams = Array.from({ length: 20 }, () => streamOf(bytesOf(5000)));
    await expect(other.store.compose('a', streams).result).rejects.toMatchObject({ code: 'too_large' });
    expect(other.double.uploads()).toEqual([]);
    await other.close();
  });

  test('a part, a copy, a completion or a read that fails', async () => {
    const object = await objectOf('o', bytesOf(50_000));
    const { faults, uploads } = world.double;
    for (const operation of [
      'CreateMultipartUpload',
      'UploadPart',
      'UploadPartCopy',
      'CompleteMultipartUpload',
      'GetObject',
      'HeadObject',
    ] as const) {
      const rule = faults.on(operation, { nth: 1, what: 'status', status: 500 });
      const failure = await settled(
        world.store.compose('a', [streamOf(bytesOf(24)), object, bytesOf(9000)]).result,
      );
      expect(failure).toMatchObject({ code: 'store_failed', cause: { $metadata: { httpStatusCode: 500 } } });
      rule.remove();
      expect(uploads()).toEqual([]);
    }
  });

  test('a copy that fails in the body of a 200', async () => {
    const object = await objectOf('o', bytesOf(50_000));
    world.double.faults.on('UploadPartCopy', { nth: 1, what: 'status', status: 200 });
    const made = world.store.compose('a', [object, object]);
    await expect(made.result).rejects.toMatchObject({ code: 'store_failed' });
    expect(world.double.object('a')).toBeUndefined();
  });

  test('a stream that fails, however long before its turn', async () => {
    const error = new Error('too early');
    const first = silentAfter(bytesOf(5000));
    const second = silentAfter(bytesOf(10));
    const made = world.store.compose('a', [first, second]);
    second.destroy(error);
    await delay(20);
    first.push(null);
    await expect(made.result).rejects.toMatchObject({ code: 'interrupted', cause: error });
    const third = world.store.compose('a', [failingAfter(bytesOf(9000), error), bytesOf(1)]);
    await expect(third.result).rejects.toMatchObject({ code: 'interrupted', cause: error });
  });

  test('a stream that is there twice', async () => {
    const stream = streamOf(bytesOf(5000));
    await expect(world.store.compose('a', [stream, stream]).result).rejects.toMatchObject({
      code: 'invalid_argument',
    });
  });
});

describe('an abort leaves nothing', () => {
  test.each(['HeadObject', 'CreateMultipartUpload', 'UploadPart', 'UploadPartCopy', 'GetObject'] as const)(
    'during %s',
    async (operation) => {
      const { double, store } = world;
      const object = await objectOf('o', bytesOf(50_000));
      const before = double.calls[operation];
      double.faults.on(operation, { what: 'delay', delayMs: 60, when: 'after' });
      const controller = new AbortController();
      const source = streamOf(bytesOf(24));
      const options = { signal: controller.signal };
      const made = store.compose('a', [source, object, bytesOf(9000), silentAfter(bytesOf(1))], options);
      await until(() => double.calls[operation] > before);
      controller.abort();
      await expect(made.result).rejects.toMatchObject({
        code: 'interrupted',
        message: 'the upload was aborted',
      });
      expect(source.destroyed).toBe(true);
      await made.abort();
      await delay(100);
      expect(double.uploads()).toEqual([]);
      expect(double.object('a')).toBeUndefined();
    },
  );
});
