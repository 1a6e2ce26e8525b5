import { once } from 'node:events';
import type { RequestListener, Server } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { afterEach, expect } from 'vitest';
import type { ResumableOptions, UploadOperations } from '../../src/index.ts';
import type { Store } from '../../src/store.ts';
import { memoryStore } from '../../stores/memory.ts';
import { closeClients, type RawClient } from '../support/raw-client.ts';
import { ask, content, type Name, open, part, type Reply, sha256 } from '../support/requests.ts';

/** What the route found, behind a body parser of its framework's. */
export interface Seen {
  readonly url: string | undefined;
  readonly originalUrl?: string | undefined;
  readonly query: Readonly<Record<string, unknown>>;
  /** '' for a request without a body. */
  readonly body: string;
  readonly id: string | undefined;
  readonly attempt: number | undefined;
}

/** What it answers with. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Readable;
}

export interface Route {
  /** Middleware between `resumable` and the parser. */
  readonly guard?: () => Promise<void>;
  /** A throw goes to the framework's error handler. */
  readonly answer?: (seen: Seen) => Answer | Promise<Answer>;
  /** Leaves what fails to the error handler that the framework has by itself. */
  readonly isBare?: boolean;
}

export type Options = Partial<ResumableOptions>;

export interface App {
  readonly port: number;
  readonly server: Server;
  readonly uploads: UploadOperations;
}

/** An app, and what it was told; each of its framework's own parts is the real one. */
export interface Watched extends App {
  readonly log: Log;
}

/** Starts an app with a text parser on `/upload`, for every method. */
export type Start = (options?: Options, route?: Route) => Promise<Watched>;

/** What came to an app: to its route, to its error handler, and to `onError`. */
export class Log {
  readonly store: Store;
  readonly options: ResumableOptions;
  readonly seen: Seen[] = [];
  /** What the framework's error handler was given. */
  readonly failures: (Error & { readonly code?: unknown; readonly statusCode?: unknown })[] = [];
  /** What `onError` was told. */
  readonly errors: unknown[] = [];
  readonly route: Route;
  guarded = 0;

  constructor(options: Options, route: Route) {
    this.store = options.store ?? memoryStore();
    this.options = { onError: (error) => this.errors.push(error), ...options, store: this.store };
    this.route = route;
  }

  async guard(): Promise<void> {
    this.guarded++;
    await this.route.guard?.();
  }

  async answer(seen: Seen): Promise<Answer> {
    this.seen.push(seen);
    return (this.route.answer ?? digest)(seen);
  }

  /** The error handler of every app here: says what it was told, and by whom. */
  fail(error: Error & { statusCode?: number }): Answer {
    this.failures.push(error);
    return { status: error.statusCode ?? 500, headers: { 'X-Failed': 'yes' }, body: error.message };
  }

  get attempts(): (number | undefined)[] {
    return this.seen.map(({ attempt }) => attempt);
  }
}

const digest = ({ body }: Seen): Answer => ({ status: 201, body: sha256(Buffer.from(body)) });

/** An error as frameworks know them. */
export const httpError = (statusCode: number, message: string): Error & { statusCode: number } =>
  Object.assign(new Error(message), { statusCode });

/** Text, so that every framework has a parser for it. */
export const text = (length: number, seed = 1): Buffer => {
  const bytes = content(length, seed);
  for (let i = 0; i < length; i++) bytes[i] = 97 + ((bytes[i] ?? 0) % 26);
  return bytes;
};

/** A form with one file, and the type that says so. */
export const form = (film: Uint8Array): { readonly type: string; readonly body: Buffer } => {
  const head =
    '--limit\r\nContent-Disposition: form-data; name="film"; filename="a.mp4"\r\n' +
    'Content-Type: video/mp4\r\n\r\n';
  const body = Buffer.concat([Buffer.from(head), film, Buffer.from('\r\n--limit--\r\n')]);
  return { type: 'multipart/form-data; boundary=limit', body };
};

const cleanups: (() => unknown)[] = [];

/** To be called after the test; last in, first out. */
export const cleanUp = (end: () => unknown): void => void cleanups.push(end);

afterEach(async () => {
  closeClients();
  for (const end of cleanups.splice(0).reverse()) await end();
});

/** Serves with a listener of Node's, as `app.listen` does, on a free port of the loopback interface. */
export const serveNode = async (listener: RequestListener, uploads: UploadOperations): Promise<App> => {
  const server = createServer({ requestTimeout: 0 }, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return appOf(server, uploads);
};

/** A server that listens, as an app that ends with the test. */
export const appOf = (
  server: Server,
  uploads: UploadOperations,
  close: () => unknown = () => uploads.close({ graceMs: 0 }),
): App => {
  cleanUp(async () => {
    const closed = server.listening ? once(server, 'close') : undefined;
    server.close();
    server.closeAllConnections();
    await close();
    await closed;
  });
  return { port: (server.address() as AddressInfo).port, server, uploads };
};

const asText = { 'Content-Type': 'text/plain' };

/** The handshake. */
export const begin = async (
  app: App,
  length: number,
  headers: Readonly<Record<string, string>> = {},
  target = '/upload',
): Promise<Name> => {
  const reply = await ask(app, { target, headers: { ...headers, 'Content-Range': `bytes */${length}` } });
  expect(reply.status).toBe(308);
  return { target: reply.headers.location ?? 'no location', headers: { ...asText, ...headers } };
};

/** A plain POST. */
export const post = (
  app: App,
  body: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
  target = '/upload',
): Promise<Reply> => ask(app, { target, headers: { ...asText, ...headers }, body });

/** A request that stays on its connection, and that connection as the server sees it. */
export interface Sending {
  readonly client: RawClient;
  readonly socket: Socket;
}

/** Sends the bytes from `start` to `end`. */
export const sending = async (
  app: App,
  name: Name,
  whole: Uint8Array,
  [start, end]: readonly [number, number] = [0, whole.byteLength],
): Promise<Sending> => {
  const connected = once(app.server, 'connection') as Promise<[Socket]>;
  const client = await open(app, {
    ...name,
    headers: { ...name.headers, 'Content-Range': part(start, whole.byteLength, whole.byteLength) },
    length: whole.byteLength - start,
    body: whole.subarray(start, end),
  });
  const [socket] = await connected;
  return { client, socket };
};

export type Leaving = 'RST' | 'FIN';

/** Resolves when the server knows. */
export const leave = async ({ client, socket }: Sending, how: Leaving): Promise<void> => {
  const closed = new Promise((resolve) => socket.once('close', resolve));
  if (how === 'RST') client.reset();
  else client.finish();
  await closed;
  await new Promise((resolve) => setImmediate(resolve));
};

/**
 * Lets the server write until nothing more goes out to a client that does not read, and whatever `made` counts has
 * come to a stop as well.
 */
export const untilFull = async ({ client, socket }: Sending, made: () => number): Promise<void> => {
  client.socket.pause();
  let last = '';
  let times = 0;
  const isFull = (): boolean => {
    const now = `${socket.bytesWritten} ${made()}`;
    times = now === last && socket.writableNeedDrain ? times + 1 : 0;
    last = now;
    return times === 3;
  };
  await expect.poll(isFull, { interval: 30, timeout: 10_000 }).toBe(true);
};

/** Resolves when so many bytes are stored of the only upload there is. There is no event for it. */
export const untilStored = async (store: Store, end: number): Promise<void> => {
  await expect
    .poll(async () => (await stored(store)).at(-1)?.received.at(-1)?.end, { interval: 2, timeout: 5000 })
    .toBe(end);
};

/** All that a store has. */
export const stored = async (store: Store) => {
  const uploads = [];
  for await (const id of store.list()) {
    const upload = await store.load(id);
    if (upload !== undefined) uploads.push(upload);
  }
  return uploads;
};

/** Resolves when no handler is at work any more. */
export const untilIdle = async (app: App): Promise<void> => {
  await expect
    .poll(() => app.uploads.usage(), { interval: 2, timeout: 5000 })
    .toEqual({ heldBytes: 0, liveUploads: 0, completions: 0 });
};

/** What is the same in two answers to different requests. */
export const essence = ({ status, headers, body }: Reply) => {
  const { date: _, ...rest } = headers;
  return { status, headers: rest, body: String(body) };
};

/** Rejects if the answer is not there in time: what is tested is that nobody waits. */
export const soon = async <T>(answer: Promise<T>, ms = 1000): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
};
