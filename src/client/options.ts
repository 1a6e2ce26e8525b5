import { validateHeaderName, validateHeaderValue } from 'node:http';
import { UploadError } from '../errors.ts';
import { maxDelayMs } from './backoff.ts';

/**
 * `asking`: a handshake or a query is under way. `sending`: bytes are. `waiting`: between two requests, for
 * the back-off or a Retry-After. `done`: the final answer is here.
 */
export type UploadState = 'asking' | 'sending' | 'waiting' | 'done';

/** In bytes. None of the numbers ever falls. */
export interface UploadProgress {
  /** How much of the content has been handed to the network at least once; not yet proof of anything. */
  readonly sent: number;
  /** The most the server has ever said it holds. */
  readonly committed: number;
  readonly total: number;
  readonly state: UploadState;
}

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
}

export interface UploadOptions {
  /** Of every request. Default `POST`. */
  readonly method?: string | undefined;
  /**
   * Sent with every request, those named `Content-…` only with bytes; credentials only to the URL's own
   * origin.
   */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /**
   * True (the default): the URL is shared, so ask it for an identity before the first byte. False: the URL
   * names this upload alone, so the whole body goes out at once.
   */
  readonly handshake?: boolean | undefined;
  /**
   * Ask the server to report while it receives (`Prefer: checkpoint`): saves the query after a cut and shows
   * `committed` moving. Some proxies cannot relay such reports. Default false.
   */
  readonly checkpoints?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** A connection on which nothing moves for so long is given up like a lost one. Default 30_000. */
  readonly stallTimeoutMs?: number | undefined;
  readonly retry?: RetryOptions | undefined;
  /** Called often, synchronously. What it throws ends the upload. */
  readonly onProgress?: ((progress: UploadProgress) => void) | undefined;
}

export interface Settings {
  readonly method: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly handshake: boolean;
  readonly checkpoints: boolean;
  readonly signal: AbortSignal | undefined;
  readonly stallTimeoutMs: number;
  readonly retry: { readonly minMs: number; readonly maxMs: number; readonly maxCount: number };
  readonly onProgress: (progress: UploadProgress) => void;
}

/** Throws `invalid_argument`. */
export const readOptions = (options: UploadOptions): Settings => {
  const { retry = {} } = options;
  const minMs = milliseconds('retry.minMs', retry.minMs ?? 500, 0);
  return {
    method: readMethod(options.method ?? 'POST'),
    headers: readHeaders(options.headers ?? {}),
    handshake: options.handshake ?? true,
    checkpoints: options.checkpoints ?? false,
    signal: options.signal,
    stallTimeoutMs: milliseconds('stallTimeoutMs', options.stallTimeoutMs ?? 30_000, 1),
    retry: {
      minMs,
      maxMs: milliseconds('retry.maxMs', retry.maxMs ?? Math.max(minMs, 30_000), 0),
      maxCount: readCount(retry.maxCount ?? 10),
    },
    onProgress: options.onProgress ?? (() => {}),
  };
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

const readHeaders = (headers: Readonly<Record<string, string>>): Record<string, string> => {
  const out: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (owned.has(lower)) throw invalid('the client sets this header itself', name);
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch (cause) {
      throw new UploadError('invalid_argument', 'not a header', { actual: name, cause });
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

const milliseconds = (name: string, value: number, min: number): number => {
  if (!(value >= min && value <= maxDelayMs)) throw invalid(`${name} is out of range`, String(value));
  return value;
};

const readCount = (value: number): number => {
  if (!(value >= 0)) throw invalid('retry.maxCount is out of range', String(value));
  return value;
};

const invalid = (message: string, actual: string): UploadError =>
  new UploadError('invalid_argument', message, { actual });
