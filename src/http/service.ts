import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as timeout } from 'node:timers/promises';
import type { SweepCounts } from '../engine/expiry.ts';
import type { PendingCounts } from '../engine/upkeep.ts';
import { Engine } from '../engine.ts';
import { unlessGone } from '../errors.ts';
import type { Command, RequestHead } from '../protocol/dialect.ts';
import { gears } from '../protocol/gears.ts';
import { answer } from './answer.ts';
import { corsPolicy, shareResponse } from './cors.ts';
import { type Arrival, Exchange, type Service } from './exchange.ts';
import { HandlerRun } from './handler-run.ts';
import { statusOf, type UploadStatus } from './hooks.ts';
import { type Handler, type ResumableOptions, type Settings, settings } from './options.ts';
import { decodeResponse } from './stored-response.ts';

/** Room for the status and headers of a stored response, beside its body. */
const responseHeadBytes = 16 * 1024;

/** The few things to do with uploads outside any request. */
export interface UploadOperations {
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

/** Resumable uploads without an opinion on where requests come from: what every adapter stands on. */
export interface UploadService {
  readonly operations: UploadOperations;
  /** The request target as the application knows it, without the session parameter. */
  plainUrl(url: string): string;
  /**
   * `pass` is called with a request that is no upload: it is the application's, untouched; its response has the fields
   * of the option `cors`. Otherwise resolves when all is done for this request; a handler that can run with it only
   * (`isBound`) and has not been entered by then will not be.
   */
  serve(arrival: Arrival, pass: () => void): Promise<void> | undefined;
  /**
   * Runs the handler for uploads that have all bytes and no answer. To be called at start,
   * and again after `leaseMs` if some are `held`: those that a process of another machine or boot had begun.
   */
  retryPending(handler: Handler): Promise<PendingCounts>;
}

/** Throws an `UploadError` with `invalid_argument` for an unusable option. */
export const uploadService = (options: ResumableOptions): UploadService => {
  const all = settings(options);
  const { onComplete, onAbort } = all;
  const cors = corsPolicy(all.cors);
  const engine = new Engine(all.store, {
    ...all,
    reserveBytes: reserve(all.responseBytes),
    onFinished:
      onComplete &&
      (async (record) => {
        const received = record.length ? [{ start: 0, end: record.length }] : [];
        const { status } = decodeResponse(record.response ?? '{}');
        await onComplete(statusOf({ record, received }), { status });
      }),
    onRemoved:
      onAbort &&
      (async (stored, reason) => {
        if (stored.record.state !== 'finished') await onAbort(statusOf(stored), reason);
      }),
  });
  const pending = new Set<Promise<void>>();
  const service: Service = { engine, dialect: gears(all), settings: all, streams: new Map(), pending };
  /** The last exchange of each connection that has not ended. */
  const last = new WeakMap<Socket, Promise<void>>();
  const serve = (arrival: Arrival, pass: () => void): Promise<void> | undefined => {
    const { req, res } = arrival;
    let command: Command | undefined;
    try {
      const permission = cors && shareResponse(cors, req, res);
      if (permission !== undefined) {
        answer(req, res, permission, all, arrival.awaitsContinue);
        return Promise.resolve();
      }
      command = service.dialect.command(head(arrival, all));
    } catch (error) {
      new Exchange(service, arrival).fail(error);
      return Promise.resolve();
    }
    if (command === undefined) {
      pass();
      return undefined;
    }
    const exchange = new Exchange(service, arrival);
    warnOfRequestTimeout(req.socket);
    // Requests of one connection are taken in turn, as their answers are: else a pipelined one would supersede
    // the one before it, and take the connection away from both.
    const run = () => exchange.run(command, pass);
    const running = (last.get(req.socket)?.then(run) ?? run()).finally(() => {
      pending.delete(running);
      if (last.get(req.socket) === running) last.delete(req.socket);
    });
    pending.add(running);
    last.set(req.socket, running);
    return running;
  };
  return {
    serve,
    plainUrl: service.dialect.plainUrl,
    retryPending: (handler) =>
      engine.retryPending((record) => {
        const run = new HandlerRun(all, handler);
        return run.process(record).finally(() => run.respond());
      }),
    operations: {
      find: async (id) => {
        const stored = await engine.find(id).catch(unlessGone);
        return stored && statusOf(stored);
      },
      read: (id, start, end) => all.store.read(id, start, end),
      remove: (id) => engine.remove(id),
      expire: () => engine.expire(),
      usage: () => engine.usage,
      close: async ({ graceMs = 5000 } = {}) => {
        engine.refuse();
        await Promise.race([ended(pending), timeout(graceMs, undefined, { ref: false })]);
        await engine.close();
      },
    },
  };
};

/** What ends may leave something behind that goes on. */
const ended = async (pending: ReadonlySet<Promise<void>>): Promise<void> => {
  while (pending.size > 0) await Promise.allSettled(pending);
};

/** Base64 makes four bytes of three. */
const reserve = (responseBytes: number): number => Math.ceil(responseBytes / 3) * 4 + responseHeadBytes;

const head = ({ req, target }: Arrival, { identify, isUpload }: Settings): RequestHead => {
  const wanted = isUpload(req);
  return {
    method: req.method ?? 'GET',
    url: target ?? req.url ?? '/',
    headers: req.headers,
    facts: { name: wanted === false ? undefined : identify(req), isUpload: wanted },
  };
};

let warned = false;

/** Node's `requestTimeout` (300 s for the whole request) ends long uploads; `listen` turns it off. */
const warnOfRequestTimeout = (socket: IncomingMessage['socket']): void => {
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
