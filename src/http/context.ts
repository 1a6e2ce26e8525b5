import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';

// The request as the application will see it, kept as text with the upload: it must survive restarts, so that
// the handler can run without any client.

export interface RequestContext {
  readonly method: string;
  /** The target as the client sent it, without the session parameter. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

/** Of one connection or one message only (RFC 9110 section 7.6.1), or of one part of the content. */
const transient = new Set([
  'connection',
  'content-length',
  'content-range',
  'expect',
  'keep-alive',
  'prefer',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Never stored: the handler sees those of the request that completes the upload. */
const secret = ['authorization', 'cookie', 'proxy-authorization'] as const;

/**
 * Whether a request looks as the application will see it: at its own URL, with a length that is that of the
 * whole, and not waiting for a 100 that it has had.
 */
export const isOriginal = ({ headers, url }: IncomingMessage, plainUrl: string): boolean =>
  url === plainUrl &&
  headers['content-range'] === undefined &&
  headers['content-length'] !== undefined &&
  headers.expect === undefined;

export const captureContext = (req: IncomingMessage, url: string, ownIfMatch: boolean): string => {
  const headers: IncomingHttpHeaders = {};
  for (const [name, value] of Object.entries(req.headers)) {
    if (transient.has(name) || (secret as readonly string[]).includes(name)) continue;
    if (name === 'if-match' && ownIfMatch) continue;
    headers[name] = value;
  }
  const context: RequestContext = { method: req.method ?? 'POST', url, headers };
  return JSON.stringify(context);
};

/**
 * The context with what belongs to the completing request, and the length of the whole; while that is unknown,
 * as a chunked request.
 */
export const restoreContext = (
  text: string,
  completing: IncomingHttpHeaders | undefined,
  length: number | undefined,
): RequestContext => {
  const context = JSON.parse(text) as RequestContext;
  const framing =
    length === undefined ? { 'transfer-encoding': 'chunked' } : { 'content-length': String(length) };
  const headers: IncomingHttpHeaders = { ...context.headers, ...framing };
  for (const name of secret) {
    const value = completing?.[name];
    if (value !== undefined) headers[name] = value;
  }
  return { ...context, headers };
};
