import { S3Error } from './errors.ts';
import type { S3Request } from './request.ts';

/**
 * How writes treat `If-Match` and `If-None-Match`:
 *
 * - `atomic`: decided at the moment of the write, as AWS does;
 * - `racy`: decided before the body is read, so that two writers may both be told yes (swift's s3api);
 * - `none`: 501 NotImplemented;
 * - `ignored`: as if the header were not there.
 */
export type ConditionalWrites = 'atomic' | 'racy' | 'none' | 'ignored';

export interface WriteConditions {
  /** Throws unless the write may go ahead over what is there now. */
  check(current: { readonly etag: string } | undefined): void;
}

export const unquoted = (etag: string): string => etag.replace(/^"(.*)"$/, '$1');

const always: WriteConditions = { check() {} };

export const writeConditionsOf = ({ headers }: S3Request, mode: ConditionalWrites): WriteConditions => {
  const ifMatch = headers.get('if-match');
  const ifNoneMatch = headers.get('if-none-match');
  if (mode === 'ignored' || (ifMatch === undefined && ifNoneMatch === undefined)) return always;
  const header = ifNoneMatch === undefined ? 'If-Match' : 'If-None-Match';
  // AWS takes nothing but `*` in an `If-None-Match` of a write, and only one of the two headers.
  const supported = ifMatch === undefined ? ifNoneMatch === '*' : ifNoneMatch === undefined;
  if (mode === 'none' || !supported) throw new S3Error('NotImplemented', undefined, { Header: header });
  return {
    check(current) {
      if (ifNoneMatch !== undefined) {
        if (current !== undefined) throw failed(header);
        return;
      }
      if (current === undefined) throw new S3Error('NoSuchKey');
      if (ifMatch !== '*' && unquoted(ifMatch ?? '') !== unquoted(current.etag)) throw failed(header);
    },
  };
};

const failed = (header: string): S3Error =>
  new S3Error('PreconditionFailed', undefined, { Condition: header });

/** Those of a GET or HEAD; with a prefix, those on the source of a copy, where S3 never answers 304. */
export const checkReadConditions = (
  { headers }: S3Request,
  object: { readonly etag: string; readonly lastModified: Date },
  prefix: '' | 'x-amz-copy-source-' = '',
): void => {
  const matches = (list: string): boolean =>
    list.split(',').some((etag) => etag.trim() === '*' || unquoted(etag.trim()) === unquoted(object.etag));
  /** Undefined for what is no date, which counts for nothing. */
  const modifiedSince = (date: string | undefined): boolean | undefined => {
    const time = Date.parse(date ?? '');
    return Number.isNaN(time) ? undefined : Math.floor(object.lastModified.getTime() / 1000) * 1000 > time;
  };
  const ifMatch = headers.get(`${prefix}if-match`);
  const unmodifiedSince = headers.get(`${prefix}if-unmodified-since`);
  if (ifMatch !== undefined) {
    if (!matches(ifMatch)) throw failed('If-Match');
  } else if (modifiedSince(unmodifiedSince)) {
    throw failed('If-Unmodified-Since');
  }
  const ifNoneMatch = headers.get(`${prefix}if-none-match`);
  const since = headers.get(`${prefix}if-modified-since`);
  const unchanged = ifNoneMatch === undefined ? modifiedSince(since) === false : matches(ifNoneMatch);
  if (!unchanged) return;
  if (prefix !== '') throw failed(`${prefix}if-none-match`);
  throw new S3Error('NotModified', undefined, {}, { etag: object.etag });
};
