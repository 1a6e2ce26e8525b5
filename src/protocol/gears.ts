import { UploadError } from '../errors.ts';
import { type ContentRange, parseContentRange } from '../headers/content-range.ts';
import { parseDigest, printDigest } from '../headers/digest.ts';
import { parseEntityTags } from '../headers/etag.ts';
import { prefers } from '../headers/prefer.ts';
import { printRange, type RangeForm } from '../headers/range.ts';
import type {
  Command,
  Dialect,
  Identity,
  Outcome,
  OutcomeContext,
  RequestHead,
  ResponseHead,
} from './dialect.ts';
import { isToken } from './identity.ts';
import { problemResponse } from './problem.ts';
import { sessionUrl, splitSessionUrl } from './session-url.ts';

// The dialect of the Gears proposal, "A proposal for supporting resumable POST/PUT HTTP requests in HTTP/1.0"
// (2008). Its sections are named where they are implemented; where it leaves a choice, the reason for ours
// stands there.

export interface GearsOptions {
  /** How the handshake names an upload. */
  readonly handshake: 'location' | 'etag';
  readonly sessionParameter: string;
  readonly rangeForm: RangeForm;
}

/** An entity tag is ours if it begins so; every other If-Match is the application's. */
const tagPrefix = 'resumable-';

/**
 * A client's header parser has limits: Node's overflows at a thousand ranges. The lowest are the ones it
 * needs next.
 */
export const maxRanges = 64;

const bodyMethods = new Set(['POST', 'PUT', 'PATCH']);

export const gears = (options: GearsOptions): Dialect => ({
  name: 'gears',

  plainUrl: (url) => splitSessionUrl(url, options.sessionParameter).plain,

  command(head) {
    if (head.facts.isUpload === false) return undefined;
    const identity = identify(head, options.sessionParameter);
    const contentRange = field(head, 'content-range');
    if (head.method === 'DELETE' && contentRange === undefined) return abort(identity);
    if (contentRange !== undefined) return ranged(head, identity, parseContentRange(contentRange));
    return isUpload(head, identity) ? whole(head, identity) : undefined;
  },

  response(outcome, context) {
    if (outcome.kind !== 'failed') return respond(outcome, context, options);
    const { error } = outcome;
    return problemResponse(error.code === 'not_found' ? unknownIdentity(context.identity) : error);
  },
});

/**
 * "Unique Operation Identifier": our URL, our entity tag, a URL the application declares unique, in this
 * order.
 */
const identify = (head: RequestHead, parameter: string): Identity => {
  const { token } = splitSessionUrl(head.url, parameter);
  if (token !== undefined) return { by: 'session', token };
  const tag = ourTag(field(head, 'if-match'));
  if (tag !== undefined) return { by: 'tag', token: tag };
  return head.facts.name === undefined ? { by: 'none' } : { by: 'name', name: head.facts.name };
};

const ourTag = (ifMatch: string | undefined): string | undefined => {
  const tags = ifMatch === undefined ? undefined : parseEntityTags(ifMatch);
  if (tags === undefined || tags === 'any') return undefined;
  const ours = tags.find(({ weak, value }) => !weak && value.startsWith(tagPrefix));
  return ours?.value.slice(tagPrefix.length);
};

/**
 * RFC 9112 section 6: Transfer-Encoding or Content-Length tell of a body. An empty one is worth no upload by
 * itself.
 */
const hasBody = (head: RequestHead): boolean =>
  field(head, 'transfer-encoding') !== undefined || (contentLength(head) ?? 0) > 0;

const isUpload = (head: RequestHead, identity: Identity): boolean => {
  if (!bodyMethods.has(head.method)) return false;
  if (identity.by !== 'none') return true;
  return head.facts.isUpload ?? hasBody(head);
};

/** "Initial Request": no Content-Range, the entire content. */
const whole = (head: RequestHead, identity: Identity): Command => {
  const chunked = field(head, 'transfer-encoding') !== undefined;
  const length = chunked ? undefined : (contentLength(head) ?? 0);
  return write(head, identity, { start: 0, end: length, length, endsContent: chunked });
};

/** "Content-Range Header", "Resume Requests", "Query Requests", "Initial Handshake". */
const ranged = (head: RequestHead, identity: Identity, range: ContentRange): Command => {
  const bytes = contentLength(head);
  const chunked = field(head, 'transfer-encoding') !== undefined;
  if (range.kind === 'query') {
    // A `*` may not describe bytes: nobody would know where they belong.
    if (chunked || (bytes ?? 0) > 0) {
      throw new UploadError('malformed_content_range', 'a query has no body', { expected: 0, actual: bytes });
    }
    return bodiless(head, identity, range.length);
  }
  const { start, length } = range;
  const end = range.end ?? (chunked ? undefined : start + (bytes ?? 0));
  if (!chunked && end !== start + (bytes ?? 0)) {
    throw new UploadError('range_length_mismatch', 'the range and Content-Length disagree', {
      expected: (end ?? start) - start,
      actual: bytes ?? 0,
    });
  }
  if (length !== undefined && end !== undefined && end > length) {
    throw new UploadError('range_past_length', 'the range ends past the length', {
      expected: length,
      actual: end,
    });
  }
  // `a-*/*` ends the content where its body ends. `a-b/*` never does: who states where a body ends, but not
  // that this is the end, has more.
  const endsContent = range.end === undefined && length === undefined;
  return write(head, identity, { start, end, length, endsContent });
};

const bodiless = (head: RequestHead, identity: Identity, length: number | undefined): Command => {
  // `*/0` where nothing is known yet: of an empty upload nothing is missing, so it is created and complete.
  if (length === 0 && (identity.by === 'none' || identity.by === 'name')) {
    return write(head, identity, { start: 0, end: 0, length: 0, endsContent: false });
  }
  if (identity.by === 'none') return { kind: 'create', identity, length };
  assertToken(identity);
  // At a client's own URL a query may be the first that arrives: the first request died on its way.
  return { kind: 'query', identity, length, absent: identity.by === 'name' ? 'empty' : 'refuse' };
};

interface Body {
  readonly start: number;
  readonly end: number | undefined;
  readonly length: number | undefined;
  readonly endsContent: boolean;
}

const write = (head: RequestHead, identity: Identity, body: Body): Command => {
  assertToken(identity);
  const digestField = field(head, 'repr-digest');
  const digest = digestField === undefined ? undefined : parseDigest(digestField);
  const preferences = field(head, 'prefer');
  return {
    kind: 'write',
    identity,
    absent: identity.by === 'name' || identity.by === 'none' ? 'create' : 'refuse',
    ...body,
    digest: digest && printDigest(digest),
    wantsCheckpoints: preferences !== undefined && prefers(preferences, 'checkpoint'),
  };
};

const abort = (identity: Identity): Command | undefined => {
  if (identity.by === 'none') return undefined;
  assertToken(identity);
  return { kind: 'abort', identity, absent: identity.by === 'name' ? 'pass' : 'refuse' };
};

/** A secret that cannot be one of ours is unknown: 404 in a URL, 412 in a precondition. */
const assertToken = (identity: Identity): void => {
  if (identity.by !== 'session' && identity.by !== 'tag') return;
  if (!isToken(identity.token)) throw unknownIdentity(identity);
};

/** What an identity that names no upload is answered with. */
const unknownIdentity = (identity: Identity): UploadError =>
  identity.by === 'tag'
    ? new UploadError('unknown_operation', 'If-Match names no upload')
    : new UploadError('not_found', 'no upload has this identity');

const respond = (
  outcome: Exclude<Outcome, { kind: 'failed' }>,
  context: OutcomeContext,
  options: GearsOptions,
): ResponseHead => {
  switch (outcome.kind) {
    case 'created':
      return head308({ ...(options.handshake === 'etag' ? tagOf(context) : locationOf(context, options)) });
    case 'incomplete':
      // Never a Location here: a client that follows a 308 (RFC 7538) would send its body again, to there.
      return head308({ ...tagOf(context), ...rangeOf(outcome.received, options) });
    case 'checkpoint':
      // "Optional Status Code": as a 308. This one may say where, since nobody follows an interim response.
      return {
        status: 103,
        reason: 'Checkpoint',
        headers: {
          ...(options.handshake === 'etag' || context.identity.by === 'tag'
            ? tagOf(context)
            : locationOf(context, options)),
          ...rangeOf(outcome.received, options),
        },
      };
    case 'aborted':
      return { status: 204, reason: 'No Content', headers: { 'Cache-Control': 'no-store' } };
    case 'processing': {
      const retryAfter = String(Math.max(1, Math.ceil(outcome.retryAfterMs / 1000)));
      const { length = 0 } = outcome;
      const headers = {
        'Retry-After': retryAfter,
        // As a 308 would: whoever reads it need send nothing again.
        ...rangeOf(length === 0 ? [] : [{ start: 0, end: length }], options),
        'Content-Length': '0',
        'Cache-Control': 'no-store',
      };
      return { status: 503, reason: 'Service Unavailable', headers };
    }
  }
};

const head308 = (headers: Readonly<Record<string, string>>): ResponseHead => ({
  status: 308,
  reason: 'Resume Incomplete',
  headers: { ...headers, 'Content-Length': '0', 'Cache-Control': 'no-store' },
});

/** Said again to whoever came with it, told to whoever has nothing yet. */
const tagOf = ({ identity, token }: OutcomeContext): Record<string, string> => {
  const value = identity.by === 'tag' ? identity.token : token;
  return value === undefined ? {} : { ETag: `"${tagPrefix}${value}"` };
};

const locationOf = (
  { url, token, origin = '' }: OutcomeContext,
  { sessionParameter }: GearsOptions,
): Record<string, string> =>
  token === undefined ? {} : { Location: origin + sessionUrl(url, sessionParameter, token) };

const rangeOf = (received: OutcomeRanges, { rangeForm }: GearsOptions): Record<string, string> => {
  const value = printRange(received.slice(0, maxRanges), rangeForm);
  return value === undefined ? {} : { Range: value };
};

type OutcomeRanges = Extract<Outcome, { kind: 'incomplete' }>['received'];

/**
 * One field as one text. A field that may stand once only and stands twice becomes a list, which no grammar
 * here takes.
 */
const field = ({ headers }: RequestHead, name: string): string | undefined => {
  const value = headers[name];
  return typeof value === 'string' || value === undefined ? value : value.join(', ');
};

const contentLength = (head: RequestHead): number | undefined => {
  const value = field(head, 'content-length');
  return value === undefined ? undefined : Number(value);
};
