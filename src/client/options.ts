import { UploadError } from '../errors.ts';
import { maxDelayMs } from './backoff.ts';
import { printMetadata } from './metadata.ts';
import type { UploadProgress } from './progress.ts';
import type { SavedUpload } from './saved.ts';

export interface RetryOptions {
  /**
   * The first back-off is somewhere between 0 and this; each further one up to twice the one before. Default
   * 500.
   */
  readonly minMs?: number | undefined;
  /** No back-off is longer; a server's Retry-After may be. Default 30_000. */
  readonly maxMs?: number | undefined;
  /** Failures in a row, without a new byte at the server, after which the upload is given up. Default 10. */
  readonly maxCount?: number | undefined;
  /** How long it may take to bring a new byte to the server until the upload is given up. Default 3_600_000. */
  readonly maxTimeMs?: number | undefined;
}

export type HeaderRecord = Readonly<Record<string, string>>;
/** Fixed ones, or a function that is asked before each request: for tokens that expire. */
export type HeadersOption = HeaderRecord | (() => HeaderRecord | Promise<HeaderRecord>);

export interface UploadOptions {
  /** Of every request. Default `POST`. */
  readonly method?: string | undefined;
  /**
   * Sent with every request, those named `Content-…` only with bytes; credentials only to the URL's own
   * origin. With a function, a 401 is tried once more with what it then says.
   */
  readonly headers?: HeadersOption | undefined;
  /**
   * In a browser: cookies go along to another origin too, which has to allow that. To the page's own they always do.
   * Default false.
   */
  readonly withCredentials?: boolean | undefined;
  /** Sent as `Upload-Metadata` with the request that starts the upload: names, and values in base64. */
  readonly metadata?: HeaderRecord | undefined;
  /**
   * True (the default): the URL is shared, so ask it for an identity before the first byte. False: the URL
   * names this upload alone, so the whole body goes out at once.
   */
  readonly handshake?: boolean | undefined;
  /**
   * Ask the server to report while it receives (`Prefer: checkpoint`): saves the query after a cut and shows
   * `committed` moving. Some proxies cannot relay such reports; browsers don't show them. Default false.
   */
  readonly checkpoints?: boolean | undefined;
  /** How many connections bring disjoint ranges at once. Default 1. */
  readonly parallel?: number | undefined;
  /**
   * The most bytes one request brings. Default: no limit. A 413 halves it, here and for later uploads to the
   * same origin.
   */
  readonly maxRequestBytes?: number | undefined;
  /** How much of a stream is kept, in bytes, until the server has it. Default 16 MiB, at least 256 KiB. */
  readonly replayBufferBytes?: number | undefined;
  /** Stops the upload; what the server has stays there, and `state()` leads back to it. */
  readonly signal?: AbortSignal | undefined;
  /** A connection on which nothing moves for so long is given up like a lost one. Default 30_000. */
  readonly stallTimeoutMs?: number | undefined;
  readonly retry?: RetryOptions | undefined;
  /** What `state()` said of this upload before, in this process or another: goes on from there. */
  readonly state?: SavedUpload | undefined;
  /** Called often, synchronously. What it throws ends the upload. */
  readonly onProgress?: ((progress: UploadProgress) => void) | undefined;
}

export interface Settings {
  readonly method: string;
  readonly headers: () => HeaderRecord | Promise<HeaderRecord>;
  /** Whether `headers` may say something else the next time. */
  readonly freshHeaders: boolean;
  readonly withCredentials: boolean;
  readonly metadata: string | undefined;
  readonly handshake: boolean;
  readonly checkpoints: boolean;
  readonly parallel: number;
  readonly maxRequestBytes: number;
  readonly replayBufferBytes: number;
  readonly signal: AbortSignal | undefined;
  readonly stallTimeoutMs: number;
  readonly retry: Required<{ [Name in keyof RetryOptions]: number }>;
  readonly state: SavedUpload | undefined;
  readonly onProgress: (progress: UploadProgress) => void;
}

const MiB = 1024 * 1024;

/** Throws `invalid_argument`. */
export const readOptions = (options: UploadOptions): Settings => {
  const { headers = {}, metadata = {} } = options;
  return {
    method: readMethod(options.method ?? 'POST'),
    ...readHeadersOption(headers),
    withCredentials: options.withCredentials ?? false,
    metadata: printMetadata(metadata),
    handshake: options.handshake ?? true,
    checkpoints: options.checkpoints ?? false,
    parallel: integer('parallel', options.parallel ?? 1, 1, 64),
    maxRequestBytes: atLeast('maxRequestBytes', options.maxRequestBytes ?? Number.POSITIVE_INFINITY, 1),
    replayBufferBytes: atLeast('replayBufferBytes', options.replayBufferBytes ?? 16 * MiB, MiB / 4),
    signal: options.signal,
    stallTimeoutMs: milliseconds('stallTimeoutMs', options.stallTimeoutMs ?? 30_000, 1),
    retry: readRetry(options.retry ?? {}),
    state: options.state,
    onProgress: options.onProgress ?? (() => {}),
  };
};

/** Throws `invalid_argument`. */
export const readRetry = (retry: RetryOptions): Settings['retry'] => {
  const minMs = milliseconds('retry.minMs', retry.minMs ?? 500, 0);
  return {
    minMs,
    maxMs: milliseconds('retry.maxMs', retry.maxMs ?? Math.max(minMs, 30_000), 0),
    maxCount: atLeast('retry.maxCount', retry.maxCount ?? 10, 0),
    maxTimeMs: atLeast('retry.maxTimeMs', retry.maxTimeMs ?? 3_600_000, 0),
  };
};

export const readHeadersOption = (headers: HeadersOption): Pick<Settings, 'headers' | 'freshHeaders'> => {
  if (typeof headers === 'function') {
    return { freshHeaders: true, headers: async () => readHeaders(await headers()) };
  }
  const fixed = readHeaders(headers);
  return { freshHeaders: false, headers: () => fixed };
};

/** Throws `invalid_argument`. */
export const readUrl = (url: string | URL): URL => {
  if (!URL.canParse(String(url))) throw invalid('not an absolute URL', String(url));
  const parsed = new URL(url);
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:')
    throw invalid('not an http URL', String(url));
  return parsed;
};

/** Fields that say which bytes of which upload a request carries, or how: only the client itself can know. */
const owned = new Set([
  'connection',
  'content-length',
  'content-range',
  'expect',
  'if-match',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;

const readHeaders = (headers: HeaderRecord): HeaderRecord => {
  const out: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (owned.has(lower)) throw invalid('the client sets this header itself', name);
    if (!fieldName.test(name) || typeof value !== 'string' || !fieldValue.test(value)) {
      throw invalid('not a header', name);
    }
    out[lower] = value;
  }
  return out;
};

const readMethod = (method: string): string => {
  const upper = method.toUpperCase();
  if (upper !== 'POST' && upper !== 'PUT' && upper !== 'PATCH') {
    throw invalid('the method carries no upload', method);
  }
  return upper;
};

export const milliseconds = (name: string, value: number, min: number): number => {
  if (!(value >= min && value <= maxDelayMs)) throw invalid(`${name} is out of range`, String(value));
  return value;
};

export const integer = (name: string, value: number, min: number, max: number): number => {
  if (!(Number.isInteger(value) && value >= min && value <= max)) {
    throw invalid(`${name} is not a whole number from ${min} to ${max}`, String(value));
  }
  return value;
};

const atLeast = (name: string, value: number, min: number): number => {
  if (!(value >= min)) throw invalid(`${name} is out of range`, String(value));
  return value;
};

const invalid = (message: string, actual: string): UploadError =>
  new UploadError('invalid_argument', message, { actual });
