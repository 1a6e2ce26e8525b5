import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { type PutProgress, type S3Store, type S3StoreOptions, s3Store } from '../../stores/s3.ts';
import { type S3Double, type S3DoubleOptions, startS3Double } from './s3/double.ts';

export interface DirectWorld {
  readonly double: S3Double;
  readonly store: S3Store;
  /** Of an object, with its size. */
  sum(key: string): string | undefined;
  /** Fails for requests the double does not know, and for multipart uploads that nobody has ended. */
  close(): Promise<void>;
}

export const minPart = 1024;
export const partSize = 4096;

/** A store of parts of 4 KiB, for use without a server. Requests are not repeated unless the client is told to. */
export const directWorld = async ({
  client: clientOptions = {},
  store: storeOptions = {},
  double: doubleOptions = {},
  loseFirst,
}: {
  readonly client?: S3ClientConfig;
  readonly store?: Partial<S3StoreOptions>;
  readonly double?: S3DoubleOptions;
  /** The first of these commands succeeds without having been sent. */
  readonly loseFirst?: string;
} = {}): Promise<DirectWorld> => {
  const double = await startS3Double({ minPartSize: minPart, ...doubleOptions });
  const client = new S3Client({ ...double.clientConfig, maxAttempts: 1, ...clientOptions });
  let lost = false;
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (request) => {
        if (lost || loseFirst === undefined || commandName !== loseFirst) return next(request);
        lost = true;
        return { output: { $metadata: {} }, response: undefined };
      },
    { step: 'initialize' },
  );
  const store = s3Store({
    client,
    bucket: double.bucket,
    partSize,
    ...storeOptions,
    provider: { minPart, ...storeOptions.provider },
  });
  return {
    double,
    store,
    sum: (key) => {
      const object = double.object(key);
      return object && sumOf(object.content.toBuffer());
    },
    async close() {
      const open = double.uploads().map(({ key }) => key);
      client.destroy();
      await double.close();
      expect(double.unknown).toEqual([]);
      expect(open).toEqual([]);
    },
  };
};

export const sumOf = (bytes: Uint8Array): string =>
  `${bytes.byteLength} ${createHash('sha256').update(bytes).digest('hex')}`;

/** In chunks that fit nothing. */
export const streamOf = (bytes: Uint8Array, chunk = 1000): Readable => {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.byteLength; at += chunk) chunks.push(bytes.subarray(at, at + chunk));
  return Readable.from(chunks, { objectMode: false });
};

/** The bytes, and then nothing more, for ever. */
export const silentAfter = (bytes: Uint8Array): Readable => {
  const stream = new Readable({ read() {} });
  if (bytes.byteLength > 0) stream.push(bytes);
  return stream;
};

/** The bytes, and then an error. */
export const failingAfter = (bytes: Uint8Array, error: Error): Readable =>
  Readable.from(
    (async function* () {
      yield* streamOf(bytes);
      throw error;
    })(),
    { objectMode: false },
  );

export const settled = async <T>(promise: Promise<T>): Promise<unknown> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  );

export const expectNeverFalls = (progress: readonly PutProgress[]): void => {
  progress.forEach(({ read, stored, parts }, i) => {
    const before = progress[i - 1] ?? { read: 0, stored: 0, parts: 0 };
    expect(read).toBeGreaterThanOrEqual(before.read);
    expect(stored).toBeGreaterThanOrEqual(before.stored);
    expect(parts).toBeGreaterThanOrEqual(before.parts);
    expect(stored).toBeLessThanOrEqual(read);
  });
};
