import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingHttpHeaders, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import {
  type Handler,
  listen,
  type ResumableListener,
  type ResumableOptions,
  resumable,
} from '../../src/index.ts';
import type { Store } from '../../src/store.ts';
import { fsStore } from '../../stores/fs.ts';
import { memoryStore } from '../../stores/memory.ts';
import { sqliteStore } from '../../stores/sqlite.ts';
import { closeClients } from './raw-client.ts';

export const storeKinds = ['memory', 'fs', 'sqlite'] as const;
export type StoreKind = (typeof storeKinds)[number];

/** One entry into the handler, as it was at that moment. */
export interface Call {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly attempt: number | undefined;
  readonly id: string | undefined;
}

export interface Service {
  readonly kind: StoreKind;
  readonly port: number;
  readonly server: Server;
  readonly listener: ResumableListener;
  readonly store: Store;
  /** Where the store keeps its files; for the memory store a folder it does not use. */
  readonly folder: string;
  readonly calls: readonly Call[];
  readonly errors: readonly unknown[];
  /** The ids of everything in the store. */
  ids(): Promise<string[]>;
  stop(): Promise<void>;
  /** Stops it, and starts another on the same folder. */
  restart(options?: Options, handler?: Handler): Promise<Service>;
}

export type Options = Partial<ResumableOptions>;

export interface Digested {
  readonly size: number;
  readonly sha256: string;
}

/** Reads the body as any handler would, and says what it was. */
export const digestHandler: Handler = async (req, res) => {
  const sum = createHash('sha256');
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    sum.update(chunk);
    size += chunk.byteLength;
  }
  res.writeHead(201, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify({ size, sha256: sum.digest('hex') } satisfies Digested));
};

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  closeClients();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A service on a free port of the loopback interface, over a fresh store. Ended after the test. */
export const startService = async (
  kind: StoreKind,
  options: Options = {},
  handler: Handler = digestHandler,
): Promise<Service> => {
  const folder = await mkdtemp(join(tmpdir(), 'resumable-http-test-'));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  return start(kind, folder, options, handler);
};

const openStore = (kind: StoreKind, directory: string): Store => {
  if (kind === 'memory') return memoryStore();
  return kind === 'fs' ? fsStore(directory) : sqliteStore({ directory });
};

const start = async (
  kind: StoreKind,
  folder: string,
  options: Options,
  handler: Handler,
): Promise<Service> => {
  const store = options.store ?? openStore(kind, join(folder, 'store'));
  const calls: Call[] = [];
  const errors: unknown[] = [];
  const listener = resumable({ onError: (error) => errors.push(error), ...options, store }, (req, res) => {
    const { method, url, headers, upload } = req;
    calls.push({ method, url, headers: { ...headers }, attempt: upload?.attempt, id: upload?.id });
    return handler(req, res);
  });
  const server = await listen(listener);
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= (async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await listener.close({ graceMs: 0 });
      await closed;
    })();
    return stopped;
  };
  cleanups.push(stop);
  return {
    kind,
    port: (server.address() as AddressInfo).port,
    server,
    listener,
    store,
    folder,
    calls,
    errors,
    stop,
    async ids() {
      const ids: string[] = [];
      for await (const id of store.list()) ids.push(id);
      return ids;
    },
    async restart(again = options, nextHandler = handler) {
      await stop();
      return start(kind, folder, again, nextHandler);
    },
  };
};
