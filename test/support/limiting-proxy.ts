import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterwards } from './scripted-server.ts';

export interface LimitingProxy {
  readonly url: string;
  /** The Content-Length of each request. */
  readonly sizes: number[];
}

/** A proxy that refuses what is larger than `limit` bytes by its own 413, as they do: unread, and in HTML. */
export const forward = async (target: number, limit: number): Promise<LimitingProxy> => {
  const sizes: number[] = [];
  const server = http.createServer((request, response) => {
    const size = Number(request.headers['content-length'] ?? 0);
    sizes.push(size);
    if (size > limit) {
      request.resume();
      response.writeHead(413, { 'Content-Type': 'text/html' }).end('<h1>Request Entity Too Large</h1>');
      return;
    }
    const { method, url, headers } = request;
    const upstream = http.request({ port: target, host: '127.0.0.1', method, path: url, headers });
    upstream.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterwards(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sizes };
};
