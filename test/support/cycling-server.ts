import { createHash } from 'node:crypto';
import type { AddressInfo, Server } from 'node:net';
import { listen, type ResumableListener, resumable } from '../../src/index.ts';
import { fsStore } from '../../stores/fs.ts';

/**
 * A server that can be stopped in the middle of anything and comes back on the same port with the same folder. It answers
 * an upload with its SHA-256.
 */
export class CyclingServer {
  readonly #folder: string;
  readonly #handshake: 'location' | 'etag';
  readonly #cors: boolean;
  #server: Server | undefined;
  #listener: ResumableListener | undefined;
  #restarting: Promise<void> = Promise.resolve();
  port = 0;
  restarts = 0;

  constructor(folder: string, handshake: 'location' | 'etag', cors = false) {
    this.#folder = folder;
    this.#handshake = handshake;
    this.#cors = cors;
  }

  async start(): Promise<void> {
    const store = fsStore(this.#folder, { durability: 'process' });
    const options = {
      store,
      handshake: this.#handshake,
      ...(this.#cors && { cors: true as const }),
      checkpointPushMs: 5,
      checkpointMs: 20,
      onError: () => {},
    };
    const listener = resumable(options, async (req, res) => {
      const sum = createHash('sha256');
      for await (const chunk of req as AsyncIterable<Buffer>) sum.update(chunk);
      res.writeHead(201).end(sum.digest('hex'));
    });
    this.#listener = listener;
    const server = await listen(listener, { port: this.port });
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  restart(): void {
    this.restarts++;
    this.#restarting = this.#restarting.then(async () => {
      await this.#stop();
      await this.start();
    });
  }

  async close(): Promise<void> {
    await this.#restarting;
    await this.#stop();
  }

  async #stop(): Promise<void> {
    const server = this.#server as Server & { closeAllConnections(): void };
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await this.#listener?.close({ graceMs: 0 });
    await closed;
  }
}
