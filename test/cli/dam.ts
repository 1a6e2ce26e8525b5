import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterwards } from '../support/scripted-server.ts';

/** A proxy that lets so many bytes pass and then nothing more, until it is opened; it counts what passes. */
export interface Dam {
  readonly port: number;
  /** All connections together: heads and bodies. */
  readonly passed: { up: number; down: number };
  /** From now on everything passes, of connections that are there too. */
  open(): void;
}

export const dam = async (
  target: number,
  limit: { readonly up?: number; readonly down?: number },
): Promise<Dam> => {
  const passed = { up: 0, down: 0 };
  const left = { up: limit.up ?? Number.POSITIVE_INFINITY, down: limit.down ?? Number.POSITIVE_INFINITY };
  const sockets = new Set<Socket>();
  const stopped = new Set<() => void>();

  const flow = (from: Socket, to: Socket, way: 'up' | 'down'): void => {
    const pass = (chunk: Buffer): void => {
      passed[way] += chunk.length;
      if (!to.write(chunk)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    };
    from.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, left[way]);
      left[way] -= part.length;
      if (part.length > 0) pass(part);
      if (part.length === chunk.length) return;
      from.pause();
      stopped.add(() => {
        pass(chunk.subarray(part.length));
        from.resume();
      });
    });
    from.on('end', () => to.end());
  };

  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined); // 'close' follows
      one.once('close', () => {
        sockets.delete(one);
        other.destroySoon();
      });
    }
    flow(client, upstream, 'up');
    flow(upstream, client, 'down');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterwards(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    port: (server.address() as AddressInfo).port,
    passed,
    open() {
      left.up = left.down = Number.POSITIVE_INFINITY;
      for (const go of stopped) go();
      stopped.clear();
    },
  };
};
