import { statedChecksum } from './body.ts';
import { checksumHeader, checksumOf, isChecksumAlgorithm } from './checksums.ts';
import { checkReadConditions, writeConditionsOf } from './conditions.ts';
import { copySourceOf, copyXml } from './copies.ts';
import { S3Error } from './errors.ts';
import { deleteResult, listObjects } from './listings.ts';
import type { StoredObject } from './object-store.ts';
import { checkKey, etagOf } from './object-store.ts';
import { encryptionHeaders, type ObjectProperties, propertiesOf } from './properties.ts';
import { type Answer, conditionsOf, type Handler, type Work } from './work.ts';
import { fieldsOf, parseXml } from './xml.ts';

export const createBucket: Handler = async ({ request, rules, objects, receive }) => {
  const { content } = await receive();
  if (content.size > 0) {
    const configuration = parseXml(content.toBuffer().toString(), 'CreateBucketConfiguration');
    const { LocationConstraint } = fieldsOf(configuration, ['LocationConstraint']);
    if (LocationConstraint !== rules.region) {
      throw new S3Error('InvalidLocationConstraint', 'The specified location-constraint is not valid', {
        LocationConstraint: LocationConstraint ?? '',
      });
    }
  }
  objects.createBucket(request.bucket);
  return { status: 200, headers: { location: `/${request.bucket}` } };
};

export const headBucket: Handler = ({ request, rules, objects }) => {
  objects.checkBucket(request.bucket);
  return { status: 200, headers: { 'x-amz-bucket-region': rules.region } };
};

export const listObjectsV2: Handler = ({ request, rules, objects }) => ({
  status: 200,
  xml: listObjects(request, objects.list(request.bucket), rules.pageSize),
});

export const putObject: Handler = async (work) => {
  const { request, rules, objects } = work;
  const { bucket, key } = request;
  objects.checkBucket(bucket);
  checkKey(key);
  const properties = propertiesOf(request, rules);
  const conditions = conditionsOf(work);
  const { content, md5, checksum } = await work.receive();
  const object = objects.put(
    bucket,
    key,
    {
      content,
      etag: etagOf(md5, properties.encryption),
      properties,
      checksum: checksum === undefined ? undefined : { ...checksum, type: 'FULL_OBJECT' },
    },
    conditions,
  );
  return {
    status: 200,
    headers: { etag: object.etag, ...encryptionHeaders(object.encryption), ...checksumHeaders(object) },
  };
};

const checksumHeaders = ({ checksum }: StoredObject): Record<string, string> =>
  checksum === undefined
    ? {}
    : { [checksumHeader(checksum.algorithm)]: checksum.value, 'x-amz-checksum-type': checksum.type };

export const getObject: Handler = ({ request, objects, unknown }) => {
  const object = objects.get(request.bucket, request.key);
  checkReadConditions(request, object);
  const { size, metadata, tags, storageClass } = object;
  const range = request.headers.get('range');
  if (range !== undefined && /^bytes=.*,/.test(range)) throw unknown('several ranges');
  const part = range === undefined ? undefined : rangeOf(range, size);
  const tagCount = Object.keys(tags).length;
  // S3 has no checksum of a part of an object.
  const withChecksum = part === undefined && request.headers.get('x-amz-checksum-mode') === 'ENABLED';
  return {
    status: part === undefined ? 200 : 206,
    headers: {
      'accept-ranges': 'bytes',
      'content-range': part && `bytes ${part.start}-${part.end - 1}/${size}`,
      'content-type': object.contentType,
      etag: object.etag,
      'last-modified': object.lastModified.toUTCString(),
      'x-amz-storage-class': storageClass === 'STANDARD' ? undefined : storageClass,
      'x-amz-tagging-count': tagCount === 0 ? undefined : String(tagCount),
      ...object.headers,
      ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
      ...encryptionHeaders(object.encryption),
      ...(withChecksum ? checksumHeaders(object) : {}),
    },
    content: part === undefined ? object.content : object.content.slice(part.start, part.end),
  };
};

/** Undefined for what is no range at all, which S3 does not mind. */
const rangeOf = (
  range: string,
  size: number,
): { readonly start: number; readonly end: number } | undefined => {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(range) ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined;
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  if (start >= end) {
    throw new S3Error('InvalidRange', undefined, { RangeRequested: range, ActualObjectSize: size });
  }
  return { start, end };
};

export const deleteObject: Handler = ({ request, rules, objects }) => {
  objects.delete(request.bucket, request.key, writeConditionsOf(request, rules.conditionalWrites));
  return { status: 204 };
};

const maxDeletes = 1000;

export const deleteObjects: Handler = async ({ request, objects, receive, unknown }) => {
  objects.checkBucket(request.bucket);
  if (!request.headers.has('content-md5') && statedChecksum(request) === undefined) {
    throw new S3Error(
      'InvalidRequest',
      'Missing required header for this request: Content-MD5 OR x-amz-checksum-*',
    );
  }
  const { content } = await receive();
  const { children } = parseXml(content.toBuffer().toString(), 'Delete');
  const named = children.filter(({ name }) => name === 'Object');
  const quiet = children.some(({ name, text }) => name === 'Quiet' && text === 'true');
  if (named.length === 0 || named.length > maxDeletes) throw new S3Error('MalformedXML');
  if (children.some(({ name }) => name !== 'Object' && name !== 'Quiet')) throw new S3Error('MalformedXML');
  const keys = named.map((node) => {
    const others = ['ETag', 'LastModifiedTime', 'Size', 'VersionId'];
    const { Key, ...rest } = fieldsOf(node, ['Key', ...others]);
    for (const name of Object.keys(rest)) throw unknown(`element ${name}`);
    if (Key === undefined) throw new S3Error('MalformedXML');
    return Key;
  });
  for (const key of keys) objects.delete(request.bucket, key, { check() {} });
  return { status: 200, xml: deleteResult(keys, quiet) };
};

export const copyObject: Handler = (work) => {
  const { request, objects } = work;
  const { bucket, key, headers } = request;
  objects.checkBucket(bucket);
  checkKey(key);
  const source = copySourceOf(work);
  const properties = copiedProperties(work, source);
  const changes =
    headers.get('x-amz-metadata-directive') === 'REPLACE' ||
    properties.storageClass !== source.storageClass ||
    headers.has('x-amz-server-side-encryption');
  if (source.bucket === bucket && source.key === key && !changes) {
    throw new S3Error(
      'InvalidRequest',
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
    );
  }
  const asked = headers.get('x-amz-checksum-algorithm')?.toUpperCase();
  if (asked !== undefined && !isChecksumAlgorithm(asked)) throw work.unknown(`checksum ${asked}`);
  const algorithm = asked ?? source.checksum?.algorithm;
  const { content } = source;
  const object = objects.put(
    bucket,
    key,
    {
      content,
      // A copy is made in one piece, whatever its source was.
      etag: etagOf(content.md5(), properties.encryption),
      properties,
      checksum:
        algorithm === undefined
          ? undefined
          : { algorithm, value: checksumOf(content, algorithm), type: 'FULL_OBJECT' },
    },
    conditionsOf(work),
  );
  return {
    status: 200,
    headers: encryptionHeaders(object.encryption),
    xml: copyXml('CopyObjectResult', object),
  } satisfies Answer;
};

const copiedProperties = ({ request, rules }: Work, source: StoredObject): ObjectProperties => {
  const own = propertiesOf(request, rules);
  const directive = (name: string): string => request.headers.get(name) ?? 'COPY';
  return {
    ...own,
    ...(directive('x-amz-metadata-directive') === 'REPLACE'
      ? {}
      : { contentType: source.contentType, headers: source.headers, metadata: source.metadata }),
    ...(directive('x-amz-tagging-directive') === 'REPLACE' ? {} : { tags: source.tags }),
  };
};
