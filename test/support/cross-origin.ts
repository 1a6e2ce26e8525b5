import type { RawResponse } from './raw-client.ts';
import { ask, type Request } from './requests.ts';

// A browser's checks of what a page of one origin may ask of another, and read (Fetch standard, "CORS protocol").

/** What a page gets to see of an answer. */
export interface Seen {
  readonly status: number;
  /** Those that are exposed to it. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
  /** As it was on the wire, and so not seen. */
  readonly raw: RawResponse;
}

export interface Page {
  readonly origin: string;
  /** Whether it asks with `credentials: 'include'`. */
  readonly credentials?: boolean;
}

/** What a browser calls a network error: the page learns nothing else. */
export class CorsError extends Error {}

/** One request of a page, after its preflight if it takes one. Rejects with a `CorsError` where a browser would. */
export const askFrom = async (
  page: Page,
  service: { readonly port: number },
  request: Request,
): Promise<Seen> => {
  if (unsafeHeaders(request).length > 0 || !isSimple(request.method ?? 'POST')) {
    await preflight(page, service, request);
  }
  const headers = { ...request.headers, Origin: page.origin };
  return readBy(page, await ask(service, { ...request, headers }));
};

/** "CORS-preflight fetch". */
export const preflight = async (
  page: Page,
  service: { readonly port: number },
  request: Request,
): Promise<RawResponse> => {
  const { method = 'POST', target = '/upload' } = request;
  const unsafe = unsafeHeaders(request);
  const answer = await ask(service, {
    method: 'OPTIONS',
    target,
    headers: {
      Origin: page.origin,
      'Access-Control-Request-Method': method,
      ...(unsafe.length > 0 && { 'Access-Control-Request-Headers': unsafe.join(',') }),
    },
  });
  check(page, answer);
  if (answer.status < 200 || answer.status > 299) throw new CorsError(`a preflight with ${answer.status}`);
  const isAny = (list: readonly string[]): boolean => list.includes('*') && page.credentials !== true;
  const methods = listOf(answer, 'access-control-allow-methods');
  if (!methods.includes(method) && !isSimple(method) && !isAny(methods)) throw new CorsError(method);
  const allowed = listOf(answer, 'access-control-allow-headers').map((name) => name.toLowerCase());
  for (const name of unsafe) {
    if (!allowed.includes(name) && !(isAny(allowed) && name !== 'authorization')) throw new CorsError(name);
  }
  return answer;
};

/** "CORS filtered response". Throws a `CorsError` where the page may not read it at all. */
export const readBy = (page: Page, raw: RawResponse): Seen => {
  check(page, raw);
  const exposed = listOf(raw, 'access-control-expose-headers').map((name) => name.toLowerCase());
  const isAll = exposed.includes('*') && page.credentials !== true;
  const isSeen = (name: string): boolean =>
    name !== 'set-cookie' && (isAll || exposed.includes(name) || safelisted.has(name));
  const headers = Object.fromEntries(Object.entries(raw.headers).filter(([name]) => isSeen(name)));
  return { status: raw.status, headers, body: raw.body, raw };
};

/** "CORS check". A field that came twice is none that matches. */
const check = ({ origin, credentials = false }: Page, { headers, status }: RawResponse): void => {
  const allowed = headers['access-control-allow-origin'];
  if (allowed === '*' && !credentials) return;
  if (allowed !== origin) throw new CorsError(`a ${status} for ${allowed}, not for ${origin}`);
  if (credentials && headers['access-control-allow-credentials'] !== 'true') {
    throw new CorsError(`a ${status} without credentials`);
  }
};

const safelisted = new Set([
  'cache-control',
  'content-language',
  'content-length',
  'content-type',
  'expires',
  'last-modified',
  'pragma',
]);

const isSimple = (method: string): boolean => ['GET', 'HEAD', 'POST'].includes(method);

/** "CORS-unsafe request-header names", as they are asked for. What a browser sets itself is none of the page's. */
const unsafeHeaders = ({ headers = {} }: Request): string[] =>
  Object.entries(headers)
    .filter(([name, value]) => !isSafe(name.toLowerCase(), value))
    .map(([name]) => name.toLowerCase())
    .sort();

const isSafe = (name: string, value: string): boolean => {
  if (name === 'range') return /^bytes=\d+-\d*$/.test(value);
  if (name === 'content-type') {
    return /^(text\/plain|multipart\/form-data|application\/x-www-form-urlencoded)\b/.test(value);
  }
  return ['accept', 'accept-language', 'content-language', 'content-length', 'cookie'].includes(name);
};

const listOf = ({ headers }: RawResponse, name: string): string[] =>
  (headers[name] ?? '').split(',').map((item) => item.trim());
