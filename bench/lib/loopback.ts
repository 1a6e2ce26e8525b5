import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';

/** Resolves with the free port of 127.0.0.1 that the server then listens on. */
export const listenOnLoopback = async (server: Server): Promise<number> => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
};
