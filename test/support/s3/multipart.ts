import { createHash, randomBytes } from 'node:crypto';
import {
  type Checksum,
  type ChecksumAlgorithm,
  type ChecksumType,
  checksumAlgorithms,
  checksumOf,
  combinedChecksum,
  compositeChecksum,
} from './checksums.ts';
import { unquoted, type WriteConditions } from './conditions.ts';
import { Content } from './content.ts';
import { S3Error } from './errors.ts';
import { byUtf8, checkKey, etagOf, type ObjectStore, type StoredObject } from './object-store.ts';
import type { ObjectProperties } from './properties.ts';

export interface MultipartRules {
  /** Of every part but the last: 5 MiB with AWS. */
  readonly minPartSize: number;
  /** As Cloudflare R2 has it: all parts but the last are of one size, and the last is not longer. */
  readonly equalPartSizes: boolean;
  /**
   * What a Complete says that comes again after it succeeded: AWS answers `again` for some time, and later `gone`
   * (NoSuchUpload). Whether AWS looks at `If-None-Match` once more is not documented: `checked` does.
   */
  readonly repeatedComplete: 'again' | 'checked' | 'gone';
}

export interface StoredPart {
  readonly partNumber: number;
  readonly size: number;
  /** With its quotes. */
  readonly etag: string;
  readonly lastModified: Date;
  readonly content: Content;
  readonly md5: Buffer;
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly value: string };
}

export interface StoredUpload {
  readonly bucket: string;
  readonly key: string;
  readonly uploadId: string;
  readonly initiated: Date;
  readonly properties: ObjectProperties;
  /** Undefined when Create named none: parts may then carry any, and none is kept for the object. */
  readonly checksumAlgorithm?: ChecksumAlgorithm;
  readonly checksumType?: ChecksumType;
  /** By number. */
  readonly parts: ReadonlyMap<number, StoredPart>;
}

interface Upload extends StoredUpload {
  readonly parts: Map<number, StoredPart>;
}

export interface ListedPart {
  readonly partNumber: number;
  readonly etag: string;
  readonly checksums: Readonly<Partial<Record<ChecksumAlgorithm, string>>>;
}

export interface Completion {
  readonly parts: readonly ListedPart[];
  readonly conditions: WriteConditions;
  /** What the client says the whole is, where it does. */
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly value: string } | undefined;
  readonly checksumType?: string | undefined;
  readonly size?: number | undefined;
}

const maxParts = 10_000;

export class MultipartUploads {
  readonly #objects: ObjectStore;
  readonly #rules: MultipartRules;
  readonly #open = new Map<string, Upload>();
  readonly #completed = new Map<string, { readonly parts: string; readonly object: StoredObject }>();
  readonly #aborted = new Map<string, string>();
  #created = 0;

  constructor(objects: ObjectStore, rules: MultipartRules) {
    this.#objects = objects;
    this.#rules = rules;
  }

  create(
    bucket: string,
    key: string,
    properties: ObjectProperties,
    checksum?: { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType },
  ): StoredUpload {
    this.#objects.checkBucket(bucket);
    checkKey(key);
    // In the order of their making, as S3 lists the uploads of one key.
    const uploadId = `${(++this.#created).toString(36).padStart(8, '0')}.${randomBytes(24).toString('base64url')}`;
    const upload: Upload = {
      bucket,
      key,
      uploadId,
      initiated: new Date(),
      properties,
      ...(checksum === undefined
        ? {}
        : { checksumAlgorithm: checksum.algorithm, checksumType: checksum.type }),
      parts: new Map(),
    };
    this.#open.set(uploadId, upload);
    return upload;
  }

  get(bucket: string, key: string, uploadId: string): StoredUpload {
    return this.#get(bucket, key, uploadId);
  }

  /** Those in progress. */
  list(bucket?: string): StoredUpload[] {
    return [...this.#open.values()]
      .filter((upload) => bucket === undefined || upload.bucket === bucket)
      .sort((a, b) => byUtf8(a.bucket, b.bucket) || byUtf8(a.key, b.key) || byUtf8(a.uploadId, b.uploadId));
  }

  /** Throws where a part with such a checksum, or without any, does not fit what Create announced. */
  checkPart(upload: StoredUpload, partNumber: number, checksum: ChecksumAlgorithm | undefined): void {
    if (!Number.isInteger(partNumber) || partNumber < 1 || partNumber > maxParts) {
      throw new S3Error(
        'InvalidArgument',
        `Part number must be an integer between 1 and ${maxParts}, inclusive`,
        { ArgumentName: 'partNumber', ArgumentValue: partNumber },
      );
    }
    const { checksumAlgorithm, checksumType } = upload;
    if (checksumAlgorithm === undefined || checksum === checksumAlgorithm) return;
    if (checksum === undefined && checksumType === 'FULL_OBJECT') return;
    throw new S3Error(
      'InvalidRequest',
      `Checksum Type mismatch occurred, expected checksum Type: ${checksumAlgorithm.toLowerCase()}, actual checksum Type: ${checksum?.toLowerCase() ?? null}`,
    );
  }

  /** The upload may have ended while the bytes of its part arrived. */
  putPart(
    { bucket, key, uploadId }: StoredUpload,
    partNumber: number,
    { content, md5, checksum }: Pick<StoredPart, 'content' | 'md5' | 'checksum'>,
  ): StoredPart {
    const upload = this.#get(bucket, key, uploadId);
    const part: StoredPart = {
      partNumber,
      size: content.size,
      etag: etagOf(md5, upload.properties.encryption),
      lastModified: new Date(),
      content,
      md5,
      ...(checksum === undefined ? {} : { checksum }),
    };
    upload.parts.set(partNumber, part);
    return part;
  }

  /** AWS keeps answering 204 for an upload that was aborted a while ago. */
  abort(bucket: string, key: string, uploadId: string): void {
    this.#objects.checkBucket(bucket);
    if (this.#aborted.get(uploadId) === `${bucket}/${key}`) return;
    this.#get(bucket, key, uploadId);
    this.#open.delete(uploadId);
    this.#aborted.set(uploadId, `${bucket}/${key}`);
  }

  complete(bucket: string, key: string, uploadId: string, completion: Completion): StoredObject {
    const fingerprint = JSON.stringify(
      completion.parts.map(({ partNumber, etag }) => [partNumber, unquoted(etag)]),
    );
    const earlier = this.#completed.get(uploadId);
    if (earlier?.parts === fingerprint && earlier.object.bucket === bucket && earlier.object.key === key) {
      if (this.#rules.repeatedComplete === 'checked')
        completion.conditions.check(this.#objects.find(bucket, key));
      if (this.#rules.repeatedComplete !== 'gone') return earlier.object;
    }
    const upload = this.#get(bucket, key, uploadId);
    const parts = this.#select(upload, completion.parts);
    this.#checkSizes(parts);
    const content = Content.concat(parts.map((part) => part.content));
    if (completion.size !== undefined && completion.size !== content.size) {
      throw new S3Error(
        'InvalidRequest',
        `The provided 'x-amz-mp-object-size' header value ${completion.size} does not match what was computed: ${content.size}`,
      );
    }
    const checksum = checksumOfWhole(upload, parts, content, completion);
    const md5 = createHash('md5');
    for (const part of parts) md5.update(part.md5);
    const etag = etagOf(md5.digest(), upload.properties.encryption);
    const object = this.#objects.put(
      bucket,
      key,
      {
        content,
        etag: `${etag.slice(0, -1)}-${parts.length}"`,
        properties: upload.properties,
        checksum,
        partCount: parts.length,
      },
      completion.conditions,
    );
    this.#open.delete(uploadId);
    this.#completed.set(uploadId, { parts: fingerprint, object });
    return object;
  }

  #get(bucket: string, key: string, uploadId: string): Upload {
    this.#objects.checkBucket(bucket);
    const upload = this.#open.get(uploadId);
    if (upload?.bucket !== bucket || upload.key !== key) {
      throw new S3Error('NoSuchUpload', undefined, { UploadId: uploadId });
    }
    return upload;
  }

  #select(upload: Upload, listed: readonly ListedPart[]): StoredPart[] {
    if (listed.some(({ partNumber }, i) => i > 0 && partNumber <= (listed[i - 1]?.partNumber ?? 0))) {
      throw new S3Error('InvalidPartOrder', undefined, { UploadId: upload.uploadId });
    }
    const { checksumAlgorithm: algorithm, checksumType } = upload;
    return listed.map(({ partNumber, etag, checksums }) => {
      const part = upload.parts.get(partNumber);
      const details = { UploadId: upload.uploadId, PartNumber: partNumber, ETag: etag };
      if (part === undefined || unquoted(part.etag) !== unquoted(etag)) {
        throw new S3Error('InvalidPart', undefined, details);
      }
      for (const named of checksumAlgorithms) {
        const value = checksums[named];
        if (value === undefined) continue;
        // An upload that Create gave no algorithm keeps none, so S3 finds no part with the checksum that is listed
        // here, although UploadPart took it and returned it.
        if (algorithm === undefined) throw new S3Error('InvalidPart', undefined, details);
        if (named !== algorithm) {
          throw new S3Error(
            'BadDigest',
            `The ${named.toLowerCase()} you specified for part ${partNumber} did not match what we received.`,
          );
        }
        if (value !== part.checksum?.value) throw new S3Error('InvalidPart', undefined, details);
      }
      if (checksumType === 'COMPOSITE' && algorithm !== undefined && checksums[algorithm] === undefined) {
        throw new S3Error(
          'InvalidRequest',
          `The upload was created using a ${algorithm.toLowerCase()} checksum. The complete request must include the checksum for each part. It was missing for part ${partNumber} in the request.`,
        );
      }
      return part;
    });
  }

  #checkSizes(parts: readonly StoredPart[]): void {
    const { minPartSize, equalPartSizes } = this.#rules;
    const first = parts[0]?.size ?? 0;
    parts.forEach(({ size, partNumber, etag }, i) => {
      const isLast = i === parts.length - 1;
      if (!isLast && size < minPartSize) {
        throw new S3Error('EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size', {
          ProposedSize: size,
          MinSizeAllowed: minPartSize,
          PartNumber: partNumber,
          ETag: unquoted(etag),
        });
      }
      if (equalPartSizes && (isLast ? size > first : size !== first)) {
        throw new S3Error('InvalidPart', 'All non-trailing parts must have the same length.');
      }
    });
  }
}

const checksumOfWhole = (
  { checksumAlgorithm: algorithm, checksumType: type }: StoredUpload,
  parts: readonly StoredPart[],
  content: Content,
  completion: Completion,
): Checksum | undefined => {
  if (completion.checksumType !== undefined && completion.checksumType !== (type ?? 'FULL_OBJECT')) {
    throw new S3Error(
      'InvalidRequest',
      `The upload was created using the ${type ?? 'FULL_OBJECT'} checksum mode. The complete request must use the same checksum mode.`,
    );
  }
  const stated = completion.checksum;
  if (algorithm === undefined || type === undefined) {
    // Here AWS has a CRC64NVME of its own: the double computes it only to compare.
    if (stated !== undefined && stated.value !== checksumOf(content, 'CRC64NVME')) throw wrongWhole(stated);
    return undefined;
  }
  // "If you try to complete a multipart upload request with nonconsecutive part numbers, Amazon S3 generates an
  // HTTP 500 Internal Server error": only with a checksum.
  if (parts.some(({ partNumber }, i) => partNumber !== i + 1)) throw new S3Error('InternalError');
  const sums = parts.map(({ checksum, size }) => ({ value: checksum?.value ?? '', size }));
  const value = type === 'COMPOSITE' ? compositeChecksum(algorithm, sums) : combinedChecksum(algorithm, sums);
  if (
    stated !== undefined &&
    (stated.algorithm !== algorithm || stated.value !== value.replace(/-\d+$/, ''))
  ) {
    throw wrongWhole(stated);
  }
  return { algorithm, value, type };
};

const wrongWhole = ({ algorithm }: { readonly algorithm: ChecksumAlgorithm }): S3Error =>
  new S3Error('BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`);
