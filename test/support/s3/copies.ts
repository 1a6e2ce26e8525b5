import { type Checksum, checksumElement } from './checksums.ts';
import { checkReadConditions } from './conditions.ts';
import { S3Error } from './errors.ts';
import type { StoredObject } from './object-store.ts';
import { decode } from './request.ts';
import type { Work } from './work.ts';
import { element, resultXml } from './xml.ts';

/** What CopyObject or UploadPartCopy is to read, its conditions checked. */
export const copySourceOf = ({ request, rules, objects, unknown }: Work): StoredObject => {
  const header = request.headers.get('x-amz-copy-source') ?? '';
  const [, bucket, encodedKey, version] = /^\/?([^/]+)\/([^?]+)(\?.*)?$/.exec(header) ?? [];
  if (bucket === undefined || encodedKey === undefined) {
    throw new S3Error(
      'InvalidArgument',
      'Copy Source must mention the source bucket and key: sourcebucket/sourcekey',
      { ArgumentName: 'x-amz-copy-source', ArgumentValue: header },
    );
  }
  if (version !== undefined) throw unknown(`copy source ${version}`);
  const source = objects.get(decode(bucket), decode(encodedKey));
  checkReadConditions(request, source, 'x-amz-copy-source-');
  const isRange = request.headers.has('x-amz-copy-source-range');
  if (!isRange && source.size > rules.maxPutSize) {
    throw new S3Error(
      'InvalidRequest',
      `The specified copy source is larger than the maximum allowable size for a copy source: ${rules.maxPutSize}`,
    );
  }
  return source;
};

/** The whole where no range is named; a range beyond the end is refused, and not cut as for a GET. */
export const copyRangeOf = (
  { request }: Work,
  size: number,
): { readonly start: number; readonly end: number } => {
  const range = request.headers.get('x-amz-copy-source-range');
  if (range === undefined) return { start: 0, end: size };
  const refused = (message: string): S3Error =>
    new S3Error('InvalidArgument', message, {
      ArgumentName: 'x-amz-copy-source-range',
      ArgumentValue: range,
    });
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(range) ?? [];
  if (first === undefined || last === undefined || Number(last) < Number(first)) {
    throw refused(
      'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy',
    );
  }
  if (Number(last) >= size) throw refused(`Range specified is not valid for source object of size: ${size}`);
  return { start: Number(first), end: Number(last) + 1 };
};

export const copyXml = (
  name: string,
  result: {
    readonly etag: string;
    readonly lastModified: Date;
    readonly checksum?: Pick<Checksum, 'algorithm' | 'value'>;
  },
): string =>
  resultXml(
    name,
    element('LastModified', result.lastModified.toISOString()),
    element('ETag', result.etag),
    result.checksum && element(checksumElement(result.checksum.algorithm), result.checksum.value),
  );
