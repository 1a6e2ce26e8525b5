import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { UploadError } from '../../src/errors.ts';
import { isNoUpload, isPassing, setupFailures, statusOf, unusable } from './failures.ts';
import { type EncryptionFields, encoded, type ObjectFields } from './fields.ts';

/** An object as it was when it was looked at: whatever reads it names the ETag, and fails when it has changed. */
export interface PinnedObject {
  readonly bucket: string;
  readonly key: string;
  readonly size: number;
  readonly etag: string;
}

export interface ListedObject {
  readonly key: string;
  readonly size: number;
  readonly etag: string;
  readonly modifiedAt: number;
}

export interface TaggedBytes {
  readonly bytes: Uint8Array;
  /** Of the object they are of. */
  readonly etag: string;
}

export interface ListedPart {
  readonly number: number;
  readonly size: number;
  readonly etag: string;
  readonly modifiedAt: number;
}

export interface MultipartUpload {
  readonly key: string;
  readonly uploadId: string;
}

/** One sum over the whole object, in the place of a sum over those of its parts, which nobody else can check. */
const fullChecksum = { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' } as const;

/** As many as one DeleteObjects takes. */
const mostKeys = 1000;

/** How often a part is sent whose bytes have to be read for it: as often as the client sends any other by default. */
const mostAttempts = 3;

/** S3 takes no chunk below 8192 bytes (8 KiB) but the last. */
const chunkBytes = 64 * 1024;

/** How often a conditional write is asked for again while the server says that another is under way. */
const mostConflicts = 5;

export type Bucket = BucketClient;

/**
 * The requests this store makes, each as what it means here. Not named `Bucket`: where a class refers to itself, the
 * compiler (7.0) renames the properties of that name in it too.
 */
export class BucketClient {
  readonly #client: S3Client;
  readonly name: string;
  /** Requests so far, by operation: what an upload costs is to be seen. */
  readonly requests: Record<string, number> = {};
  readonly #encryption: EncryptionFields;
  #hasFullChecksum = true;

  /** `encryption` goes with all that is written. */
  constructor(client: S3Client, name: string, encryption: EncryptionFields = {}) {
    this.#client = client;
    this.name = name;
    this.#encryption = encryption;
  }

  /** Rejects with what is wrong, in words: no such bucket, another region, wrong credentials. */
  async assertUsable(): Promise<void> {
    try {
      await this.#send('HeadBucket', () => this.#client.send(new HeadBucketCommand({ Bucket: this.name })));
    } catch (cause) {
      throw new UploadError('store_failed', unusable(this.name, cause), { cause });
    }
  }

  /** Names the bucket among all that this process may use. */
  async address(): Promise<string> {
    const { endpoint, region } = this.#client.config;
    const { hostname, port, path } = (await endpoint?.()) ?? {};
    return JSON.stringify([hostname ?? (await region()), port, path, this.name]);
  }

  /** The failure of a request, in words where its status tells what is wrong with the bucket or the client. */
  explained(cause: unknown): unknown {
    if (!setupFailures.includes(statusOf(cause) ?? 0)) return cause;
    return new UploadError('store_failed', unusable(this.name, cause), { cause });
  }

  /** Resolves with the ETag. */
  async put(key: string, body: Uint8Array, fields: ObjectFields = {}): Promise<string> {
    const input = { ...this.#encryption, ...encoded(fields), Bucket: this.name, Key: key, Body: body };
    const { ETag = '' } = await this.#send('PutObject', () => this.#client.send(new PutObjectCommand(input)));
    return ETag;
  }

  /**
   * Makes an object where there is none; resolves with its ETag if it did. A request that was repeated because its
   * answer was lost may say undefined of its own success: who must know compares what is there.
   */
  async putNew(key: string, body: Uint8Array): Promise<string | undefined> {
    for (let conflicts = 0; ; conflicts++) {
      try {
        return await this.putIfNew(key, body);
      } catch (error) {
        if (statusOf(error) === 412) return undefined;
        if (statusOf(error) !== 409 || conflicts === mostConflicts) throw error;
      }
    }
  }

  /** The one request of it. Rejects with what the server said. */
  async putIfNew(key: string, body: Uint8Array): Promise<string> {
    const input = { ...this.#encryption, Bucket: this.name, Key: key, Body: body, IfNoneMatch: '*' };
    const { ETag = '' } = await this.#send('PutObject', () => this.#client.send(new PutObjectCommand(input)));
    return ETag;
  }

  /** The bytes from `start`, up to `end` where it is given; undefined when there is no such object. */
  async get(key: string, start = 0, end?: number): Promise<Uint8Array | undefined> {
    return (await this.getWithTag(key, start, end))?.bytes;
  }

  /** As `get`, and the object's ETag. */
  async getWithTag(key: string, start = 0, end?: number): Promise<TaggedBytes | undefined> {
    const found = await this.#get(key, start, end);
    if (found?.Body === undefined) return undefined;
    return { bytes: await found.Body.transformToByteArray(), etag: found.ETag ?? '' };
  }

  async open(key: string, start: number, end?: number): Promise<Readable | undefined> {
    return (await this.#get(key, start, end))?.Body as Readable | undefined;
  }

  async #get(key: string, start: number, end?: number): Promise<GetObjectCommandOutput | undefined> {
    const range =
      start === 0 && end === undefined ? {} : { Range: `bytes=${start}-${end === undefined ? '' : end - 1}` };
    const input = { Bucket: this.name, Key: key, ...range };
    try {
      return await this.#send('GetObject', () => this.#client.send(new GetObjectCommand(input)));
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw error;
    }
  }

  /** Undefined when there is no such object. */
  async sizeOf(key: string): Promise<number | undefined> {
    return (await this.pin(key))?.size;
  }

  /** Undefined when there is no such object. */
  async pin(key: string, bucket = this.name): Promise<PinnedObject | undefined> {
    const input = { Bucket: bucket, Key: key };
    try {
      const head = await this.#send('HeadObject', () => this.#client.send(new HeadObjectCommand(input)));
      return { bucket, key, size: head.ContentLength ?? 0, etag: head.ETag ?? '' };
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw error;
    }
  }

  /** The bytes `[start, end)`, at least one. Rejects with status 412 when it has changed. */
  async openPinned(object: PinnedObject, start: number, end: number, signal: AbortSignal): Promise<Readable> {
    const { bucket, key, etag } = object;
    const input = { Bucket: bucket, Key: key, IfMatch: etag, Range: `bytes=${start}-${end - 1}` };
    const { Body } = await this.#send('GetObject', () =>
      this.#client.send(new GetObjectCommand(input), { abortSignal: signal }),
    );
    return Body as Readable;
  }

  async *list(prefix: string): AsyncGenerator<ListedObject> {
    for await (const { Contents = [] } of this.#pages(prefix)) {
      for (const { Key = '', Size = 0, ETag = '', LastModified } of Contents) {
        yield { key: Key, size: Size, etag: ETag, modifiedAt: LastModified?.getTime() ?? 0 };
      }
    }
  }

  /** What comes next after the prefix, up to a `/`: as the folders in a folder. */
  async *folders(prefix: string): AsyncGenerator<string> {
    for await (const { CommonPrefixes = [] } of this.#pages(prefix, '/')) {
      for (const { Prefix = '' } of CommonPrefixes) yield Prefix.slice(prefix.length, -1);
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (let at = 0; at < keys.length; at += mostKeys) {
      const Objects = keys.slice(at, at + mostKeys).map((Key) => ({ Key }));
      const input = { Bucket: this.name, Delete: { Objects, Quiet: true } };
      const { Errors = [] } = await this.#send('DeleteObjects', () =>
        this.#client.send(new DeleteObjectsCommand(input)),
      );
      const [first] = Errors;
      if (first !== undefined)
        throw new Error(`${first.Key} was not deleted: ${first.Code} ${first.Message}`);
    }
  }

  async begin(key: string, fields: ObjectFields = {}): Promise<string> {
    const input = { ...this.#encryption, ...encoded(fields), Bucket: this.name, Key: key };
    const create = async (checksum: typeof fullChecksum | undefined): Promise<string> => {
      const { UploadId } = await this.#send('CreateMultipartUpload', () =>
        this.#client.send(new CreateMultipartUploadCommand({ ...input, ...checksum })),
      );
      if (UploadId === undefined) throw new Error('the server has made a multipart upload without a name');
      return UploadId;
    };
    if (!(await this.#asksForChecksum())) return create(undefined);
    try {
      return await create(fullChecksum);
    } catch (error) {
      if (!(statusOf(error) === 400 || statusOf(error) === 501)) throw error;
      const uploadId = await create(undefined);
      // So it was the checksum that the provider does not know.
      this.#hasFullChecksum = false;
      return uploadId;
    }
  }

  /** An upload that was begun with a checksum takes no part without one. */
  async #asksForChecksum(): Promise<boolean> {
    const { requestChecksumCalculation } = this.#client.config;
    return this.#hasFullChecksum && (await requestChecksumCalculation()) === 'WHEN_SUPPORTED';
  }

  /** Those in progress, of all keys below the prefix. */
  async *multipartUploads(prefix: string): AsyncGenerator<MultipartUpload & { readonly startedAt: number }> {
    for (let marker: { KeyMarker?: string; UploadIdMarker?: string } = {}; ; ) {
      const input = { Bucket: this.name, Prefix: prefix, ...marker };
      const page: ListMultipartUploadsCommandOutput = await this.#send('ListMultipartUploads', () =>
        this.#client.send(new ListMultipartUploadsCommand(input)),
      );
      for (const { Key = '', UploadId = '', Initiated } of page.Uploads ?? []) {
        if (Key.startsWith(prefix))
          yield { key: Key, uploadId: UploadId, startedAt: Initiated?.getTime() ?? 0 };
      }
      const { IsTruncated, NextKeyMarker, NextUploadIdMarker } = page;
      if (IsTruncated !== true || NextKeyMarker === undefined) return;
      marker = {
        KeyMarker: NextKeyMarker,
        ...(NextUploadIdMarker ? { UploadIdMarker: NextUploadIdMarker } : {}),
      };
    }
  }

  /** Resolves with the part's ETag. */
  async uploadPart(
    { key, uploadId }: MultipartUpload,
    number: number,
    body: Uint8Array,
    signal?: AbortSignal,
  ): Promise<string> {
    const input = { Bucket: this.name, Key: key, UploadId: uploadId, PartNumber: number, Body: body };
    const { ETag = '' } = await this.#send('UploadPart', () =>
      this.#client.send(new UploadPartCommand(input), signal && { abortSignal: signal }),
    );
    return ETag;
  }

  /**
   * As `uploadPart`, of `size` bytes that need not be here all at once. `read` is called again where a request is
   * repeated, which the client cannot do by itself. Rejects with what reading rejects with.
   */
  async uploadPartFrom(
    { key, uploadId }: MultipartUpload,
    number: number,
    size: number,
    read: () => AsyncIterable<Uint8Array>,
  ): Promise<string> {
    const input = {
      Bucket: this.name,
      Key: key,
      UploadId: uploadId,
      PartNumber: number,
      ContentLength: size,
    };
    for (let attempts = 1; ; attempts++) {
      const abort = new AbortController();
      let failure: { readonly error: unknown } | undefined;
      const Body = Readable.from(inChunks(read()), { objectMode: false });
      Body.once('error', (error) => {
        failure ??= { error };
        abort.abort();
      });
      try {
        const { ETag = '' } = await this.#send('UploadPart', () =>
          this.#client.send(new UploadPartCommand({ ...input, Body }), { abortSignal: abort.signal }),
        );
        return ETag;
      } catch (error) {
        if (failure?.error instanceof UploadError) throw failure.error;
        if (!isPassing(error) || attempts === mostAttempts) throw failure?.error ?? error;
      } finally {
        Body.destroy();
      }
    }
  }

  /**
   * The bytes `[start, end)` of an object, copied inside the provider. Resolves with the part's ETag, rejects with
   * status 412 when the object has changed.
   */
  async copyPart(
    { key, uploadId }: MultipartUpload,
    number: number,
    source: PinnedObject & { readonly start: number; readonly end: number },
    signal: AbortSignal,
  ): Promise<string> {
    const { start, end, size, etag } = source;
    const isWhole = start === 0 && end === size;
    const input = {
      Bucket: this.name,
      Key: key,
      UploadId: uploadId,
      PartNumber: number,
      CopySource: `${source.bucket}/${source.key.split('/').map(encodeURIComponent).join('/')}`,
      CopySourceIfMatch: etag,
      // Of an object below 5 MiB S3 copies no range, not even all of it.
      ...(isWhole ? {} : { CopySourceRange: `bytes=${start}-${end - 1}` }),
    };
    const { CopyPartResult } = await this.#send('UploadPartCopy', () =>
      this.#client.send(new UploadPartCopyCommand(input), { abortSignal: signal }),
    );
    if (CopyPartResult?.ETag === undefined) throw new Error('the server has copied a part without an ETag');
    return CopyPartResult.ETag;
  }

  /** Undefined when there is no such multipart upload (any more). */
  async parts({ key, uploadId }: MultipartUpload): Promise<readonly ListedPart[] | undefined> {
    const parts: ListedPart[] = [];
    for (let marker: string | undefined; ; ) {
      const input = { Bucket: this.name, Key: key, UploadId: uploadId, PartNumberMarker: marker };
      try {
        const page = await this.#send('ListParts', () => this.#client.send(new ListPartsCommand(input)));
        for (const { PartNumber = 0, Size = 0, ETag = '', LastModified } of page.Parts ?? []) {
          parts.push({
            number: PartNumber,
            size: Size,
            etag: ETag,
            modifiedAt: LastModified?.getTime() ?? 0,
          });
        }
        if (page.IsTruncated !== true || page.NextPartNumberMarker === undefined) return parts;
        marker = page.NextPartNumberMarker;
      } catch (error) {
        if (isNoUpload(error)) return undefined;
        throw error;
      }
    }
  }

  /** Resolves with the object's ETag. */
  async complete(
    upload: MultipartUpload,
    parts: readonly Pick<ListedPart, 'number' | 'etag'>[],
  ): Promise<string> {
    const Parts = parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag }));
    const input = {
      Bucket: this.name,
      Key: upload.key,
      UploadId: upload.uploadId,
      MultipartUpload: { Parts },
    };
    const { ETag = '' } = await this.#send('CompleteMultipartUpload', () =>
      this.#client.send(new CompleteMultipartUploadCommand(input)),
    );
    return ETag;
  }

  /** Harmless when repeated. */
  async abort({ key, uploadId }: MultipartUpload): Promise<void> {
    const input = { Bucket: this.name, Key: key, UploadId: uploadId };
    try {
      await this.#send('AbortMultipartUpload', () =>
        this.#client.send(new AbortMultipartUploadCommand(input)),
      );
    } catch (error) {
      if (!isNoUpload(error)) throw error;
    }
  }

  async *#pages(prefix: string, delimiter?: string) {
    for (let token: string | undefined; ; ) {
      const input = {
        Bucket: this.name,
        Prefix: prefix,
        ...(delimiter === undefined ? {} : { Delimiter: delimiter }),
        ...(token === undefined ? {} : { ContinuationToken: token }),
      };
      const page = await this.#send('ListObjectsV2', () =>
        this.#client.send(new ListObjectsV2Command(input)),
      );
      yield page;
      if (page.IsTruncated !== true) return;
      token = page.NextContinuationToken;
    }
  }

  async #send<T>(operation: string, send: () => Promise<T>): Promise<T> {
    this.requests[operation] = (this.requests[operation] ?? 0) + 1;
    return send();
  }
}

/** The same bytes in chunks of at least `chunkBytes`, but for the last. */
async function* inChunks(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let pending: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of source) {
    pending.push(chunk);
    bytes += chunk.byteLength;
    if (bytes < chunkBytes) continue;
    yield pending.length === 1 ? chunk : Buffer.concat(pending);
    pending = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(pending);
}
