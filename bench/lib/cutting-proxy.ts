import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { listenOnLoopback } from './loopback.ts';
import type { Random } from './random.ts';

/**
 * How a connection is cut. `rst`: both ends are reset, what is in flight is lost. `fin`: both ends are closed
 * in order. `stall`: nothing is forwarded any more and neither end is told, as when a radio link goes.
 */
export type CutMeans = 'rst' | 'fin' | 'stall';

export interface Cut {
  /** How many bytes all clients together have had forwarded to the server when it happens. */
  readonly afterBytes: number;
  readonly means: CutMeans;
}

export interface CuttingProxyOptions {
  /** The server's port on 127.0.0.1. */
  readonly target: number;
  /** In order of `afterBytes`. */
  readonly cuts: readonly Cut[];
}

export interface ProxyStats {
  readonly connections: number;
  readonly cuts: number;
  /** Client to server, heads included. */
  readonly bytesUp: number;
  readonly bytesDown: number;
}

export interface CuttingProxy {
  readonly port: number;
  readonly stats: ProxyStats;
  /** Resolves when every connection is closed. */
  close(): Promise<void>;
}

/** `count` cuts at random offsets below `bytes`, by random means. */
export const randomCuts = (
  random: Random,
  count: number,
  bytes: number,
  means: readonly [CutMeans, ...CutMeans[]] = ['rst', 'fin', 'stall'],
): Cut[] =>
  Array.from({ length: count }, () => ({ afterBytes: random.below(bytes), means: random.pick(means) })).sort(
    (a, b) => a.afterBytes - b.afterBytes,
  );

/** A TCP proxy on a free port of 127.0.0.1 that cuts connections at exactly the scheduled bytes. */
export const cuttingProxy = async ({ target, cuts }: CuttingProxyOptions): Promise<CuttingProxy> => {
  const stats = { connections: 0, cuts: 0, bytesUp: 0, bytesDown: 0 };
  const sockets = new Set<Socket>();
  /** Clients whose connection has stalled. */
  const stalled = new Set<Socket>();

  const cut = (means: CutMeans, client: Socket, upstream: Socket): void => {
    stats.cuts++;
    for (const socket of [client, upstream]) {
      if (means === 'rst') socket.resetAndDestroy();
      else if (means === 'fin') socket.destroySoon();
    }
    if (means !== 'stall') return;
    stalled.add(client.pause());
    // What the server still sends is lost, yet its closing must be noticed.
    upstream.resume();
  };

  const serve = (client: Socket): void => {
    stats.connections++;
    // A paused socket doesn't see its peer go; a client that comes back has given up the one that stalled.
    for (const socket of stalled) socket.destroy();
    stalled.clear();

    const upstream = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true });
    let open = true;
    const forward = (from: Socket, to: Socket, chunk: Uint8Array): void => {
      if (!to.writable || to.write(chunk)) return;
      from.pause();
      to.once('drain', () => open && from.resume());
    };

    client.on('data', (chunk: Buffer) => {
      if (!open) return;
      const next = cuts[stats.cuts];
      const room = next === undefined ? chunk.length : Math.max(0, next.afterBytes - stats.bytesUp);
      const part = chunk.subarray(0, room);
      stats.bytesUp += part.length;
      forward(client, upstream, part);
      if (next === undefined || room > chunk.length) return;
      open = false;
      cut(next.means, client, upstream);
    });
    upstream.on('data', (chunk: Buffer) => {
      if (!open) return;
      stats.bytesDown += chunk.length;
      forward(upstream, client, chunk);
    });
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('error', () => {}); // lost connections are the point; 'close' follows
      from.on('end', () => (open ? to.end() : from.destroy()));
      from.on('close', (hadError) => {
        sockets.delete(from);
        if (!open) return;
        if (hadError) to.destroy();
        else to.destroySoon();
      });
    }
  };

  const server = createServer({ allowHalfOpen: true }, serve);
  const port = await listenOnLoopback(server);

  return {
    port,
    stats,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
};
