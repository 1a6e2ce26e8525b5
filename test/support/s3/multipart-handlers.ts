import { statedChecksum } from './body.ts';
import {
  type ChecksumAlgorithm,
  type ChecksumType,
  checksumAlgorithms,
  checksumElement,
  checksumHeader,
  checksumOf,
  isChecksumAlgorithm,
  onlyType,
} from './checksums.ts';
import type { WriteConditions } from './conditions.ts';
import { copyRangeOf, copySourceOf, copyXml } from './copies.ts';
import { S3Error } from './errors.ts';
import { listParts as listPartsXml, listUploads } from './listings.ts';
import type { Completion, ListedPart, StoredUpload } from './multipart.ts';
import { encryptionHeaders, propertiesOf } from './properties.ts';
import { uriEncode } from './request.ts';
import { type Answer, conditionsOf, type Handler, type Work } from './work.ts';
import { element, errorXml, fieldsOf, parseXml, resultXml } from './xml.ts';

const uploadOf = ({ request, uploads }: Work): StoredUpload =>
  uploads.get(request.bucket, request.key, request.query.get('uploadId') ?? '');

export const createMultipartUpload: Handler = (work) => {
  const { request, rules, uploads } = work;
  const { bucket, key } = request;
  const checksum = announcedChecksum(work);
  const upload = uploads.create(bucket, key, propertiesOf(request, rules), checksum);
  return {
    status: 200,
    headers: {
      ...encryptionHeaders(upload.properties.encryption),
      'x-amz-checksum-algorithm': checksum?.algorithm,
      'x-amz-checksum-type': checksum?.type,
    },
    xml: resultXml(
      'InitiateMultipartUploadResult',
      element('Bucket', bucket),
      element('Key', key),
      element('UploadId', upload.uploadId),
    ),
  };
};

const announcedChecksum = ({
  request,
  unknown,
}: Work): { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType } | undefined => {
  const algorithm = request.headers.get('x-amz-checksum-algorithm')?.toUpperCase();
  const type = request.headers.get('x-amz-checksum-type')?.toUpperCase();
  if (type !== undefined && type !== 'COMPOSITE' && type !== 'FULL_OBJECT') {
    throw new S3Error('InvalidRequest', 'Value for x-amz-checksum-type header is invalid.');
  }
  if (algorithm === undefined) {
    if (type === undefined) return undefined;
    throw new S3Error(
      'InvalidRequest',
      'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.',
    );
  }
  if (!isChecksumAlgorithm(algorithm)) throw unknown(`checksum ${algorithm}`);
  const only = onlyType[algorithm];
  if (type !== undefined && only !== undefined && type !== only) {
    throw new S3Error(
      'InvalidRequest',
      `The ${type} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`,
    );
  }
  return { algorithm, type: type ?? only ?? 'COMPOSITE' };
};

const partNumberOf = ({ request }: Work): number => Number(request.query.get('partNumber') || Number.NaN);

export const uploadPart: Handler = async (work) => {
  const { request, uploads } = work;
  const upload = uploadOf(work);
  const partNumber = partNumberOf(work);
  uploads.checkPart(upload, partNumber, statedChecksum(request)?.algorithm);
  const body = await work.receive({ algorithm: upload.checksumAlgorithm });
  const { etag, checksum } = uploads.putPart(upload, partNumber, body);
  return {
    status: 200,
    headers: {
      etag,
      ...encryptionHeaders(upload.properties.encryption),
      ...(checksum === undefined ? {} : { [checksumHeader(checksum.algorithm)]: checksum.value }),
    },
  };
};

export const uploadPartCopy: Handler = (work) => {
  const { uploads } = work;
  const upload = uploadOf(work);
  const partNumber = partNumberOf(work);
  const { checksumAlgorithm: algorithm } = upload;
  uploads.checkPart(upload, partNumber, algorithm);
  const source = copySourceOf(work);
  const { start, end } = copyRangeOf(work, source.size);
  const content = source.content.slice(start, end);
  const part = uploads.putPart(upload, partNumber, {
    content,
    md5: content.md5(),
    ...(algorithm === undefined ? {} : { checksum: { algorithm, value: checksumOf(content, algorithm) } }),
  });
  return {
    status: 200,
    headers: encryptionHeaders(upload.properties.encryption),
    xml: copyXml('CopyPartResult', part),
  };
};

export const listParts: Handler = (work) => ({
  status: 200,
  xml: listPartsXml(work.request, uploadOf(work), work.rules.pageSize),
});

export const listMultipartUploads: Handler = ({ request, rules, objects, uploads }) => {
  objects.checkBucket(request.bucket);
  return { status: 200, xml: listUploads(request, uploads.list(request.bucket), rules.pageSize) };
};

export const abortMultipartUpload: Handler = ({ request, uploads }) => {
  uploads.abort(request.bucket, request.key, request.query.get('uploadId') ?? '');
  return { status: 204 };
};

export const completeMultipartUpload: Handler = async (work) => {
  const { requestId, rules } = work;
  const conditions = conditionsOf(work);
  const { content } = await work.receive({ verify: false });
  const parts = listedParts(content.toBuffer().toString());
  try {
    return complete(work, parts, conditions);
  } catch (error) {
    if (rules.completeErrors === 'status' || !(error instanceof S3Error)) throw error;
    return { status: 200, code: error.code, xml: errorXml(error, requestId) };
  }
};

const complete = (work: Work, parts: readonly ListedPart[], conditions: WriteConditions): Answer => {
  const { request, uploads } = work;
  const { bucket, key, headers, query } = request;
  const size = headers.get('x-amz-mp-object-size');
  const object = uploads.complete(bucket, key, query.get('uploadId') ?? '', {
    parts,
    conditions,
    checksum: statedWhole(work),
    checksumType: headers.get('x-amz-checksum-type')?.toUpperCase(),
    size: size === undefined ? undefined : Number(size),
  });
  const { checksum } = object;
  return {
    status: 200,
    headers: encryptionHeaders(object.encryption),
    xml: resultXml(
      'CompleteMultipartUploadResult',
      element('Location', `http://${headers.get('host')}/${bucket}/${uriEncode(key)}`),
      element('Bucket', bucket),
      element('Key', key),
      element('ETag', object.etag),
      checksum && element(checksumElement(checksum.algorithm), checksum.value),
      checksum && element('ChecksumType', checksum.type),
    ),
  };
};

/** Here these headers are about the object, and not about the request's body. */
const statedWhole = ({ request }: Work): Completion['checksum'] => {
  const [first, ...others] = checksumAlgorithms.flatMap((algorithm) => {
    const value = request.headers.get(checksumHeader(algorithm));
    return value === undefined ? [] : [{ algorithm, value }];
  });
  if (others.length === 0) return first;
  throw new S3Error(
    'InvalidRequest',
    'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
  );
};

const maxListedParts = 10_000;
const checksumElements = checksumAlgorithms.map(checksumElement);

const listedParts = (xml: string): ListedPart[] => {
  const { children } = parseXml(xml, 'CompleteMultipartUpload');
  if (children.length === 0 || children.length > maxListedParts) throw new S3Error('MalformedXML');
  return children.map((child) => {
    const fields = fieldsOf(child, ['ETag', 'PartNumber', ...checksumElements]);
    const { ETag: etag, PartNumber: partNumber } = fields;
    if (child.name !== 'Part' || etag === undefined || !/^\d{1,9}$/.test(partNumber ?? '')) {
      throw new S3Error('MalformedXML');
    }
    const checksums: Partial<Record<ChecksumAlgorithm, string>> = {};
    for (const algorithm of checksumAlgorithms) {
      const value = fields[checksumElement(algorithm)];
      if (value !== undefined) checksums[algorithm] = value;
    }
    return { partNumber: Number(partNumber), etag: etag.trim(), checksums };
  });
};
