import { once } from 'node:events';
import http, {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, expect } from 'vitest';
import { UploadFailedError } from '../../src/client/index.ts';

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** What arrived before the answer. */
  body: Buffer;
}
export type Reply = (request: IncomingMessage, response: ServerResponse, seen: Seen) => unknown;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Runs it after the test, last in first out. */
export const afterwards = (cleanup: () => unknown): void => void cleanups.push(cleanup);

export interface ScriptedServer {
  readonly url: string;
  readonly seen: readonly Seen[];
  readonly sockets: ReadonlySet<Socket>;
}

/** A server that answers each request with what `reply` says to its number, and keeps what it saw. */
export const serverOf = async (reply: (number: number) => Reply): Promise<ScriptedServer> => {
  const seen: Seen[] = [];
  const sockets = new Set<Socket>();
  const server = http.createServer((request, response) => {
    const { method = '', url = '', headers } = request;
    const entry: Seen = { method, url, headers, body: Buffer.alloc(0) };
    seen.push(entry);
    request.on('error', () => {}); // cut off on purpose
    void reply(seen.length - 1)(request, response, entry);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterwards(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/upload`, seen, sockets };
};

/** … with these, one after the other. */
export const scripted = (...replies: Reply[]): Promise<ScriptedServer> =>
  serverOf((number) => replies[number] ?? answer(500, {}, 'more requests than replies'));

/** Reads `bytes` of the body, or all of it. */
export const take = (request: IncomingMessage, seen: Seen, bytes = Number.POSITIVE_INFINITY): Promise<void> =>
  new Promise((resolve) => {
    request.on('data', (chunk: Buffer) => {
      seen.body = Buffer.concat([seen.body, chunk]);
      if (seen.body.length >= bytes) resolve();
    });
    request.on('end', resolve);
  });

export const answer =
  (status: number, headers: OutgoingHttpHeaders = {}, body = ''): Reply =>
  async (request, response, seen) => {
    await take(request, seen);
    response.writeHead(status, headers).end(body);
  };

/** Takes some of the body and is gone. */
export const cut =
  (bytes: number): Reply =>
  async (request, response, seen) => {
    await take(request, seen, bytes);
    response.socket?.destroy();
  };

export const named = answer(308, { ETag: '"a"' });
export const done = answer(201, {}, 'stored');

export const failure = (promise: Promise<unknown>): Promise<UploadFailedError> =>
  promise.then(
    () => expect.fail('it should have failed'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(UploadFailedError);
      return error as UploadFailedError;
    },
  );

export const ranges = (seen: readonly Seen[]): (string | undefined)[] =>
  seen.map(({ headers }) => headers['content-range']);
