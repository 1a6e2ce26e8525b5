import type { IncomingHttpHeaders } from 'node:http';
import { UploadError } from '../errors.ts';
import type { OpenResponse } from './download-request.ts';
import type { Version } from './partial-file.ts';

/** What an answer to a GET brings. */
export interface Answer {
  /** Half-open; `end` is undefined where only the end of the connection tells. */
  readonly start: number;
  readonly end: number | undefined;
  /** The server sent all, although a range was asked for. */
  readonly isWhole: boolean;
  readonly version: Version;
}

const contentRange = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/;

/** Rejects with `unexpected_response` what cannot be taken for the range that was asked for. */
export const readAnswer = (
  { status, statusText, headers }: OpenResponse,
  wanted: { readonly start: number; readonly end: number | undefined },
): Answer => {
  const refuse = (why: string, actual?: string): UploadError =>
    new UploadError('unexpected_response', why, { status, actual });
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity')
    throw refuse('the server encodes what it sends', encoding);
  const field = headers['content-range'];
  if (status === 416 && field?.trim() === 'bytes */0') {
    return { start: 0, end: 0, isWhole: true, version: readVersion(headers, 0) };
  }
  if (status === 200) {
    const text = headers['content-length'];
    const length = text === undefined ? undefined : Number(text);
    return { start: 0, end: length, isWhole: true, version: readVersion(headers, length) };
  }
  if (status !== 206) throw refuse(`the server answered ${status} ${statusText}`);
  const [, first, last, total] = contentRange.exec(field ?? '')?.map(Number) ?? [];
  if (first === undefined || last === undefined || total === undefined || last < first || last >= total) {
    throw refuse('a 206 without a Content-Range that can be read', field);
  }
  if (first !== wanted.start || last >= (wanted.end ?? total)) {
    throw refuse('the server sent another range than was asked for', field);
  }
  return { start: first, end: last + 1, isWhole: false, version: readVersion(headers, total) };
};

const readVersion = (headers: IncomingHttpHeaders, length: number | undefined): Version => {
  const digest = headers['repr-digest'];
  return {
    validator: validatorOf(headers),
    length,
    digest: Array.isArray(digest) ? digest.join(', ') : digest,
  };
};

/** What `If-Range` may carry: a strong entity tag, or a date that is strong (RFC 9110 section 8.8.2.2). */
const validatorOf = ({ etag, date, 'last-modified': modified }: IncomingHttpHeaders): string | undefined => {
  if (etag !== undefined) return etag.startsWith('W/') ? undefined : etag;
  if (modified === undefined) return undefined;
  const age = Date.parse(date ?? '') - Date.parse(modified);
  return age >= 1_000 ? modified : undefined;
};
