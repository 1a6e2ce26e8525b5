import { UploadError } from '../errors.ts';

// Cross-origin resource sharing, the fields of it (Fetch standard, "HTTP extensions" and "CORS protocol").

export interface CorsPolicy<Request> {
  /** Undefined: any, without the credentials of any. */
  readonly isAllowed: ((origin: string, req: Request) => boolean) | undefined;
  readonly credentials: boolean;
  readonly maxAgeMs: number;
  readonly allowHeaders: readonly string[];
  readonly exposeHeaders: readonly string[];
}

/** Field names in lower case, as Node gives those of a request. */
type RequestFields = Readonly<Record<string, string | readonly string[] | undefined>>;

const methods = 'GET, HEAD, POST, PUT, PATCH, DELETE';

/** What uploads and downloads are asked for with. All by name: `*` would not be `Authorization`. */
const requestHeaders = [
  'Authorization',
  'Content-Type',
  'Content-Range',
  'If-Match',
  'Prefer',
  'Repr-Digest',
  'Upload-Metadata',
  'Range',
  'If-Range',
  'If-None-Match',
];

/** What a client has to read to resume, and to know which part of what it was given. */
const responseHeaders = [
  'Range',
  'Location',
  'ETag',
  'Retry-After',
  'Date',
  'Content-Range',
  'Accept-Ranges',
  'Repr-Digest',
  'Content-Disposition',
];

/** Throws `invalid_argument` for what a browser would never send as an origin, and so never match. */
export const assertOrigin = (text: unknown): void => {
  const isOrigin =
    typeof text === 'string' &&
    /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@]+$/.test(text) &&
    (!/^https?:/.test(text) || (URL.canParse(text) && new URL(text).origin === text));
  if (isOrigin) return;
  throw new UploadError('invalid_argument', 'an origin is scheme, host and port, as in https://example.com', {
    actual: String(text),
  });
};

/** Throws `invalid_argument`. */
export const assertFieldNames = (names: readonly string[]): void => {
  for (const name of names) {
    if (/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) continue;
    throw new UploadError('invalid_argument', 'not the name of a header field', { actual: String(name) });
  }
};

/** Whether a browser asks if it may ask ("CORS-preflight request"). */
export const isPreflight = (method: string | undefined, headers: RequestFields): boolean =>
  method === 'OPTIONS' &&
  headers.origin !== undefined &&
  headers['access-control-request-method'] !== undefined;

/**
 * The fields that let the origin which asks read a response; of one that may not, only the word that others may. An
 * opaque origin (`null`) could be anybody's, and is none.
 */
export const sharingFields = <Request extends { readonly headers: RequestFields }>(
  policy: CorsPolicy<Request>,
  req: Request,
): Record<string, string> => {
  const allowed = allowing(policy, req);
  if (allowed['Access-Control-Allow-Origin'] === undefined) return allowed;
  const exposed = [...responseHeaders, ...policy.exposeHeaders].join(', ');
  return { ...allowed, 'Access-Control-Expose-Headers': exposed };
};

/** The fields of the answer to a preflight. */
export const preflightFields = <Request extends { readonly headers: RequestFields }>(
  policy: CorsPolicy<Request>,
  req: Request,
): Record<string, string> => {
  const allowed = allowing(policy, req);
  if (allowed['Access-Control-Allow-Origin'] === undefined) return allowed;
  return {
    ...allowed,
    'Access-Control-Allow-Methods': methods,
    'Access-Control-Allow-Headers': [...requestHeaders, ...policy.allowHeaders].join(', '),
    'Access-Control-Max-Age': String(Math.floor(policy.maxAgeMs / 1000)),
  };
};

const allowing = <Request extends { readonly headers: RequestFields }>(
  { isAllowed, credentials }: CorsPolicy<Request>,
  req: Request,
): Record<string, string> => {
  if (isAllowed === undefined) return { 'Access-Control-Allow-Origin': '*' };
  const vary = { Vary: 'Origin' };
  const { origin } = req.headers;
  // Strictly true: a promise of an answer is none.
  if (typeof origin !== 'string' || origin === 'null' || isAllowed(origin, req) !== true) return vary;
  return {
    ...vary,
    'Access-Control-Allow-Origin': origin,
    ...(credentials && { 'Access-Control-Allow-Credentials': 'true' }),
  };
};

/** A `Vary` that names `field` besides what it named. */
export const addVary = (vary: string, field: string): string => {
  const named = vary.split(',').map((name) => name.trim().toLowerCase());
  if (named.includes('*') || named.includes(field.toLowerCase())) return vary;
  return vary.trim() === '' ? field : `${vary}, ${field}`;
};
