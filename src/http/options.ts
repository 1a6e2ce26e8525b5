import type { IncomingMessage, ServerResponse } from 'node:http';
import { UploadError } from '../errors.ts';
import type { Store } from '../store.ts';
import type { CorsOptions, CorsOrigins } from './cors.ts';
import type { Hooks } from './hooks.ts';
import type { StreamedUpload, Upload, UploadRequest } from './upload.ts';

/** What the application does with a request: with the upload, or with one that is no upload. */
export type Handler<U = Upload> = (req: UploadRequest<U>, res: ServerResponse) => unknown;

/** … and with an upload that may still be coming. */
export type StreamHandler = Handler<StreamedUpload>;

const KiB = 1024;
const MiB = 1024 * KiB;
const day = 24 * 60 * 60 * 1000;

/** Sizes in bytes, times in milliseconds. */
export interface ResumableOptions extends Hooks {
  /** Where the bytes are kept. */
  readonly store: Store;
  /**
   * When the handler runs. In `hold` mode once all bytes are stored. In `stream` mode at the first byte: its `req`
   * keeps flowing over as many connections as it takes, and bytes are stored as well, so that a handler that fails,
   * or whose process dies, runs again in hold mode. Takes a store that `supports.readOpen`.
   * @default 'hold'
   */
  readonly mode?: 'hold' | 'stream';
  /**
   * In stream mode, how long the handler waits for a client that has gone: then its `req` errors with
   * `interrupted`, and what is stored waits for the client without it.
   * @default 300000 (5 minutes)
   */
  readonly resumeTimeoutMs?: number;
  /**
   * In stream mode, how many stored bytes the handler may have before it until its client is held back.
   * @default 4194304 (4 MiB)
   */
  readonly aheadBytes?: number;
  /**
   * Scheme and authority to write before the path in `Location`, as in `https://example.com`. By default none: a
   * client resolves the path against what it has asked, whatever proxies are between.
   */
  readonly origin?: (req: IncomingMessage) => string | undefined;
  /**
   * How a client that asks for an identity first is given one: a session URL in `Location`, or an entity tag
   * in `ETag`.
   * @default 'location'
   */
  readonly handshake?: 'location' | 'etag';
  /**
   * The name of the operation, for a URL that the client chose to be unique to it. The name is hashed
   * together with `owner`: give that too where callers must not meet in one name. Throw an `UploadError` with
   * `malformed_name` to refuse one. By default no URL is unique.
   */
  readonly identify?: (req: IncomingMessage) => string | undefined;
  /**
   * Who is asking. Uploads belong to their owner: two callers that choose the same name have two uploads, and a
   * session URL is unknown to anybody else who has got hold of it.
   * @default '' (everybody is the same caller)
   */
  readonly owner?: (req: IncomingMessage) => string;
  /**
   * Which requests are uploads. By default, and where this says undefined: a POST, PUT or PATCH with a body,
   * and any request with Content-Range or an identity of ours. True makes one of an empty POST, PUT or PATCH
   * too; false lets any request pass through.
   */
  readonly isUpload?: (req: IncomingMessage) => boolean | undefined;
  /**
   * The application's facts about a new upload; `uploadMetadata` takes those its client sent as `Upload-Metadata`. By
   * default none.
   */
  readonly metadata?: (req: IncomingMessage) => Readonly<Record<string, string>>;
  /**
   * Lets pages of other origins upload, resume and read what they are answered: every response gets the fields of
   * CORS that its origin is due, a request that passes through too, and where the application has not set them itself.
   * Preflights (`OPTIONS`) are answered, before any hook: in a framework they have to come here, so the route has to
   * take that method as well. By default, and with false, nothing is added: the application may see to it itself.
   * @default undefined
   */
  readonly cors?: CorsOrigins | CorsOptions | false | undefined;
  /**
   * Whether 103 (Checkpoint) responses tell a client what is stored while it still sends: to those that ask
   * for them with `Prefer: checkpoint`, to all, or to none. Some clients and proxies take any 1xx for the
   * final response.
   * @default 'on-request'
   */
  readonly checkpoints?: 'on-request' | 'always' | 'never';
  /**
   * A 103 is sent at most this often.
   * @default 1000 (1 second)
   */
  readonly checkpointPushMs?: number;
  /**
   * The longest upload that is accepted.
   * @default Number.MAX_SAFE_INTEGER (8 PiB: no limit)
   */
  readonly maxLength?: number;
  /**
   * How long a request waits for the handler before it is answered 503 with Retry-After. The handler goes on.
   * A client that was never told how to come back for the answer waits as long as it takes, as it would
   * without this library.
   * @default 10000 (10 seconds)
   */
  readonly completeWaitMs?: number;
  /**
   * A connection that delivers no byte of its body for so long is closed; its bytes are kept.
   * @default 30000 (30 seconds)
   */
  readonly idleTimeoutMs?: number;
  /**
   * The longest response body that is stored. Of a longer one, status and headers are replayed.
   * @default 65536 (64 KiB)
   */
  readonly responseBytes?: number;
  /**
   * The bytes all connections together may hold between socket and store.
   * @default 67108864 (64 MiB)
   */
  readonly memoryBudget?: number;
  /**
   * Bytes written to the store at once.
   * @default 2097152 (2 MiB)
   */
  readonly batchBytes?: number;
  /**
   * Bytes that wait for a batch to fill are written so long after the first of them.
   * @default 250
   */
  readonly flushMs?: number;
  /**
   * What was written is made safe when it is this much.
   * @default 16777216 (16 MiB)
   */
  readonly checkpointBytes?: number;
  /**
   * What was written is made safe so long after the first of it.
   * @default 1000 (1 second)
   */
  readonly checkpointMs?: number;
  /**
   * How long another process believes, without news, that a handler is still running. It is renewed three
   * times as often; a dead process of the same machine is noticed at once.
   * @default 30000 (30 seconds)
   */
  readonly leaseMs?: number;
  /**
   * An open upload without progress for so long is answered 410 and removed by `expire()`; and so is one that
   * the handler answered with 4xx, so long after that. Other complete ones are not.
   * @default 604800000 (7 days)
   */
  readonly expiresAfterMs?: number;
  /**
   * A complete upload is removed by `expire()` so long after it was answered, content and answer; by default
   * never: it is the application's.
   * @default undefined (for ever)
   */
  readonly keepCompletedMs?: number | undefined;
  /**
   * How long a removed upload is answered 410; after that, 404.
   * @default 604800000 (7 days)
   */
  readonly tombstoneMs?: number;
  /**
   * `retryPending()` leaves an upload alone after so many runs of the handler; its client still may ask.
   * @default 5
   */
  readonly maxAttempts?: number;
  /**
   * How much of a refused body is read so that its sender gets to read the answer, …
   * @default 16777216 (16 MiB)
   */
  readonly drainBytes?: number;
  /**
   * … and for how long.
   * @default 5000 (5 seconds)
   */
  readonly drainMs?: number;
  /**
   * The query parameter that makes a session URL of a start URL.
   * @default 'upload_id'
   */
  readonly sessionParameter?: string;
  /**
   * How `Range` is written in a 308: `bytes=0-42`, or `0-42` as in the proposal's examples.
   * @default 'bytes'
   */
  readonly rangeForm?: 'bytes' | 'bare';
  /**
   * Told of every failure that is not the client's: of the handler, the store, the library.
   * @default console.error
   */
  readonly onError?: (error: unknown, facts: { readonly id?: string | undefined }) => void;
}

type Undefinable = 'cors' | 'keepCompletedMs' | keyof Hooks;

/** Every option with its default in place. */
export type Settings = Required<Omit<ResumableOptions, Undefinable>> & Pick<ResumableOptions, Undefinable>;

export const settings = (options: ResumableOptions): Settings => {
  const all: Settings = {
    mode: 'hold',
    resumeTimeoutMs: 300_000,
    aheadBytes: 4 * MiB,
    origin: () => undefined,
    handshake: 'location',
    identify: () => undefined,
    owner: () => '',
    isUpload: () => undefined,
    metadata: () => ({}),
    checkpoints: 'on-request',
    checkpointPushMs: 1000,
    maxLength: Number.MAX_SAFE_INTEGER,
    completeWaitMs: 10_000,
    idleTimeoutMs: 30_000,
    responseBytes: 64 * KiB,
    memoryBudget: 64 * MiB,
    batchBytes: 2 * MiB,
    flushMs: 250,
    checkpointBytes: 16 * MiB,
    checkpointMs: 1000,
    leaseMs: 30_000,
    expiresAfterMs: 7 * day,
    tombstoneMs: 7 * day,
    maxAttempts: 5,
    drainBytes: 16 * MiB,
    drainMs: 5000,
    sessionParameter: 'upload_id',
    rangeForm: 'bytes',
    onError: (error) => console.error(error),
    ...options,
  };
  for (const [name, value] of Object.entries(all)) {
    if (typeof value !== 'number' || (Number.isSafeInteger(value) && value >= 0)) continue;
    throw new UploadError('invalid_argument', `${name} must be a safe integer`, { actual: value });
  }
  if (!/^[A-Za-z0-9_-]+$/.test(all.sessionParameter)) {
    throw new UploadError('invalid_argument', 'sessionParameter must need no encoding', {
      actual: all.sessionParameter,
    });
  }
  if (all.mode === 'stream' && !all.store.supports.readOpen) {
    throw new UploadError('not_supported', `stream mode reads open uploads, and ${all.store.name} cannot`);
  }
  return { ...all, onError: guarded(all.onError) };
};

/** What is told of failures must not make one. */
const guarded =
  (onError: Settings['onError']): Settings['onError'] =>
  (error, facts) => {
    new Promise((resolve) => resolve(onError(error, facts))).catch(console.error);
  };
