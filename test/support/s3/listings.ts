import { checksumElement } from './checksums.ts';
import { S3Error } from './errors.ts';
import type { StoredUpload } from './multipart.ts';
import { byUtf8, type StoredObject } from './object-store.ts';
import { integerOf, type S3Request, uriEncode } from './request.ts';
import { type Element, element, optional, resultXml } from './xml.ts';

/** A bucket's owner, and whoever initiated an upload in it. */
const owner = [element('ID', 'owner'), element('DisplayName', 'owner')];

interface Page<T> {
  readonly items: readonly T[];
  /** What all keys with one prefix up to the delimiter are shown as. */
  readonly prefixes: readonly string[];
  readonly truncated: boolean;
  /** The last key or prefix of the page. */
  readonly last: string;
}

/** Takes up to `limit` keys and prefixes together, of items that are sorted by key. */
const pageOf = <T extends { readonly key: string }>(
  items: readonly T[],
  options: { readonly prefix: string; readonly delimiter: string; readonly limit: number },
  isWanted: (item: T, shown: string) => boolean,
): Page<T> => {
  const { prefix, delimiter, limit } = options;
  const taken: T[] = [];
  const prefixes: string[] = [];
  let last = '';
  for (const item of items) {
    if (!item.key.startsWith(prefix)) continue;
    const end = delimiter === '' ? -1 : item.key.indexOf(delimiter, prefix.length);
    const shown = end === -1 ? item.key : item.key.slice(0, end + delimiter.length);
    if (!isWanted(item, shown) || (end !== -1 && prefixes.at(-1) === shown)) continue;
    if (taken.length + prefixes.length >= limit) {
      return { items: taken, prefixes, truncated: limit > 0, last };
    }
    if (end === -1) taken.push(item);
    else prefixes.push(shown);
    last = shown;
  }
  return { items: taken, prefixes, truncated: false, last };
};

/** A page may end with a prefix: all that it stands for is then behind it. */
const isPast = (key: string, shown: string, marker: string): boolean =>
  shown !== marker && byUtf8(key, marker) > 0;

const encodingOf = (request: S3Request): ((text: string) => string) => {
  const type = request.query.get('encoding-type');
  if (type === undefined) return (text) => text;
  if (type !== 'url') throw new S3Error('InvalidArgument', 'Invalid Encoding Method specified in Request');
  return (text) => uriEncode(text).replaceAll('%2F', '/');
};

const limitOf = (request: S3Request, name: string, pageSize: number): number =>
  Math.min(integerOf(request, name) ?? pageSize, pageSize);

const commonPrefixes = (prefixes: readonly string[], encode: (text: string) => string): Element[] =>
  prefixes.map((prefix) => element('CommonPrefixes', element('Prefix', encode(prefix))));

/** Opaque to clients: what the page before ended with. */
const toToken = (last: string): string => `1${Buffer.from(last).toString('base64')}`;
const fromToken = (token: string): string => {
  const last = Buffer.from(token.slice(1), 'base64').toString();
  if (toToken(last) !== token) {
    throw new S3Error('InvalidArgument', 'The continuation token provided is incorrect', {
      ArgumentName: 'continuation-token',
    });
  }
  return last;
};

export const listObjects = (
  request: S3Request,
  objects: readonly StoredObject[],
  pageSize: number,
): string => {
  const { bucket, query } = request;
  if (query.get('list-type') !== '2') throw new S3Error('InvalidArgument', 'Invalid list-type');
  const encode = encodingOf(request);
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const limit = limitOf(request, 'max-keys', pageSize);
  const token = query.get('continuation-token');
  const startAfter = query.get('start-after');
  const after = token === undefined ? (startAfter ?? '') : fromToken(token);
  const page = pageOf(objects, { prefix, delimiter, limit }, ({ key }, shown) => isPast(key, shown, after));
  return resultXml(
    'ListBucketResult',
    element('Name', bucket),
    element('Prefix', encode(prefix)),
    optional('Delimiter', delimiter === '' ? undefined : encode(delimiter)),
    optional('EncodingType', query.get('encoding-type')),
    optional('StartAfter', startAfter === undefined ? undefined : encode(startAfter)),
    optional('ContinuationToken', token),
    optional('NextContinuationToken', page.truncated ? toToken(page.last) : undefined),
    element('KeyCount', page.items.length + page.prefixes.length),
    element('MaxKeys', limit),
    element('IsTruncated', page.truncated),
    ...page.items.map((object) =>
      element(
        'Contents',
        element('Key', encode(object.key)),
        element('LastModified', object.lastModified.toISOString()),
        element('ETag', object.etag),
        optional('ChecksumAlgorithm', object.checksum?.algorithm),
        optional('ChecksumType', object.checksum?.type),
        element('Size', object.size),
        query.get('fetch-owner') === 'true' ? element('Owner', ...owner) : undefined,
        element('StorageClass', object.storageClass),
      ),
    ),
    ...commonPrefixes(page.prefixes, encode),
  );
};

export const listParts = (request: S3Request, upload: StoredUpload, pageSize: number): string => {
  const limit = limitOf(request, 'max-parts', pageSize);
  const marker = integerOf(request, 'part-number-marker') ?? 0;
  const left = [...upload.parts.values()]
    .filter(({ partNumber }) => partNumber > marker)
    .sort((a, b) => a.partNumber - b.partNumber);
  const page = left.slice(0, limit);
  const truncated = limit > 0 && left.length > limit;
  return resultXml(
    'ListPartsResult',
    element('Bucket', upload.bucket),
    element('Key', upload.key),
    element('UploadId', upload.uploadId),
    element('PartNumberMarker', marker),
    optional('NextPartNumberMarker', truncated ? page.at(-1)?.partNumber : undefined),
    element('MaxParts', limit),
    element('IsTruncated', truncated),
    element('Initiator', ...owner),
    element('Owner', ...owner),
    element('StorageClass', upload.properties.storageClass),
    optional('ChecksumAlgorithm', upload.checksumAlgorithm),
    optional('ChecksumType', upload.checksumType),
    ...page.map(({ partNumber, lastModified, etag, size, checksum }) =>
      element(
        'Part',
        element('PartNumber', partNumber),
        element('LastModified', lastModified.toISOString()),
        element('ETag', etag),
        element('Size', size),
        upload.checksumAlgorithm === undefined || checksum === undefined
          ? undefined
          : element(checksumElement(checksum.algorithm), checksum.value),
      ),
    ),
  );
};

export const listUploads = (
  request: S3Request,
  uploads: readonly StoredUpload[],
  pageSize: number,
): string => {
  const { bucket, query } = request;
  const encode = encodingOf(request);
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const limit = limitOf(request, 'max-uploads', pageSize);
  const keyMarker = query.get('key-marker') ?? '';
  // "If key-marker is not specified, the upload-id-marker parameter is ignored."
  const idMarker = keyMarker === '' ? '' : (query.get('upload-id-marker') ?? '');
  const page = pageOf(
    uploads,
    { prefix, delimiter, limit },
    ({ key, uploadId }, shown) =>
      isPast(key, shown, keyMarker) ||
      (key === keyMarker && idMarker !== '' && byUtf8(uploadId, idMarker) > 0),
  );
  const last = page.items.at(-1);
  return resultXml(
    'ListMultipartUploadsResult',
    element('Bucket', bucket),
    element('KeyMarker', encode(keyMarker)),
    element('UploadIdMarker', idMarker),
    optional('NextKeyMarker', page.truncated ? encode(page.last) : undefined),
    optional('NextUploadIdMarker', page.truncated && last?.key === page.last ? last.uploadId : undefined),
    element('Prefix', encode(prefix)),
    optional('Delimiter', delimiter === '' ? undefined : encode(delimiter)),
    optional('EncodingType', query.get('encoding-type')),
    element('MaxUploads', limit),
    element('IsTruncated', page.truncated),
    ...page.items.map(({ key, uploadId, initiated, properties, checksumAlgorithm, checksumType }) =>
      element(
        'Upload',
        element('Key', encode(key)),
        element('UploadId', uploadId),
        element('Initiator', ...owner),
        element('Owner', ...owner),
        element('StorageClass', properties.storageClass),
        element('Initiated', initiated.toISOString()),
        optional('ChecksumAlgorithm', checksumAlgorithm),
        optional('ChecksumType', checksumType),
      ),
    ),
    ...commonPrefixes(page.prefixes, encode),
  );
};

/** Of a DeleteObjects: without what was deleted, if the client wants it quiet. */
export const deleteResult = (keys: readonly string[], quiet: boolean): string =>
  resultXml('DeleteResult', ...(quiet ? [] : keys.map((key) => element('Deleted', element('Key', key)))));
