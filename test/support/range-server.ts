import { once } from 'node:events';
import http, { type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterwards } from './scripted-server.ts';

/** What is served, and how; may be changed between two requests. */
export interface Served {
  content: Buffer;
  etag?: string | undefined;
  headers?: OutgoingHttpHeaders;
  /** The answer to the request with this number ends after so many bytes; `stall` leaves it open. */
  cut?: (number: number) => { readonly after: number; readonly stall?: boolean } | undefined;
  /** As servers do that know no ranges. */
  whole?: boolean;
  /** As servers do that know no conditions. */
  ignoresIfRange?: boolean;
  /** Takes the request's place in the answer's Content-Range. */
  contentRange?: string;
  /** Is waited for before the answer. */
  before?: (number: number) => Promise<void>;
  /** Answers in its place, if it returns true. */
  instead?: (number: number, request: IncomingMessage, response: http.ServerResponse) => boolean;
}

export interface RangeServer {
  readonly url: string;
  readonly served: Served;
  readonly requests: {
    readonly range: string | undefined;
    readonly ifRange: string | undefined;
    readonly url: string;
  }[];
  /** The most requests that were under way at once. */
  readonly atOnce: () => number;
}

/** A file server as there are many, with the faults a client has to live with. */
export const serveRanges = async (served: Served): Promise<RangeServer> => {
  const requests: RangeServer['requests'] = [];
  let now = 0;
  let most = 0;
  const server = http.createServer(async (request, response) => {
    const number = requests.length;
    const { range, 'if-range': ifRange } = request.headers;
    requests.push({ range, ifRange: ifRange?.toString(), url: request.url ?? '' });
    most = Math.max(most, ++now);
    response.once('close', () => now--);
    await served.before?.(number);
    if (served.instead?.(number, request, response) === true) return;
    const { content, etag, headers = {} } = served;
    const match = /^bytes=(\d+)-(\d*)$/.exec(range ?? '');
    const same = ifRange === undefined || ifRange === etag || ifRange === headers['Last-Modified'];
    const partial = match !== null && served.whole !== true && (same || served.ignoresIfRange === true);
    const start = partial ? Number(match[1]) : 0;
    const end = partial && match[2] !== '' ? Math.min(content.length, Number(match[2]) + 1) : content.length;
    if (partial && start >= content.length) {
      response.writeHead(416, { 'Content-Range': `bytes */${content.length}` }).end();
      return;
    }
    response.writeHead(partial ? 206 : 200, {
      ...(etag !== undefined && { ETag: etag }),
      ...headers,
      'Content-Length': end - start,
      ...(partial && {
        'Content-Range': served.contentRange ?? `bytes ${start}-${end - 1}/${content.length}`,
      }),
    });
    const cut = served.cut?.(number);
    if (cut === undefined) {
      response.end(content.subarray(start, end));
      return;
    }
    response.write(content.subarray(start, Math.min(end, start + cut.after)), () => {
      if (cut.stall !== true) response.socket?.destroySoon();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterwards(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/film`, served, requests, atOnce: () => most };
};
