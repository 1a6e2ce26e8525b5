import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach } from 'vitest';
import { type Entity, type Served, type ServeOptions, serve } from '../../src/download.ts';
import { closeClients } from '../support/raw-client.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  closeClients();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Ends after the test. */
export const startServer = async (handle: RequestListener): Promise<{ readonly port: number }> => {
  const server = createServer(handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  });
  return { port: (server.address() as AddressInfo).port };
};

type EntitySource = (
  req: IncomingMessage,
  res: ServerResponse,
) => Promise<Entity | undefined> | Entity | undefined;

/** A server of one content; what came of each response is in `served`, what was reported in `errors`. */
export const startServing = async (entity: EntitySource, options: ServeOptions = {}) => {
  const served: Promise<Served>[] = [];
  const errors: unknown[] = [];
  const onError = (error: unknown): void => void errors.push(error);
  const { port } = await startServer((req, res) => {
    served.push((async () => serve(req, res, await entity(req, res), { onError, ...options }))());
  });
  return { port, served, errors };
};

export const temporaryFolder = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'resumable-download-'));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
};

export interface Tracked extends Entity {
  /** Every stream that was made. */
  readonly sources: readonly Readable[];
  /** How often `close` was called. */
  readonly closed: number;
}

/** A content in memory, given in chunks of that many bytes. */
export const contentEntity = (
  content: Uint8Array,
  more: Partial<Entity> = {},
  chunkBytes = 10_000,
): Tracked => {
  const sources: Readable[] = [];
  let closed = 0;
  return {
    size: content.byteLength,
    etag: '"v1"',
    read(start, end) {
      const source = Readable.from(chunks(content.subarray(start, end), chunkBytes), { objectMode: false });
      sources.push(source);
      return source;
    },
    ...more,
    async close() {
      closed++;
    },
    sources,
    get closed() {
      return closed;
    },
  };
};

function* chunks(content: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < content.byteLength; at += size) yield content.subarray(at, at + size);
}
