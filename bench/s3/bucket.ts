import { createHash, randomBytes } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  S3Client,
} from '@aws-sdk/client-s3';
import type { S3Target } from '../../test/s3-servers/targets.ts';

/** What the client sends over and over, as in `servers/sending.js`. */
const block = Buffer.alloc(2 ** 20, 'resumable');
const sums = new Map<number, string>();

/** The SHA-256 of an upload of that size. */
const sumOf = (size: number): string => {
  const known = sums.get(size);
  if (known !== undefined) return known;
  const hash = createHash('sha256');
  for (let left = size; left > 0; left -= block.length) hash.update(block.subarray(0, left));
  const sum = hash.digest('hex');
  sums.set(size, sum);
  return sum;
};

interface Stored {
  readonly key: string;
  readonly size: number;
}

/** The one bucket of a run, looked into behind the back of whoever is measured. */
export class Bucket {
  /** For every process that is measured: where the bucket is, and the same client options for all. */
  readonly env: Readonly<Record<string, string>>;
  readonly #client: S3Client;
  readonly #name = `bench-${randomBytes(6).toString('hex')}`;

  private constructor({ endpoint, region, accessKeyId, secretAccessKey }: S3Target) {
    const clientOptions = {
      endpoint,
      region,
      credentials: { accessKeyId, secretAccessKey },
      forcePathStyle: true,
    };
    this.#client = new S3Client(clientOptions);
    this.env = {
      // Not an argument: those are shown to everybody on the machine.
      BENCH_S3: JSON.stringify({ bucket: this.#name, clientOptions }),
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    };
  }

  /** Runs `use` with a new bucket, which is removed after it. */
  static async with<T>(target: S3Target, use: (bucket: Bucket) => Promise<T>): Promise<T> {
    const bucket = new Bucket(target);
    try {
      await bucket.#client.send(new CreateBucketCommand({ Bucket: bucket.#name }));
      try {
        return await use(bucket);
      } finally {
        await bucket.#remove();
      }
    } finally {
      bucket.#client.destroy();
    }
  }

  /** Rejects unless so many objects have this size, and the first of them the bytes that were sent. */
  async assertStored(size: number, count = 1): Promise<void> {
    const found = (await this.#list()).filter((object) => object.size === size);
    const [first] = found;
    if (first === undefined || found.length !== count) {
      throw new Error(`of ${count} objects of ${size} bytes the bucket has ${found.length}`);
    }
    const { Body } = await this.#client.send(new GetObjectCommand({ Bucket: this.#name, Key: first.key }));
    const hash = createHash('sha256');
    for await (const chunk of (Body ?? []) as AsyncIterable<Uint8Array>) hash.update(chunk);
    const sum = hash.digest('hex');
    if (sum !== sumOf(size)) throw new Error(`stored with SHA-256 ${sum}, sent with ${sumOf(size)}`);
  }

  /** Removes all objects, and all uploads that nobody has ended. */
  async empty(): Promise<void> {
    const objects = await this.#list();
    while (objects.length > 0) {
      const Objects = objects.splice(0, 1000).map(({ key }) => ({ Key: key }));
      const { Errors = [] } = await this.#client.send(
        new DeleteObjectsCommand({ Bucket: this.#name, Delete: { Objects, Quiet: true } }),
      );
      const [error] = Errors;
      if (error !== undefined) throw new Error(`${error.Key} cannot be removed: ${error.Message}`);
    }
    for (;;) {
      const { Uploads = [] } = await this.#client.send(
        new ListMultipartUploadsCommand({ Bucket: this.#name }),
      );
      if (Uploads.length === 0) return;
      for (const { Key, UploadId } of Uploads) {
        await this.#client.send(new AbortMultipartUploadCommand({ Bucket: this.#name, Key, UploadId }));
      }
    }
  }

  /** A bucket that cannot be removed is told of, but hides no failure of what was done in it. */
  async #remove(): Promise<void> {
    try {
      await this.empty();
      await this.#client.send(new DeleteBucketCommand({ Bucket: this.#name }));
    } catch (error) {
      process.stderr.write(`s3: the bucket ${this.#name} could not be removed: ${error}\n`);
    }
  }

  async #list(): Promise<Stored[]> {
    const all: Stored[] = [];
    let token: string | undefined;
    do {
      const { Contents = [], NextContinuationToken } = await this.#client.send(
        new ListObjectsV2Command({ Bucket: this.#name, ContinuationToken: token }),
      );
      all.push(...Contents.map(({ Key = '', Size = 0 }) => ({ key: Key, size: Size })));
      token = NextContinuationToken;
    } while (token !== undefined);
    return all;
  }
}
