import { randomBytes } from 'node:crypto';
import type { Checksum } from './checksums.ts';
import type { WriteConditions } from './conditions.ts';
import type { Content } from './content.ts';
import { S3Error } from './errors.ts';
import type { Encryption, ObjectProperties } from './properties.ts';

export interface StoredObject extends ObjectProperties {
  readonly bucket: string;
  readonly key: string;
  readonly size: number;
  /** With its quotes. */
  readonly etag: string;
  readonly lastModified: Date;
  readonly content: Content;
  readonly checksum?: Checksum;
  /** Of a multipart upload: how many it was put together from. */
  readonly partCount?: number;
}

export interface ObjectDraft {
  readonly content: Content;
  readonly etag: string;
  readonly properties: ObjectProperties;
  readonly checksum?: Checksum | undefined;
  readonly partCount?: number;
}

/** S3 promises an MD5 only for objects that are not encrypted with a key of KMS. */
export const etagOf = (md5: Buffer, { algorithm }: Encryption): string =>
  `"${(algorithm === 'AES256' ? md5 : randomBytes(16)).toString('hex')}"`;

/** S3 lists in the order of the bytes of UTF-8, which is not that of JavaScript's strings. */
export const byUtf8 = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

const maxKeyBytes = 1024;

/** Buckets and the objects in them. */
export class ObjectStore {
  readonly #buckets = new Map<string, Map<string, StoredObject>>();

  createBucket(name: string): void {
    if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) || name.includes('..')) {
      throw new S3Error('InvalidBucketName', 'The specified bucket is not valid.', { BucketName: name });
    }
    if (this.#buckets.has(name)) {
      throw new S3Error(
        'BucketAlreadyOwnedByYou',
        'Your previous request to create the named bucket succeeded and you already own it.',
        { BucketName: name },
      );
    }
    this.#buckets.set(name, new Map());
  }

  checkBucket(name: string): void {
    this.#objects(name);
  }

  /** Undefined where there is none. */
  find(bucket: string, key: string): StoredObject | undefined {
    return this.#objects(bucket).get(key);
  }

  get(bucket: string, key: string): StoredObject {
    const object = this.find(bucket, key);
    if (object === undefined) throw new S3Error('NoSuchKey', undefined, { Key: key });
    return object;
  }

  /** Writes in one step, or throws what the conditions say. */
  put(bucket: string, key: string, draft: ObjectDraft, conditions: WriteConditions): StoredObject {
    const objects = this.#objects(bucket);
    checkKey(key);
    conditions.check(objects.get(key));
    const { content, etag, properties, checksum, partCount } = draft;
    const object: StoredObject = {
      bucket,
      key,
      size: content.size,
      etag,
      lastModified: new Date(),
      ...properties,
      content,
      ...(checksum === undefined ? {} : { checksum }),
      ...(partCount === undefined ? {} : { partCount }),
    };
    objects.set(key, object);
    return object;
  }

  delete(bucket: string, key: string, conditions: WriteConditions): void {
    const objects = this.#objects(bucket);
    conditions.check(objects.get(key));
    objects.delete(key);
  }

  /** All in the order S3 lists them; of all buckets where none is named. */
  list(bucket?: string): StoredObject[] {
    const names = bucket === undefined ? [...this.#buckets.keys()].sort() : [bucket];
    return names.flatMap((name) => [...this.#objects(name).values()].sort((a, b) => byUtf8(a.key, b.key)));
  }

  #objects(bucket: string): Map<string, StoredObject> {
    const objects = this.#buckets.get(bucket);
    if (objects === undefined) throw new S3Error('NoSuchBucket', undefined, { BucketName: bucket });
    return objects;
  }
}

export const checkKey = (key: string): void => {
  const size = Buffer.byteLength(key);
  if (size <= maxKeyBytes) return;
  throw new S3Error('KeyTooLongError', 'Your key is too long', { Size: size, MaxSizeAllowed: maxKeyBytes });
};
