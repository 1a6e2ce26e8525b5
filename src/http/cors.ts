import type { IncomingMessage, ServerResponse } from 'node:http';
import { UploadError } from '../errors.ts';
import {
  addVary,
  assertFieldNames,
  assertOrigin,
  type CorsPolicy,
  isPreflight,
  preflightFields,
  sharingFields,
} from '../headers/cors.ts';
import type { AnswerHead } from './answer.ts';
import { setHead } from './header-pairs.ts';

/**
 * Which other origins' pages may upload here: `true` for any, those of a list (`https://app.example.com`), or those a
 * function allows. Of the latter two each is answered by name; `null`, the origin of sandboxes and files, never is.
 */
export type CorsOrigins = true | readonly string[] | ((origin: string, req: IncomingMessage) => boolean);

export interface CorsOptions {
  readonly origins: CorsOrigins;
  /**
   * Whether pages may send cookies along, and read what is answered to them. Not together with `origins: true`.
   * @default false
   */
  readonly credentials?: boolean;
  /**
   * How long a browser may remember what it may ask, in milliseconds (browsers have bounds of their own).
   * @default 7200000 (2 hours)
   */
  readonly maxAgeMs?: number;
  /** Request headers of the application's own, besides those that uploads and downloads need. */
  readonly allowHeaders?: readonly string[];
  /** Response headers of the application's own that pages may read, likewise. */
  readonly exposeHeaders?: readonly string[];
}

/** The policy that the option says; undefined where it says nothing. Throws `invalid_argument`. */
export const corsPolicy = (
  option: CorsOrigins | CorsOptions | false | undefined,
): CorsPolicy<IncomingMessage> | undefined => {
  if (option === undefined || option === false) return undefined;
  const isPlain = typeof option === 'object' && option !== null && 'origins' in option;
  const options: CorsOptions = isPlain ? option : { origins: option as CorsOrigins };
  const {
    origins,
    credentials = false,
    maxAgeMs = 7_200_000,
    allowHeaders = [],
    exposeHeaders = [],
  } = options;
  if (origins === true && credentials) {
    throw new UploadError('invalid_argument', 'cors.credentials are for origins that are named');
  }
  if (!Number.isSafeInteger(maxAgeMs) || maxAgeMs < 0) {
    throw new UploadError('invalid_argument', 'cors.maxAgeMs must be a safe integer', { actual: maxAgeMs });
  }
  assertFieldNames([...allowHeaders, ...exposeHeaders]);
  return { isAllowed: readOrigins(origins), credentials, maxAgeMs, allowHeaders, exposeHeaders };
};

const readOrigins = (origins: CorsOrigins): CorsPolicy<IncomingMessage>['isAllowed'] => {
  if (origins === true) return undefined;
  if (typeof origins === 'function') return origins;
  if (!Array.isArray(origins)) {
    throw new UploadError('invalid_argument', 'cors takes true, a list of origins, or a function');
  }
  origins.forEach(assertOrigin);
  const listed: ReadonlySet<string> = new Set(origins);
  return (origin) => listed.has(origin);
};

/**
 * Lets the origin that asks read whatever will be answered on `res`, whoever answers. Returns the answer to give at
 * once if all it asks is whether it may.
 */
export const shareResponse = (
  policy: CorsPolicy<IncomingMessage>,
  req: IncomingMessage,
  res: ServerResponse,
): AnswerHead | undefined => {
  if (isPreflight(req.method, req.headers)) {
    return { status: 204, reason: 'No Content', headers: preflightFields(policy, req) };
  }
  const fields = sharingFields(policy, req);
  addFields(res, fields);
  // Again when the head goes out: a handler may have set a `Vary` of its own, and an error handler removed everything.
  const { writeHead } = res;
  const write = writeHead as (status: number) => ServerResponse;
  res.writeHead = function share(this: ServerResponse, status: number, ...rest: unknown[]) {
    if (this.headersSent) return Reflect.apply(writeHead, this, [status, ...rest]);
    setHead(this, status, rest);
    addFields(this, fields);
    return write.call(this, status);
  } as typeof writeHead;
  return undefined;
};

/** What somebody else has set stays as it is. */
const addFields = (res: ServerResponse, fields: Readonly<Record<string, string>>): void => {
  const own = res.getHeader('access-control-allow-origin');
  const isOthers = own !== undefined && own !== fields['Access-Control-Allow-Origin'];
  for (const [name, value] of Object.entries(fields)) {
    if (name === 'Vary') res.setHeader(name, addVary([res.getHeader(name) ?? []].flat().join(', '), value));
    else if (name === 'Access-Control-Allow-Credentials' && isOthers) continue;
    else if (!res.hasHeader(name)) res.setHeader(name, value);
  }
};

/** A stored answer, which was another's, without what let that other's origin read it. */
export const unshared = <Head extends Pick<AnswerHead, 'headers'>>(head: Head): Head => {
  const isShared = (name: string): boolean => /^access-control-allow-(origin|credentials)$/i.test(name);
  const kept = Object.entries(head.headers).filter(([name]) => !isShared(name));
  return { ...head, headers: Object.fromEntries(kept) };
};
