import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';

/** A whole response: one of a dialect's, or one that was stored. */
export interface AnswerHead {
  readonly status: number;
  readonly reason: string;
  readonly headers: Readonly<OutgoingHttpHeaders>;
  readonly body?: string | Uint8Array;
}

/** A response without a connection of its own has a method of this name, to be answered with beside its handler. */
export const beside = Symbol('beside');

/** How much of a body that is not wanted is read, so that its sender gets to read why. */
export interface DrainLimits {
  readonly drainBytes: number;
  readonly drainMs: number;
}

/**
 * Answers a request. If its body has not been read to its end, the answer goes out at once and the body is
 * drained up to a bound before the connection closes: closing with unread bytes makes the kernel send a
 * reset, and that can overtake the answer. `unsent` says that the client waits for a 100 and will not send
 * its body now.
 */
export const answer = (
  req: IncomingMessage,
  res: ServerResponse,
  head: AnswerHead,
  limits: DrainLimits,
  unsent = false,
): void => {
  if (res.headersSent || res.destroyed) return;
  const unread = isUnread(req);
  if (unread) res.shouldKeepAlive = false;
  res.writeHead(head.status, head.reason, { ...head.headers });
  if (!unread || unsent) {
    res.end(head.body);
    return;
  }
  res.flushHeaders();
  if (head.body !== undefined && head.body.length > 0) res.write(head.body);
  drain(req, limits, () => res.end());
};

/** Whether bytes of its body are still to come. */
export const isUnread = (req: IncomingMessage): boolean => !req.complete && hasBody(req);

/** RFC 9112 section 6.3: without either, there is nothing to read. */
const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/** Reads on, up to the limits, and then calls `done`. */
export const drain = (req: IncomingMessage, { drainBytes, drainMs }: DrainLimits, done: () => void): void => {
  let drained = 0;
  const finish = (): void => {
    clearTimeout(timer);
    req.off('data', count).off('end', finish).off('close', finish);
    req.pause();
    done();
  };
  const count = (chunk: Buffer): void => {
    drained += chunk.byteLength;
    if (drained > drainBytes) finish();
  };
  const timer = setTimeout(finish, drainMs);
  req.on('data', count).once('end', finish).once('close', finish);
  req.on('error', () => undefined); // the client hung up, as it may: 'close' follows
  req.resume();
};
