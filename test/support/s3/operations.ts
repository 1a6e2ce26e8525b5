import { checksumAlgorithms, checksumHeader } from './checksums.ts';
import type { S3Request } from './request.ts';

const content = [
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
  'x-amz-acl',
  'x-amz-grant-full-control',
  'x-amz-grant-read',
  'x-amz-grant-read-acp',
  'x-amz-grant-write-acp',
  'x-amz-meta-',
  'x-amz-server-side-encryption',
  'x-amz-server-side-encryption-aws-kms-key-id',
  'x-amz-server-side-encryption-bucket-key-enabled',
  'x-amz-server-side-encryption-context',
  'x-amz-storage-class',
  'x-amz-tagging',
];
const checksums = checksumAlgorithms.map(checksumHeader);
const body = [
  ...checksums,
  'content-encoding',
  'content-md5',
  'x-amz-decoded-content-length',
  'x-amz-sdk-checksum-algorithm',
  'x-amz-trailer',
];
const writeConditions = ['if-match', 'if-none-match'];
const conditions = [...writeConditions, 'if-modified-since', 'if-unmodified-since'];
const copySource = ['x-amz-copy-source', ...conditions.map((name) => `x-amz-copy-source-${name}`)];
const read = [...conditions, 'range', 'x-amz-checksum-mode'];

interface Shape {
  readonly method: string;
  readonly target: 'bucket' | 'object';
  /** Query parameters and headers without which it is another operation. */
  readonly needs?: readonly string[];
  readonly query?: readonly string[];
  /** A name that ends in `-` stands for all that begin with it. */
  readonly headers?: readonly string[];
}

/** Of those that fit a request, the first is meant: the more particular come before the more general. */
const shapes = {
  CreateBucket: { method: 'PUT', target: 'bucket', headers: body },
  HeadBucket: { method: 'HEAD', target: 'bucket' },
  ListMultipartUploads: {
    method: 'GET',
    target: 'bucket',
    needs: ['uploads'],
    query: ['delimiter', 'encoding-type', 'key-marker', 'max-uploads', 'prefix', 'upload-id-marker'],
  },
  ListObjectsV2: {
    method: 'GET',
    target: 'bucket',
    needs: ['list-type'],
    query: [
      'continuation-token',
      'delimiter',
      'encoding-type',
      'fetch-owner',
      'max-keys',
      'prefix',
      'start-after',
    ],
  },
  DeleteObjects: { method: 'POST', target: 'bucket', needs: ['delete'], headers: body },
  UploadPartCopy: {
    method: 'PUT',
    target: 'object',
    needs: ['partNumber', 'uploadId', 'x-amz-copy-source'],
    headers: [...copySource, 'x-amz-copy-source-range'],
  },
  UploadPart: { method: 'PUT', target: 'object', needs: ['partNumber', 'uploadId'], headers: body },
  CopyObject: {
    method: 'PUT',
    target: 'object',
    needs: ['x-amz-copy-source'],
    headers: [
      ...content,
      ...copySource,
      ...writeConditions,
      'x-amz-checksum-algorithm',
      'x-amz-metadata-directive',
      'x-amz-tagging-directive',
    ],
  },
  PutObject: { method: 'PUT', target: 'object', headers: [...content, ...body, ...writeConditions] },
  ListParts: {
    method: 'GET',
    target: 'object',
    needs: ['uploadId'],
    query: ['max-parts', 'part-number-marker'],
  },
  GetObject: { method: 'GET', target: 'object', headers: read },
  HeadObject: { method: 'HEAD', target: 'object', headers: read },
  CreateMultipartUpload: {
    method: 'POST',
    target: 'object',
    needs: ['uploads'],
    headers: [...content, 'x-amz-checksum-algorithm', 'x-amz-checksum-type'],
  },
  CompleteMultipartUpload: {
    method: 'POST',
    target: 'object',
    needs: ['uploadId'],
    headers: [...checksums, ...writeConditions, 'x-amz-checksum-type', 'x-amz-mp-object-size'],
  },
  AbortMultipartUpload: { method: 'DELETE', target: 'object', needs: ['uploadId'] },
  DeleteObject: { method: 'DELETE', target: 'object', headers: ['if-match'] },
} as const satisfies Readonly<Record<string, Shape>>;

export type S3Operation = keyof typeof shapes;

export const operations = Object.keys(shapes) as readonly S3Operation[];

/** With any request: what HTTP, the signature and the SDK's own bookkeeping need. */
const common = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'amz-sdk-invocation-id',
  'amz-sdk-request',
  'authorization',
  'connection',
  'content-length',
  'content-type',
  'date',
  'expect',
  'host',
  'transfer-encoding',
  'user-agent',
  'x-amz-content-sha256',
  'x-amz-date',
  'x-amz-security-token',
  'x-amz-user-agent',
]);

export const operationOf = ({ method, bucket, key, query, headers }: S3Request): S3Operation | undefined => {
  if (bucket === '') return undefined;
  const target = key === '' ? 'bucket' : 'object';
  return operations.find((operation) => {
    const shape: Shape = shapes[operation];
    if (shape.method !== method || shape.target !== target) return false;
    return (shape.needs ?? []).every((name) => query.has(name) || headers.has(name));
  });
};

/** What a request of this kind has that the double does not know. */
export const unknownParts = (operation: S3Operation, { query, headers }: S3Request): string[] => {
  const shape: Shape = shapes[operation];
  const allowedQuery = new Set(['x-id', ...(shape.needs ?? []), ...(shape.query ?? [])]);
  const allowedHeaders = shape.headers ?? [];
  const isKnown = (name: string): boolean =>
    common.has(name) ||
    allowedHeaders.some((allowed) => (allowed.endsWith('-') ? name.startsWith(allowed) : name === allowed));
  return [
    ...[...query.keys()].filter((name) => !allowedQuery.has(name)).map((name) => `parameter ${name}`),
    ...[...headers.keys()].filter((name) => !isKnown(name)).map((name) => `header ${name}`),
  ];
};
