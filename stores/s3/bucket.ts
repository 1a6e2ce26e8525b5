import type { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { UploadError } from '../../src/errors.ts';
import { encodeMetadata } from './metadata.ts';

/**
 * What an object of ours is made with, beside its bytes: `ContentType`, `Metadata`, `ACL`, `StorageClass`, … Values of
 * `Metadata` may be any Unicode text, 2048 bytes (2 KB) in all as they are sent; `decodeMetadata` reads them back.
 */
export type ObjectFields = Omit<
  CreateMultipartUploadCommandInput & PutObjectCommandInput,
  'Bucket' | 'Key' | 'Body' | 'IfNoneMatch'
>;

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
  readonly modifiedAt: number;
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

/** As many as one DeleteObjects takes. */
const mostKeys = 1000;

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

  constructor(client: S3Client, name: string) {
    this.#client = client;
    this.name = name;
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
    const input = { ...encoded(fields), Bucket: this.name, Key: key, Body: body };
    const { ETag = '' } = await this.#send('PutObject', () => this.#client.send(new PutObjectCommand(input)));
    return ETag;
  }

  /**
   * Makes an object where there is none, and says whether it did. A request that was repeated because its answer was
   * lost may say false of its own success: who must know compares what is there.
   */
  async putNew(key: string, body: Uint8Array): Promise<boolean> {
    for (let conflicts = 0; ; conflicts++) {
      try {
        await this.putIfNew(key, body);
        return true;
      } catch (error) {
        if (statusOf(error) === 412) return false;
        if (statusOf(error) !== 409 || conflicts === mostConflicts) throw error;
      }
    }
  }

  /** The one request of it. Rejects with what the server said. */
  async putIfNew(key: string, body: Uint8Array): Promise<void> {
    const input = { Bucket: this.name, Key: key, Body: body, IfNoneMatch: '*' };
    await this.#send('PutObject', () => this.#client.send(new PutObjectCommand(input)));
  }

  /** The bytes from `start`, up to `end` where it is given; undefined when there is no such object. */
  async get(key: string, start = 0, end?: number): Promise<Uint8Array | undefined> {
    const body = await this.open(key, start, end);
    return (
      body &&
      (await (body as Readable & { transformToByteArray(): Promise<Uint8Array> }).transformToByteArray())
    );
  }

  async open(key: string, start: number, end?: number): Promise<Readable | undefined> {
    const range =
      start === 0 && end === undefined ? {} : { Range: `bytes=${start}-${end === undefined ? '' : end - 1}` };
    const input = { Bucket: this.name, Key: key, ...range };
    try {
      const { Body } = await this.#send('GetObject', () => this.#client.send(new GetObjectCommand(input)));
      return Body as Readable | undefined;
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
      for (const { Key = '', Size = 0, LastModified } of Contents) {
        yield { key: Key, size: Size, modifiedAt: LastModified?.getTime() ?? 0 };
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
    const input = { ...encoded(fields), Bucket: this.name, Key: key };
    const { UploadId } = await this.#send('CreateMultipartUpload', () =>
      this.#client.send(new CreateMultipartUploadCommand(input)),
    );
    if (UploadId === undefined) throw new Error('the server has made a multipart upload without a name');
    return UploadId;
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

const encoded = (fields: ObjectFields): ObjectFields =>
  fields.Metadata === undefined ? fields : { ...fields, Metadata: encodeMetadata(fields.Metadata) };

interface ServiceError extends Error {
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** The HTTP status a request failed with, if it came so far. */
export const statusOf = (error: unknown): number | undefined =>
  error instanceof Error ? (error as ServiceError).$metadata?.httpStatusCode : undefined;

/** moto answers some requests about an upload that was aborted with 500. */
export const isNoUpload = (error: unknown): boolean =>
  error instanceof Error && (error.name === 'NoSuchUpload' || statusOf(error) === 404);

/** What no later request would do better. */
const setupFailures: readonly number[] = [301, 400, 403, 404];

const unusable = (bucket: string, cause: unknown): string => {
  const status = statusOf(cause);
  if (status === 301 || status === 400)
    return `the bucket ${bucket} is at another endpoint or region than the client's`;
  if (status === 403) return `the credentials are wrong, or do not allow to use the bucket ${bucket}`;
  if (status === 404) return `there is no bucket ${bucket}`;
  return `the bucket ${bucket} cannot be reached`;
};
