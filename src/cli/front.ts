import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResumableListener } from '../http.ts';

/** A page at `/`: answers a GET or HEAD. */
export type FrontPage = (req: IncomingMessage, res: ServerResponse) => unknown;

/** What `/` says to somebody who looks with a browser, or curl. */
export const textPage =
  (lines: readonly string[]): FrontPage =>
  (_req, res) => {
    const body = `${lines.join('\n')}\n`;
    res.writeHead(200, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': Buffer.byteLength(body),
    });
    res.end(body); // of a HEAD, node sends the head alone
  };

/** The listener with a page before it: everything but GET and HEAD of `/` is the listener's. */
export const withFrontPage = (listener: ResumableListener, page: FrontPage): ResumableListener => {
  const front = (req: IncomingMessage, res: ServerResponse): void => {
    const isRead = req.method === 'GET' || req.method === 'HEAD';
    if (isRead && /^\/(\?|$)/.test(req.url ?? '')) page(req, res);
    else listener(req, res);
  };
  return Object.assign(front, listener);
};
