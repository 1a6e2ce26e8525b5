import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { systemCode } from '../errors.ts';
import type { RequestContext } from './context.ts';

/**
 * Shows a request to the application with the stored content as its body. It is the same object that the
 * server made, because middleware passes on the object it was given: its stream, which has come to its end,
 * is set up anew over `content`, whose failure is told to `onFailure` whether or not anybody reads. A request
 * whose body is still unread, or that does not exist (a retry at start), is replaced by a new one. Without a
 * `context` its head is the right one already.
 */
export const holdRequest = (
  req: IncomingMessage | undefined,
  context: RequestContext | undefined,
  content: () => Readable,
  onFailure: (error: Error) => void,
): IncomingMessage => {
  const held = req?.complete ? req : newRequest(req?.socket ?? new Socket());
  if (context !== undefined) setHead(held, context);
  held.complete = true;
  restart(held, content, onFailure);
  return held;
};

const newRequest = (socket: Socket): IncomingMessage => {
  const req = new IncomingMessage(socket);
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

const restart = (req: IncomingMessage, content: () => Readable, onFailure: (error: Error) => void): void => {
  let source: Readable | undefined;
  const open = (): Readable => {
    const opened = content();
    opened.on('data', (chunk: Buffer) => {
      if (!req.push(chunk)) opened.pause();
    });
    opened.on('end', () => req.push(null));
    opened.on('error', (error) => {
      onFailure(error);
      req.destroy(error);
    });
    return opened;
  };
  const fresh = new Readable({ highWaterMark: 256 * 1024 }) as unknown as ReadableParts;
  const parts: ReadableParts = {
    _readableState: fresh._readableState,
    _read: () => {
      source ??= open(); // not before somebody wants it: a handler may use `upload.moveTo` instead
      source.resume();
    },
    _destroy: (error, done) => {
      source?.destroy();
      done(req.listenerCount('error') > 0 ? error : null); // as Node's own: nobody is made to listen
    },
  };
  Object.assign(req, parts);
  const destroy = req.destroy.bind(req);
  req.destroy = (error) => (isHangUp(error) ? req : destroy(error));
};

/**
 * When the connection closes, Node destroys the request with this. The content is ours by then, and the
 * handler's work is for the upload: it goes on, and the next request gets its answer.
 */
const isHangUp = (error: Error | undefined): boolean =>
  systemCode(error) === 'ECONNRESET' && error?.message === 'aborted';
