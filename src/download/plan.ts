import { randomBytes } from 'node:crypto';
import { UploadError } from '../errors.ts';
import { parseByteRanges, selectRanges } from '../headers/byte-ranges.ts';
import { type ContentDisposition, printContentDisposition } from '../headers/content-disposition.ts';
import { type EntityTag, parseEntityTag } from '../headers/etag.ts';
import { isHttpDate, printHttpDate } from '../headers/http-date.ts';
import {
  fieldOf,
  ifRangeHolds,
  judgePreconditions,
  type RequestFields,
  type Validators,
} from '../headers/preconditions.ts';
import type { Range } from '../intervals.ts';

// From a request's head and what is known of a content to the head of the response and the slices of its body:
// RFC 9110 sections 13 (preconditions), 14 (ranges) and 15.3.7 (206). No I/O.

/** What there is to know of a content before a byte of it is read. */
export interface Representation {
  /** Bytes; undefined while nobody knows: then all is sent as it comes, and a Range is ignored. */
  readonly size: number | undefined;
  /** Whether more bytes will follow these: `Content-Range` then leaves the length open. False by default. */
  readonly isGrowing?: boolean;
  /**
   * As it stands on the wire: `"v1"`, or `W/"v1"` for a weak one. A strong one promises that the same tag always names the
   * very same bytes.
   */
  readonly etag?: string | undefined;
  /**
   * Of the whole content, as it stands on the wire: `sha-256=:…:` (RFC 9530 section 3). Sent as `Repr-Digest` with every 200
   * and 206, a HEAD's too: it is of the whole whatever part is asked for. A 304 leaves it out, as whoever has the content
   * has it (RFC 9110 section 15.4.5), and a content that `isGrowing` has none yet. `Want-Repr-Digest` changes nothing.
   */
  readonly digest?: string | undefined;
  /** A date, or milliseconds since the epoch. */
  readonly lastModified?: Date | number | undefined;
  /** @default 'application/octet-stream' */
  readonly contentType?: string | undefined;
  readonly disposition?: ContentDisposition | undefined;
  /** More fields of a 200 and a 206; those of caching (Cache-Control, Expires, Vary, Content-Location) of a 304 too. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface PlanOptions {
  /**
   * A request for more ranges than this gets the whole, as one whose multipart body would be no shorter than the whole.
   *
   * @default 100
   */
  readonly maxRanges?: number;
  /** Milliseconds since the epoch. @default Date.now() */
  readonly now?: number;
  /** Separates the parts of a multipart body, in which it must not occur. @default 128 random bits */
  readonly boundary?: string;
}

export interface RequestLine {
  readonly method?: string | undefined;
  readonly headers: RequestFields;
}

export interface ResponsePlan {
  readonly status: 200 | 206 | 304 | 405 | 412 | 416;
  /** With the exact Content-Length of `body` (of a HEAD: of what a GET would get). */
  readonly headers: Record<string, string | number>;
  /** What to send: slices of the content, and text (of ASCII alone) between them. */
  readonly body: readonly (Range | string)[];
  /** Of `body`; undefined where the size is. */
  readonly bodyLength: number | undefined;
}

const defaultMaxRanges = 100;

/** Fields that a 304 has where the 200 would have them (section 15.4.5). */
const ofNotModified = new Set(['cache-control', 'content-location', 'expires', 'vary']);

/** Throws an `UploadError` with `invalid_argument` for an entity tag, a digest or a media type that is none. */
export const planResponse = (
  request: RequestLine,
  representation: Representation,
  options: PlanOptions = {},
): ResponsePlan => {
  const { method, headers } = request;
  if (method !== 'GET' && method !== 'HEAD')
    return bodiless(405, { Allow: 'GET, HEAD', 'Content-Length': 0 });
  const now = options.now ?? Date.now();
  const validators = validatorsOf(representation, now);
  const verdict = judgePreconditions(headers, validators);
  if (verdict === 'failed') return bodiless(412, { 'Content-Length': 0 });
  if (verdict === 'not_modified') return notModified(representation, validators);

  const { size } = representation;
  if (size === undefined) {
    const all = { start: 0, end: Number.POSITIVE_INFINITY };
    return withBody(method, 200, fields(representation, validators, 'none'), [all], undefined);
  }
  // Only a GET has ranges (section 14.2).
  const ranges = method === 'GET' ? wanted(headers, size, validators, now, options) : undefined;
  if (ranges === undefined) return whole(method, representation, validators, size);
  const [range] = ranges;
  if (range === undefined) {
    const unsatisfied = { 'Accept-Ranges': 'bytes', 'Content-Range': `bytes */${size}`, 'Content-Length': 0 };
    return bodiless(416, unsatisfied);
  }
  if (ranges.length > 1) {
    const plan = multipart(representation, validators, size, ranges, options.boundary);
    return (plan.bodyLength ?? 0) < size ? plan : whole(method, representation, validators, size);
  }
  const head = fields(representation, validators);
  head['Content-Range'] = contentRange(range, representation, size);
  return withBody(method, 206, head, [range], range.end - range.start);
};

/** Undefined for the whole; none when there is nothing of what was asked for. */
const wanted = (
  headers: RequestFields,
  size: number,
  validators: Validators,
  now: number,
  { maxRanges = defaultMaxRanges }: PlanOptions,
): readonly Range[] | undefined => {
  const field = fieldOf(headers, 'range');
  if (field === undefined) return undefined;
  const ifRange = fieldOf(headers, 'if-range');
  if (ifRange !== undefined && !ifRangeHolds(ifRange, validators, now)) return undefined;
  const specs = parseByteRanges(field);
  if (specs === undefined || specs.length > maxRanges) return undefined;
  // The last bytes of nothing are all of it, for which no Content-Range could be written.
  if (size === 0 && specs.some((spec) => 'suffix' in spec && spec.suffix > 0)) return undefined;
  return selectRanges(specs, size);
};

const whole = (
  method: string,
  representation: Representation,
  validators: Validators,
  size: number,
): ResponsePlan => {
  const slices = size === 0 ? [] : [{ start: 0, end: size }];
  return withBody(method, 200, fields(representation, validators), slices, size);
};

const multipart = (
  representation: Representation,
  validators: Validators,
  size: number,
  ranges: readonly Range[],
  boundary = randomBytes(16).toString('hex'),
): ResponsePlan => {
  const body: (Range | string)[] = [];
  let length = 0;
  for (const range of ranges) {
    const head =
      `${body.length === 0 ? '' : '\r\n'}--${boundary}\r\nContent-Type: ${mediaType(representation)}\r\n` +
      `Content-Range: ${contentRange(range, representation, size)}\r\n\r\n`;
    body.push(head, range);
    length += Buffer.byteLength(head, 'latin1') + range.end - range.start;
  }
  const end = `\r\n--${boundary}--\r\n`;
  body.push(end);
  const head = fields(representation, validators);
  head['Content-Type'] = `multipart/byteranges; boundary=${boundary}`;
  return withBody('GET', 206, head, body, length + end.length);
};

const withBody = (
  method: string,
  status: 200 | 206,
  headers: Record<string, string | number>,
  body: readonly (Range | string)[],
  length: number | undefined,
): ResponsePlan => {
  if (length !== undefined) headers['Content-Length'] = length;
  return method === 'HEAD'
    ? { status, headers, body: [], bodyLength: 0 }
    : { status, headers, body, bodyLength: length };
};

const bodiless = (status: 304 | 405 | 412 | 416, headers: Record<string, string | number>): ResponsePlan => ({
  status,
  headers,
  body: [],
  bodyLength: 0,
});

const notModified = (representation: Representation, validators: Validators): ResponsePlan => {
  const headers: Record<string, string | number> = {};
  for (const [name, value] of Object.entries(representation.headers ?? {})) {
    if (ofNotModified.has(name.toLowerCase())) headers[name] = value;
  }
  // The date alone would tell a cache less than the tag does.
  if (representation.etag !== undefined) headers.ETag = representation.etag;
  else if (validators.lastModified !== undefined)
    headers['Last-Modified'] = printHttpDate(validators.lastModified);
  return bodiless(304, headers);
};

const fields = (
  representation: Representation,
  { lastModified }: Validators,
  acceptRanges = 'bytes',
): Record<string, string | number> => {
  const { etag, digest, disposition, headers, isGrowing = false } = representation;
  const all: Record<string, string | number> = {
    ...headers,
    'Content-Type': mediaType(representation),
    'Accept-Ranges': acceptRanges,
  };
  if (etag !== undefined) all.ETag = etag;
  if (lastModified !== undefined) all['Last-Modified'] = printHttpDate(lastModified);
  if (digest !== undefined && !isGrowing) all['Repr-Digest'] = reprDigest(digest);
  if (disposition !== undefined) all['Content-Disposition'] = printContentDisposition(disposition);
  return all;
};

const contentRange = ({ start, end }: Range, { isGrowing }: Representation, size: number): string =>
  `bytes ${start}-${end - 1}/${isGrowing ? '*' : size}`;

/** It stands in the body of a multipart response too, where nobody else would notice a line break. */
const mediaType = ({ contentType = 'application/octet-stream' }: Representation): string => {
  if (/^[\t\x20-\x7e]+$/.test(contentType)) return contentType;
  throw new UploadError('invalid_argument', 'not a media type', { actual: contentType });
};

/** A dictionary of byte sequences (RFC 8941 section 3.2), of any algorithms. */
const reprDigest = (text: string): string => {
  if (/^([a-z*][\w.*-]*=:[A-Za-z0-9+/]+={0,2}:(, ?(?!$)|$))+$/.test(text)) return text;
  throw new UploadError('invalid_argument', 'not a digest', { expected: 'sha-256=:…:', actual: text });
};

const validatorsOf = ({ etag, lastModified }: Representation, now: number): Validators => ({
  etag: etag === undefined ? undefined : entityTag(etag),
  lastModified: lastModified === undefined ? undefined : wholeSecond(Number(lastModified), now),
});

const entityTag = (text: string): EntityTag => {
  const tag = parseEntityTag(text);
  if (tag !== undefined) return tag;
  throw new UploadError('invalid_argument', 'not an entity tag', { expected: '"…" or W/"…"', actual: text });
};

/** A date still to come says no more than the present one (section 8.8.2.1). */
const wholeSecond = (ms: number, now: number): number | undefined => {
  const known = Math.min(ms, now);
  return isHttpDate(known) ? Math.floor(known / 1000) * 1000 : undefined;
};
