import { IncomingMessage, type OutgoingHttpHeaders, ServerResponse, STATUS_CODES } from 'node:http';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream, ReadableStreamDefaultReader } from 'node:stream/web';
import { addVary } from '../headers/cors.ts';
import { type AnswerHead, beside } from './answer.ts';

// Between the web's `Request` and `Response` and the objects of `node:http`, for servers that only show the former.

/** The request as Node would have shown it; it ends, or breaks off, as its body does. */
export const fromRequest = (request: Request): IncomingMessage => {
  const req = new IncomingMessage(new Socket());
  const { pathname, search } = new URL(request.url);
  req.method = request.method;
  req.url = pathname + search;
  req.httpVersionMajor = req.httpVersionMinor = 1;
  req.httpVersion = '1.1';
  req.headers = Object.fromEntries(request.headers);
  req.rawHeaders = [...request.headers].flat();
  const hangUp = (): void => {
    // As Node says it: who has the body from the store does not care.
    req.destroy(aborted());
    socket.destroy(aborted());
  };
  const { socket } = req;
  socket.on('error', () => undefined); // 'close' follows
  request.signal.addEventListener('abort', hangUp, { once: true });
  const { body, headers } = request;
  if (body === null) {
    req.complete = true;
    req.push(null);
    return req;
  }
  if (!headers.has('content-length')) req.headers['transfer-encoding'] = 'chunked';
  if (request.bodyUsed || body.locked) Object.defineProperty(req, 'readableEnded', { value: true });
  // Not before somebody wants it: what is no upload is read from the request itself.
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  const pull = async (): Promise<void> => {
    reader ??= body.getReader();
    const { done, value } = await reader.read();
    if (done) req.complete = true;
    req.push(done ? null : value);
  };
  req._read = function read(this: IncomingMessage, size) {
    IncomingMessage.prototype._read.call(this, size); // notes that the body is wanted
    pull().catch(hangUp);
  };
  return req;
};

/** The client has gone. */
const aborted = (): Error => Object.assign(new Error('aborted'), { code: 'ECONNRESET' });

/** The request an application is shown: of the one it has asked with, all but head and body. */
export const toRequest = (req: IncomingMessage, asked?: Request): Request => {
  const { protocol, host } = new URL(asked?.url ?? 'http://localhost');
  const headers = new Headers();
  for (const [name, value] of Object.entries(req.headers)) {
    for (const item of [value ?? []].flat()) headers.append(name, item);
  }
  return new Request(new URL(req.url ?? '/', `${protocol}//${host}`), {
    method: req.method ?? 'POST',
    headers,
    body: Readable.toWeb(req) as unknown as Content,
    duplex: 'half',
  } as RequestInit);
};

/** Writes a response to one of Node's. */
export const sendResponse = async (res: ServerResponse, response: Response): Promise<void> => {
  const cookies = response.headers.getSetCookie();
  for (const [name, value] of response.headers) if (name !== 'set-cookie') res.setHeader(name, value);
  if (cookies.length > 0) res.setHeader('Set-Cookie', cookies);
  res.writeHead(response.status, response.statusText);
  if (response.body === null) res.end();
  else await pipeline(Readable.fromWeb(response.body as ReadableStream), res);
};

/** A response with what is set on one of Node's, where it has not got that itself. */
export const withHeaders = (response: Response, res: ServerResponse): Response => {
  const set = Object.entries(res.getHeaders());
  if (set.length === 0 || response.type === 'error') return response;
  const copy = new Response(response.body, response); // the headers of some cannot be changed
  for (const [name, value] of set) {
    if (name === 'vary') copy.headers.set(name, addVary(copy.headers.get(name) ?? '', String(value)));
    else if (!copy.headers.has(name)) copy.headers.set(name, String(value));
  }
  return copy;
};

type Content = ConstructorParameters<typeof Response>[0];

type Callback = (error?: Error | null) => void;

/** Statuses whose responses have no body (fetch, "null body status"). */
const bodiless = new Set([204, 205, 304]);

/**
 * A response of Node's whose head and body become a `Response`, as soon as there is something of the body. Nothing can
 * be sent before it (no 1xx), and no connection can be closed.
 */
export class FetchResponse extends ServerResponse {
  readonly #resolve: (response: Response) => void;
  readonly #body = new Readable({ read: () => this.emit('drain') });
  #hasBegun = false;
  #hasEnded = false;

  constructor(req: IncomingMessage, resolve: (response: Response) => void) {
    super(req);
    this.#resolve = resolve;
    const { socket } = req; // the request is given another when this has gone
    socket.once('close', () => {
      // Who has gone asks for nothing; who was to be cut off is told so.
      if (!this.#hasBegun) this[beside]({ status: 409, reason: STATUS_CODES[409] ?? '', headers: {} });
      this.destroyed = true;
      this.emit('close');
    });
    this.#body.on('close', () => {
      if (!this.#hasEnded) socket.destroy(aborted()); // whoever read the response has stopped
    });
  }

  // Where Node has them: a response that is captured has others in front of these for a while.
  static {
    Object.defineProperties(FetchResponse.prototype, {
      headersSent: {
        get(this: FetchResponse) {
          return this.#hasBegun;
        },
      },
      writableEnded: {
        get(this: FetchResponse) {
          return this.#hasEnded;
        },
      },
    });
  }

  [beside]({ status, reason, headers, body }: AnswerHead): void {
    this.#hasBegun = true;
    const content = bodiless.has(status) ? null : (body as Content);
    this.#resolve(new Response(content, { status, statusText: reason, headers: webHeaders(headers) }));
  }

  override writeHead(status: number, ...rest: unknown[]): this {
    this.statusCode = status;
    const [reason, headers] = typeof rest[0] === 'string' ? [rest[0], rest[1]] : [undefined, rest[0]];
    if (reason !== undefined) this.statusMessage = reason;
    for (const [name, value] of Object.entries((headers ?? {}) as OutgoingHttpHeaders)) {
      if (value !== undefined) this.setHeader(name, value);
    }
    return this;
  }

  override flushHeaders(): void {
    this.#begin();
  }

  /** Private: the methods of a response that is captured are not its own for a while. */
  #begin(): void {
    if (this.#hasBegun || this.destroyed) return;
    this.writeHead(this.statusCode); // as Node does; middleware may have put another in its place
    this.#hasBegun = true;
    const { statusCode: status, statusMessage } = this;
    const content = bodiless.has(status) ? null : (Readable.toWeb(this.#body) as unknown as Content);
    const statusText = statusMessage || STATUS_CODES[status] || '';
    this.#resolve(new Response(content, { status, statusText, headers: webHeaders(this.getHeaders()) }));
  }

  override write(chunk: string | Uint8Array, ...rest: unknown[]): boolean {
    this.#begin();
    const encoding = typeof rest[0] === 'string' ? (rest[0] as BufferEncoding) : 'utf8';
    const goesOn = this.#body.push(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk);
    const done = rest.find((item): item is Callback => typeof item === 'function');
    if (done !== undefined) queueMicrotask(done);
    return goesOn;
  }

  override end(...rest: unknown[]): this {
    if (this.#hasEnded) return this;
    const [chunk] = rest;
    if (typeof chunk === 'string' || chunk instanceof Uint8Array) this.write(chunk, rest[1]);
    this.#begin();
    this.#hasEnded = true;
    this.#body.push(null);
    const done = rest.find((item): item is Callback => typeof item === 'function');
    queueMicrotask(() => {
      this.emit('finish');
      done?.();
      this.emit('close');
    });
    return this;
  }
}

const webHeaders = (headers: OutgoingHttpHeaders): Headers => {
  const all = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    for (const item of [value ?? []].flat()) all.append(name, String(item));
  }
  return all;
};
