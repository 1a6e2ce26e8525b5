import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { systemCode } from '../errors.ts';
import type { RequestContext } from './context.ts';
import { pushOwn } from './request-halves.ts';

/** The body a request is given. */
export interface HeldBody {
  /** Called when somebody wants the body, and not before: a handler may use `upload.moveTo` instead. */
  open(): Readable;
  /** Called before the body's end is told; a rejection is the body's failure. */
  confirm?(): Promise<void>;
  /** Told of the body's failure, whether or not anybody reads. */
  onFailure(error: Error): void;
}

/**
 * Shows a request to the application with the stored content as its body. It is the same object that the
 * server made, because middleware passes on the object it was given: its stream, which has come to its end or
 * was taken from it (`takeBody`), is set up anew. One that does not exist (a retry at start) is made. Without a
 * `context` its head is the right one already.
 */
export const holdRequest = (
  req: IncomingMessage | undefined,
  context: RequestContext | undefined,
  body: HeldBody,
): IncomingMessage => {
  const held = req ?? newRequest();
  if (context !== undefined) setHead(held, context);
  restart(held, body);
  return held;
};

const newRequest = (): IncomingMessage => {
  const req = new IncomingMessage(new Socket());
  req.httpVersionMajor = 1;
  req.httpVersionMinor = 1;
  req.httpVersion = '1.1';
  return req;
};

const setHead = (req: IncomingMessage, { method, url, headers }: RequestContext): void => {
  req.method = method;
  req.url = url;
  req.headers = headers;
  req.rawHeaders = Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).flatMap((item) => (item === undefined ? [] : [name, item])),
  );
  req.headersDistinct = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, [value ?? []].flat()]),
  );
};

/** What a Readable is, beyond its prototype. */
interface ReadableParts {
  _readableState: unknown;
  _read(size: number): void;
  _destroy(error: Error | null, done: (error?: Error | null) => void): void;
}

const restart = (req: IncomingMessage, { open, confirm, onFailure }: HeldBody): void => {
  let source: Readable | undefined;
  const fail = (error: Error): void => {
    onFailure(error);
    destroyOwn(error);
  };
  const end = (): void => {
    req.complete = true;
    pushOwn(req, null);
  };
  const begin = (): Readable => {
    const opened = open();
    opened.on('data', (chunk: Buffer) => {
      if (!pushOwn(req, chunk)) opened.pause();
    });
    opened.on('end', () => {
      if (confirm === undefined) end();
      else confirm().then(end, fail);
    });
    opened.on('error', fail);
    opened.on('close', () => {
      if (!opened.readableEnded) destroyOwn();
    });
    return opened;
  };
  const fresh = new Readable({ highWaterMark: 256 * 1024 }) as unknown as ReadableParts;
  const parts: ReadableParts = {
    _readableState: fresh._readableState,
    _read: () => {
      source ??= begin();
      source.resume();
    },
    _destroy: (error, done) => {
      source?.destroy();
      done(req.listenerCount('error') > 0 ? error : null); // as Node's own: nobody is made to listen
    },
  };
  Object.assign(req, parts);
  // Of the object itself: that of a body that was taken away passes the end of the connection on to it.
  const hangUp = Object.hasOwn(req, 'destroy') ? req.destroy : undefined;
  const destroyOwn = (error?: Error): IncomingMessage => IncomingMessage.prototype.destroy.call(req, error);
  req.destroy = (error) => {
    if (!isHangUp(error)) return destroyOwn(error);
    hangUp?.(error);
    return req;
  };
};

/**
 * When the connection closes, Node destroys the request with this. The content is ours by then, and the
 * handler's work is for the upload: it goes on, and the next request gets its answer.
 */
const isHangUp = (error: Error | undefined): boolean =>
  systemCode(error) === 'ECONNRESET' && error?.message === 'aborted';
