import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as timeout } from 'node:timers/promises';
import type { SweepCounts } from './engine/expiry.ts';
import { Engine, type PendingCounts } from './engine.ts';
import { unlessGone } from './errors.ts';
import { Exchange, type Service } from './http/exchange.ts';
import { HandlerRun } from './http/handler-run.ts';
import { type Handler, type ResumableOptions, type Settings, settings } from './http/options.ts';
import type { Range } from './intervals.ts';
import type { RequestHead } from './protocol/dialect.ts';
import { gears } from './protocol/gears.ts';

/** Room for the status and headers of a stored response, beside its body. */
const responseHeadBytes = 16 * 1024;

/** What a running service knows of an upload. */
export interface UploadStatus {
  readonly id: string;
  readonly state: 'open' | 'claimed' | 'finished';
  readonly length: number | undefined;
  readonly received: readonly Range[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly attempt: number;
}

/** A plain request listener, and the few things to do with uploads outside any request. */
export interface ResumableListener {
  (req: IncomingMessage, res: ServerResponse): void;
  /** For a server's 'checkContinue' event: 100 (Continue) is then sent only when the body is wanted. */
  checkContinue(req: IncomingMessage, res: ServerResponse): void;
  /** Undefined when there is none, or no more. Rejects with the store's own failure. */
  find(id: string): Promise<UploadStatus | undefined>;
  /** The bytes `[start, end)` of a finished upload. The stream errors with `gone` when they are not there. */
  read(id: string, start: number, end: number): Readable;
  /**
   * Removes an upload, finished or not. Rejects with `not_found`, `gone`, or `complete` while its handler
   * runs.
   */
  remove(id: string): Promise<void>;
  /**
   * Runs the handler for uploads that have all bytes and no answer. To be called at start,
   * and again after `leaseMs` if some are `held`: those that a process of another machine or boot had begun.
   */
  retryPending(): Promise<PendingCounts>;
  /**
   * Removes what has expired, and says what it left alone: uploads that have all bytes and, for as long, no
   * answer. To be called at start and then now and again.
   */
  expire(): Promise<SweepCounts>;
  /** What is being worked on at this moment: what a leak would show in. */
  usage(): { readonly heldBytes: number; readonly liveUploads: number; readonly completions: number };
  /**
   * Ends the service: for `graceMs` (default 5000, 5 seconds) uploads and handlers may finish, then what
   * arrived is made safe, connections that still send are answered 503, and the store is closed.
   */
  close(options?: { readonly graceMs?: number }): Promise<void>;
}

/**
 * Makes a request handler's uploads resumable. Returns a listener for `http.createServer` (or https). The
 * handler runs once the whole body is stored, and reads it from `req` as ever; `req.upload` knows more. Its
 * response is stored, and given to every later request for the same upload. Requests that are no uploads pass
 * through untouched.
 *
 * Rejects nothing at run time: each failure becomes an `application/problem+json` response with a stable
 * `code`. Throws an `UploadError` with `invalid_argument` for an unusable option.
 */
export const resumable = (options: ResumableOptions, handler: Handler): ResumableListener => {
  const all = settings(options);
  const engine = new Engine(all.store, { ...all, reserveBytes: reserve(all.responseBytes) });
  const service: Service = { engine, dialect: gears(all), settings: all, handler };
  const exchanges = new Set<Promise<void>>();
  /** The last exchange of each connection that has not ended. */
  const last = new WeakMap<Socket, Promise<void>>();
  const serve = (req: IncomingMessage, res: ServerResponse, awaitsContinue: boolean): void => {
    const exchange = new Exchange(service, req, res, awaitsContinue);
    const pass = (): void => {
      if (awaitsContinue) res.writeContinue();
      handler(req, res);
    };
    let command: ReturnType<typeof service.dialect.command>;
    try {
      command = service.dialect.command(head(req, all));
    } catch (error) {
      return exchange.fail(error);
    }
    if (command === undefined) return pass();
    warnOfRequestTimeout(req.socket);
    // Requests of one connection are taken in turn, as their answers are: else a pipelined one would supersede
    // the one before it, and take the connection away from both.
    const run = () => exchange.run(command, pass);
    const running = (last.get(req.socket)?.then(run) ?? run()).finally(() => {
      exchanges.delete(running);
      if (last.get(req.socket) === running) last.delete(req.socket);
    });
    exchanges.add(running);
    last.set(req.socket, running);
  };
  const listener = (req: IncomingMessage, res: ServerResponse): void => serve(req, res, false);
  return Object.assign(listener, {
    checkContinue: (req: IncomingMessage, res: ServerResponse) => serve(req, res, true),
    find: async (id: string) => status(await engine.find(id).catch(unlessGone)),
    read: (id: string, start: number, end: number) => all.store.read(id, start, end),
    remove: (id: string) => engine.remove(id),
    retryPending: () =>
      engine.retryPending((record) => {
        const run = new HandlerRun(all, handler);
        return run.process(record).finally(() => run.respond());
      }),
    expire: () => engine.expire(),
    usage: () => engine.usage,
    close: async ({ graceMs = 5000 } = {}) => {
      engine.refuse();
      await Promise.race([Promise.allSettled(exchanges), timeout(graceMs, undefined, { ref: false })]);
      await engine.close();
    },
  });
};

/** Base64 makes four bytes of three. */
const reserve = (responseBytes: number): number => Math.ceil(responseBytes / 3) * 4 + responseHeadBytes;

const head = (req: IncomingMessage, { identify, isUpload }: Settings): RequestHead => {
  const wanted = isUpload(req);
  return {
    method: req.method ?? 'GET',
    url: req.url ?? '/',
    headers: req.headers,
    facts: { name: wanted === false ? undefined : identify(req), isUpload: wanted },
  };
};

const status = (stored: Awaited<ReturnType<Engine['find']>>): UploadStatus | undefined => {
  if (stored === undefined || stored.record.state === 'removed') return undefined;
  const { id, state, length, metadata, attempt } = stored.record;
  return { id, state, length, received: stored.received, metadata, attempt };
};

let warned = false;

/** Node's `requestTimeout` (300 s for the whole request) ends long uploads; `listen` turns it off. */
const warnOfRequestTimeout = (socket: Socket): void => {
  if (warned) return;
  const { server } = socket as Socket & { server?: { requestTimeout?: number } };
  if (server?.requestTimeout === undefined || server.requestTimeout === 0) return;
  warned = true;
  process.emitWarning(
    `server.requestTimeout is ${server.requestTimeout} ms: uploads that take longer are cut off. ` +
      'Set it to 0 (idleTimeoutMs takes its place) and headersTimeout to 60000, or use listen().',
    { code: 'RESUMABLE_HTTP_REQUEST_TIMEOUT' },
  );
};
