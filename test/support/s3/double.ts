import { once, setMaxListeners } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type Call, CallLog, type Unknown } from './calls.ts';
import { type Fault, type FaultRule, Faults } from './faults.ts';
import { MultipartUploads, type StoredPart, type StoredUpload } from './multipart.ts';
import { ObjectStore, type StoredObject } from './object-store.ts';
import type { S3Operation } from './operations.ts';
import { createS3Server } from './server.ts';
import type { Rules } from './work.ts';

export type { Call, Fault, FaultRule, Rules, S3Operation, StoredObject, StoredPart, StoredUpload, Unknown };

export interface S3DoubleOptions extends Partial<Rules> {
  /** There from the start: `test-bucket`. */
  readonly buckets?: readonly string[];
}

/** S3 in this process, in memory and over real HTTP, as strict as AWS or stricter. */
export interface S3Double {
  readonly port: number;
  readonly endpoint: string;
  /** The first of its buckets. */
  readonly bucket: string;
  /** For `new S3Client`. */
  readonly clientConfig: {
    readonly endpoint: string;
    readonly region: string;
    readonly forcePathStyle: true;
    readonly credentials: Rules['credentials'];
  };
  readonly faults: Faults;
  /** How many requests of each kind have come, whatever became of them. */
  readonly calls: Readonly<Record<S3Operation, number>>;
  /** All requests of a known kind, in the order of their arrival. */
  readonly log: readonly Call[];
  /** What was asked for that the double does not know, and answered 501: a test has to find this empty. */
  readonly unknown: readonly Unknown[];
  /** In the order S3 lists them; of all buckets where none is named. */
  objects(bucket?: string): readonly StoredObject[];
  /** Of the first bucket where none is named. */
  object(key: string, bucket?: string): StoredObject | undefined;
  /** Multipart uploads in progress: what nobody completes or aborts is paid for for ever. */
  uploads(bucket?: string): readonly StoredUpload[];
  /** Of all objects, and of all parts of uploads in progress. */
  totalBytes(): number;
  /** Ends all connections and waits. */
  close(): Promise<void>;
}

const defaults: Rules = {
  credentials: { accessKeyId: 'AKIADOUBLE', secretAccessKey: 'double/secret+key' },
  region: 'us-east-1',
  wrongRegion: 'malformed',
  minPartSize: 5 * 1024 * 1024,
  equalPartSizes: false,
  repeatedComplete: 'again',
  conditionalWrites: 'atomic',
  acls: true,
  pageSize: 1000,
  maxPutSize: 5 * 1024 ** 3,
  completeErrors: 'status',
};

export const startS3Double = async ({
  buckets = ['test-bucket'],
  ...options
}: S3DoubleOptions = {}): Promise<S3Double> => {
  const rules: Rules = { ...defaults, ...options };
  const objects = new ObjectStore();
  for (const bucket of buckets) objects.createBucket(bucket);
  const uploads = new MultipartUploads(objects, rules);
  const faults = new Faults();
  const log = new CallLog();
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  const server = createS3Server({ rules, objects, uploads, faults, log, closing: closing.signal });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const endpoint = `http://127.0.0.1:${port}`;
  const bucket = buckets[0] ?? '';
  let closed: Promise<void> | undefined;
  return {
    port,
    endpoint,
    bucket,
    clientConfig: { endpoint, region: rules.region, forcePathStyle: true, credentials: rules.credentials },
    faults,
    calls: log.calls,
    log: log.log,
    unknown: log.unknown,
    objects: (name) => objects.list(name),
    object: (key, name = bucket) => objects.find(name, key),
    uploads: (name) => uploads.list(name),
    totalBytes() {
      const parts = uploads.list().flatMap((upload) => [...upload.parts.values()]);
      return [...objects.list(), ...parts].reduce((sum, { size }) => sum + size, 0);
    },
    close() {
      closed ??= new Promise((resolve) => {
        closing.abort();
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closed;
    },
  };
};
