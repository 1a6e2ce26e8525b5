import http from 'node:http';
import https from 'node:https';
import { exchange } from './exchange.ts';
import type { HttpResponse, Transport, TransportRequest } from './transport.ts';

/** Raw HTTP/1.1 over connections that are kept from one request to the next. */
export class NodeTransport implements Transport {
  readonly showsCheckpoints = true;
  readonly #http: http.Agent;
  readonly #https: https.Agent;

  constructor(connections: number) {
    this.#http = new http.Agent({ keepAlive: true, maxSockets: connections });
    this.#https = new https.Agent({ keepAlive: true, maxSockets: connections });
  }

  send(request: TransportRequest): Promise<HttpResponse> {
    const agent = request.url.protocol === 'https:' ? this.#https : this.#http;
    return exchange({ ...request, agent });
  }

  release(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
}
