import { createHash, createHmac } from 'node:crypto';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import {
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { afterEach, expect } from 'vitest';
import { type S3Double, type S3DoubleOptions, startS3Double } from '../support/s3/double.ts';

export const MiB = 1024 * 1024;

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Ended after the test. */
export const startDouble = async (options?: S3DoubleOptions): Promise<S3Double> => {
  const double = await startS3Double(options);
  cleanups.push(() => double.close());
  return double;
};

/** With the SDK's own settings, but for retries: none. */
export const clientOf = (double: S3Double, config: S3ClientConfig = {}): S3Client => {
  const client = new S3Client({ ...double.clientConfig, maxAttempts: 1, ...config });
  cleanups.push(() => client.destroy());
  return client;
};

/** A double, a client of it, and what puts an object there and returns its ETag. */
export const start = async (
  options?: S3DoubleOptions,
): Promise<{
  readonly double: S3Double;
  readonly client: S3Client;
  readonly Bucket: string;
  put(Key: string, Body?: string, more?: Partial<PutObjectCommandInput>): Promise<string>;
}> => {
  const double = await startDouble(options);
  const client = clientOf(double);
  const Bucket = double.bucket;
  return {
    double,
    client,
    Bucket,
    async put(Key, Body = 'content', more = {}) {
      const { ETag } = await client.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
      return ETag ?? '';
    },
  };
};

/** What the SDK makes of an error: its code, or the status where the answer to a HEAD has no body. */
export const refusal = async (sent: Promise<unknown>): Promise<string> => {
  const error: unknown = await sent.then(
    () => new Error('not refused'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof Error)) return String(error);
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number } };
  return `${error.name} ${$metadata?.httpStatusCode ?? error.message}`;
};

export interface RawRequest {
  readonly method?: string;
  /** Encoded, with the query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
  /** Headers that are sent, but not signed. */
  readonly unsigned?: Readonly<Record<string, string>>;
  readonly secret?: string;
  readonly accessKeyId?: string;
  readonly date?: Date;
  /** Of what `x-amz-content-sha256` says: by default the body's. */
  readonly payload?: string;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly code: string | undefined;
}

const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

export const signingKey = (secret: string, day: string, region = 'us-east-1'): Buffer =>
  [day, region, 's3', 'aws4_request'].reduce<Buffer | string>(
    (key, part) => hmac(key, part),
    `AWS4${secret}`,
  ) as Buffer;

/** A signer that shares nothing with the double's; header values are taken as bytes. */
export const signedHeaders = (double: S3Double, raw: RawRequest): Record<string, string> => {
  const { method = 'GET', path, body = '' } = raw;
  const { credentials, region } = double.clientConfig;
  const date = (raw.date ?? new Date()).toISOString().replace(/[-:]|\.\d+/g, '');
  const payload = raw.payload ?? createHash('sha256').update(body).digest('hex');
  const headers: Record<string, string> = {
    host: `127.0.0.1:${double.port}`,
    'x-amz-content-sha256': payload,
    'x-amz-date': date,
    ...raw.headers,
  };
  const names = Object.keys(headers).sort();
  const [pathname = '', search = ''] = path.split('?');
  const query = search.split('&').map((pair) => (pair === '' || pair.includes('=') ? pair : `${pair}=`));
  const lines = names.map((name) => `${name}:${headers[name]}\n`).join('');
  const canonical = [method, pathname, query.sort().join('&'), lines, names.join(';'), payload].join('\n');
  const scope = `${date.slice(0, 8)}/${region}/s3/aws4_request`;
  const hashed = createHash('sha256').update(canonical, 'latin1').digest('hex');
  const key = signingKey(raw.secret ?? credentials.secretAccessKey, date.slice(0, 8), region);
  const signature = hmac(key, ['AWS4-HMAC-SHA256', date, scope, hashed].join('\n')).toString('hex');
  const credential = `${raw.accessKeyId ?? credentials.accessKeyId}/${scope}`;
  return {
    ...headers,
    ...raw.unsigned,
    authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(';')}, Signature=${signature}`,
  };
};

export const send = (double: S3Double, raw: RawRequest): Promise<RawAnswer> =>
  new Promise((resolve, reject) => {
    const { method = 'GET', path, body = '' } = raw;
    const headers = signedHeaders(double, raw);
    const outgoing = request({ port: double.port, host: '127.0.0.1', method, path, headers }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const code = /<Code>(\w+)<\/Code>/.exec(text)?.[1];
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: text, code });
      });
    });
    outgoing.on('error', reject).end(Buffer.from(body));
  });

/** Writes these bytes to a fresh connection, and returns what comes back until it is closed. */
export const sendBytes = (double: S3Double, bytes: Buffer | string, end = true): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(double.port, '127.0.0.1');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
    socket.on('close', () => resolve(Buffer.concat(chunks).toString()));
    socket.write(bytes);
    if (end) socket.end();
  });

/** What no test may leave behind. */
export const expectNothingUnknown = (double: S3Double): void => {
  expect(double.unknown).toEqual([]);
};
