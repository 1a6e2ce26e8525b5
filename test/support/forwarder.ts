import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { gate } from './gate.ts';

/**
 * One port for whichever process serves at the moment: while none does, connections are taken and wait. What a process
 * that died has left open is closed.
 */
export class Forwarder {
  readonly port: number;
  /** Bytes that clients were sent, heads included. */
  sentBytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #up = gate();
  #target = 0;
  /** How many more bytes clients may send before their connection is cut. */
  #cutAfter: number;

  private constructor(server: Server, cutAfter: number) {
    this.#server = server;
    this.#cutAfter = cutAfter;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (client: Socket) => this.#serve(client));
  }

  /** The connection that brings byte `cutAfter` is cut there, once; what came before it still arrives. */
  static async start(cutAfter = Number.POSITIVE_INFINITY): Promise<Forwarder> {
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Forwarder(server, cutAfter);
  }

  /** Nobody serves: whoever connects from now on waits. */
  hold(): void {
    this.#up = gate();
  }

  to(port: number): void {
    this.#target = port;
    this.#up.open();
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#up.open();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #serve(client: Socket): Promise<void> {
    this.#track(client);
    await this.#up.opened;
    if (client.destroyed) return;
    const upstream = connect({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true });
    this.#track(upstream);
    client.once('close', () => upstream.destroySoon());
    upstream.once('close', () => client.destroySoon());
    upstream.on('data', (chunk: Buffer) => {
      this.sentBytes += chunk.byteLength;
    });
    upstream.pipe(client);
    client.on('end', () => upstream.end());
    client.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, this.#cutAfter);
      this.#cutAfter -= chunk.byteLength;
      const taken = upstream.write(part);
      if (part.byteLength < chunk.byteLength) {
        this.#cutAfter = Number.POSITIVE_INFINITY;
        client.destroy();
        return;
      }
      if (taken) return;
      client.pause();
      upstream.once('drain', () => client.resume());
    });
    client.resume();
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => undefined); // lost connections are the point; 'close' follows
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
