import http from 'node:http';
import https from 'node:https';
import { isUploadError, UploadError, type UploadErrorCode } from '../errors.ts';
import { type Digest, parseDigest } from '../headers/digest.ts';
import type { Range } from '../intervals.ts';
import { backoffMs, maxDelayMs, retryAfterMs, wait } from './backoff.ts';
import { get, type OpenResponse } from './download-request.ts';
import { Interruption, UploadFailedError } from './failure.ts';
import {
  type HeadersOption,
  integer,
  milliseconds,
  type RetryOptions,
  readHeadersOption,
  readRetry,
  readUrl,
} from './options.ts';
import { PartialFile, type Version } from './partial-file.ts';
import { Latest, RateMeter } from './progress.ts';
import { type Answer, readAnswer } from './version.ts';

export interface DownloadOptions {
  readonly headers?: HeadersOption | undefined;
  /** How many ranges are fetched at once. Default 1. */
  readonly parallel?: number | undefined;
  /** Stops it; what is there stays, and a later download to the same place goes on from it. */
  readonly signal?: AbortSignal | undefined;
  /** A connection on which nothing moves for so long is given up like a lost one. Default 30_000. */
  readonly stallTimeoutMs?: number | undefined;
  readonly retry?: RetryOptions | undefined;
  /**
   * What to do when the resource is another than the one that is partly there: fetch the new one from its
   * beginning, or fail with `digest_conflict`. Default `restart`.
   */
  readonly onChange?: 'restart' | 'fail' | undefined;
  /**
   * Whether a file that has the name is replaced. If not it fails with `target_exists`: before the first request, or
   * at the end, where the file has appeared meanwhile; what has arrived then stays. Default true.
   */
  readonly overwrite?: boolean | undefined;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
}

/** In bytes and milliseconds. */
export interface DownloadProgress {
  readonly received: number;
  /** Infinity while the server has not said it. */
  readonly total: number;
  /** Per second, over the last few seconds. */
  readonly rate: number;
  readonly etaMs: number;
}

export interface DownloadResult {
  readonly path: string;
  /** In bytes. */
  readonly length: number;
  /** The algorithm of the digest that was checked; undefined when the server sent none. */
  readonly verified: string | undefined;
  /** Requests sent. */
  readonly attempts: number;
}

export interface Download extends AsyncIterable<DownloadProgress> {
  /**
   * Resolves when the file is in its place. Rejects with an `UploadFailedError`, with the signal's reason, or
   * with what the file system threw.
   */
  readonly result: Promise<DownloadResult>;
}

/**
 * Fetches `url` into the file `destination`, in as many requests as it takes. Until it is whole and checked it is
 * `<destination>.partial`, with a note of what is there in `<destination>.partial.json`: a later call goes on
 * from it. Throws `invalid_argument`.
 */
export const download = (url: string | URL, destination: string, options: DownloadOptions = {}): Download => {
  const run = new DownloadRun(readUrl(url), destination, options);
  const result = run.result();
  return {
    result,
    async *[Symbol.asyncIterator]() {
      // Whoever only reads the events is thrown the failure here.
      void result.then(
        () => run.events.end(),
        (error: unknown) => run.events.end({ error }),
      );
      yield* run.events.read();
    },
  };
};

/** The resource is another than the one that is partly there. */
class Changed extends Error {
  readonly response: OpenResponse | undefined;

  constructor(response?: OpenResponse) {
    super('the resource has changed');
    this.response = response;
  }
}

const firstRangeBytes = 1024 * 1024;
const leastRangeBytes = 1024 * 1024;
const retried = new Set([408, 429, 500, 502, 503, 504]);

class DownloadRun {
  readonly events = new Latest<DownloadProgress>();
  readonly #url: URL;
  readonly #destination: string;
  readonly #parallel: number;
  readonly #signal: AbortSignal | undefined;
  readonly #stallTimeoutMs: number;
  readonly #retry: ReturnType<typeof readRetry>;
  readonly #onChange: 'restart' | 'fail';
  readonly #overwrite: boolean;
  readonly #onProgress: (progress: DownloadProgress) => void;
  readonly #headers: ReturnType<typeof readHeadersOption>['headers'];
  readonly #agents: { readonly http: http.Agent; readonly https: https.Agent };
  readonly #rate = new RateMeter();
  readonly #failures: unknown[] = [];
  #failuresInRow = 0;
  #progressAt = performance.now();
  #attempts = 0;
  /** The most bytes that were ever there: who begins anew makes no progress until then. */
  #most = 0;

  constructor(url: URL, destination: string, options: DownloadOptions) {
    this.#url = url;
    this.#destination = destination;
    this.#parallel = integer('parallel', options.parallel ?? 1, 1, 64);
    this.#signal = options.signal;
    this.#stallTimeoutMs = milliseconds('stallTimeoutMs', options.stallTimeoutMs ?? 30_000, 1);
    this.#retry = readRetry(options.retry ?? {});
    this.#onChange = options.onChange ?? 'restart';
    this.#overwrite = options.overwrite ?? true;
    this.#onProgress = options.onProgress ?? (() => {});
    this.#headers = readHeadersOption(options.headers ?? {}).headers;
    const settings = { keepAlive: true, maxSockets: this.#parallel };
    this.#agents = { http: new http.Agent(settings), https: new https.Agent(settings) };
  }

  async result(): Promise<DownloadResult> {
    try {
      this.#signal?.throwIfAborted();
      const file = await PartialFile.open(this.#destination, this.#url.href, this.#overwrite);
      try {
        return await this.#fetchAll(file);
      } catch (error) {
        // Also after a failure: what is there is worth going on from.
        await file.note();
        throw error;
      } finally {
        await file.close();
      }
    } catch (error) {
      if (!(error instanceof UploadError) || error instanceof UploadFailedError) throw error;
      throw this.#failed(error.code, error.message, error);
    } finally {
      this.#agents.http.destroy();
      this.#agents.https.destroy();
    }
  }

  async #fetchAll(file: PartialFile): Promise<DownloadResult> {
    for (;;) {
      const { length } = file.version ?? {};
      if (length !== undefined && file.received.covers(0, length)) break;
      try {
        if (await this.#round(file)) break;
      } catch (error) {
        if (error instanceof Changed) await this.#change(file, error);
        else if (error instanceof Interruption) await this.#delay(file, error, 0);
        else if (error instanceof NotNow) await this.#delay(file, error.failure, error.retryAfterMs);
        else throw error;
      }
    }
    const length = file.received.end;
    const digest = readableDigest(file.version?.digest);
    if (digest !== undefined) await file.verify(digest);
    await file.finish();
    this.#report(file, length);
    return { path: this.#destination, length, verified: digest?.algorithm, attempts: this.#attempts };
  }

  /** All that is missing, in as many requests at once as are wanted; true when a body without length ended. */
  async #round(file: PartialFile): Promise<boolean> {
    const { version } = file;
    if (version?.length === undefined || version.validator === undefined) {
      // Nothing that could be put together with what another request brings.
      if (version !== undefined) await file.restart(undefined);
      const end = this.#parallel > 1 && version === undefined ? firstRangeBytes : undefined;
      const hasEnded = await this.#fetch(file, { start: 0, end }, this.#stop());
      if (end === undefined && !hasEnded) assertGoesOn(file);
      return hasEnded;
    }
    const ranges = split(file.received.missing(0, version.length), this.#parallel);
    const abort = new AbortController();
    const signal = this.#stop(abort.signal);
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let range = ranges[next++]; range !== undefined; range = ranges[next++]) {
        await this.#fetch(file, range, signal);
      }
    };
    const lanes = Array.from({ length: Math.min(this.#parallel, ranges.length) }, async () => {
      try {
        await lane();
      } catch (error) {
        // Other lanes bring what they can, except of what has no future.
        if (!(error instanceof Interruption || error instanceof NotNow)) abort.abort(error);
        throw error;
      }
    });
    const results = await Promise.allSettled(lanes);
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    this.#signal?.throwIfAborted();
    if (abort.signal.aborted) throw abort.signal.reason;
    if (failures.length > 0) throw failures[0];
    return false;
  }

  #stop(also?: AbortSignal): AbortSignal {
    const signals = [this.#signal, also].filter((signal) => signal !== undefined);
    return AbortSignal.any(signals);
  }

  async #fetch(
    file: PartialFile,
    wanted: { readonly start: number; readonly end: number | undefined },
    signal: AbortSignal,
  ): Promise<boolean> {
    const pinned = file.version;
    const { start, end } = wanted;
    const given = await this.#headers();
    signal.throwIfAborted();
    this.#attempts++;
    const response = await get(this.#url, {
      headers: {
        ...given,
        'accept-encoding': 'identity',
        range: `bytes=${start}-${end === undefined ? '' : end - 1}`,
        ...(pinned?.validator !== undefined && { 'if-range': pinned.validator }),
      },
      agents: this.#agents,
      signal,
      stallTimeoutMs: this.#stallTimeoutMs,
    });
    try {
      // What is asked for lies within the version that is partly there.
      if (pinned !== undefined && response.status === 416) throw new Changed();
      const answer = this.#read(response, wanted);
      if (pinned !== undefined && !isSame(pinned, answer)) throw new Changed();
      if (pinned === undefined) await file.restart(answer.version);
      return await this.#take(file, response, answer);
    } catch (error) {
      response.destroy();
      throw error;
    }
  }

  /** Judges the head. */
  #read(
    response: OpenResponse,
    wanted: { readonly start: number; readonly end: number | undefined },
  ): Answer {
    const { status, statusText, headers } = response;
    if (retried.has(status)) {
      const failure = new UploadError('unexpected_response', `not now: ${status} ${statusText}`, { status });
      throw new NotNow(failure, retryAfterMs(headers));
    }
    return readAnswer(response, wanted);
  }

  async #take(file: PartialFile, response: OpenResponse, { start, end }: Answer): Promise<boolean> {
    let offset = start;
    for await (const chunk of response.body()) {
      if (end !== undefined && offset + chunk.length > end) {
        throw new UploadError('unexpected_response', 'the server sent more than it announced', {
          expected: end,
        });
      }
      await file.write(chunk, offset);
      offset += chunk.length;
      if (file.received.size > this.#most) {
        this.#most = file.received.size;
        this.#failuresInRow = 0;
        this.#progressAt = performance.now();
      }
      this.#report(file, file.version?.length);
    }
    if (end !== undefined && offset < end) {
      throw new Interruption(true, new Error(`the answer ended at ${offset}, before ${end}`));
    }
    return end === undefined;
  }

  async #change(file: PartialFile, changed: Changed): Promise<void> {
    if (this.#onChange === 'fail') {
      throw this.#failed(
        'digest_conflict',
        'the resource is another than the one that is partly there',
        changed,
      );
    }
    await file.restart(undefined);
    await this.#delay(file, changed, 0);
  }

  async #delay(file: PartialFile, failure: unknown, askedMs: number): Promise<void> {
    this.#failures.push(failure);
    await file.note();
    const reason = failure instanceof Error ? failure.message : String(failure);
    if (++this.#failuresInRow > this.#retry.maxCount) {
      const text = `gave up after ${this.#failuresInRow} requests without progress: ${reason}`;
      throw this.#failed('interrupted', text, failure);
    }
    const delayMs = Math.max(askedMs, backoffMs(this.#failuresInRow, this.#retry));
    const idleMs = performance.now() - this.#progressAt;
    if (idleMs + delayMs > this.#retry.maxTimeMs || delayMs > maxDelayMs) {
      throw this.#failed('interrupted', `gave up: no progress in time: ${reason}`, failure);
    }
    await wait(delayMs, this.#signal);
  }

  #report(file: PartialFile, total = Number.POSITIVE_INFINITY): void {
    const received = file.received.size;
    const rate = this.#rate.rate(received);
    const left = total - received;
    const etaMs = left === 0 ? 0 : rate > 0 ? (left / rate) * 1000 : Number.POSITIVE_INFINITY;
    const progress = { received, total, rate, etaMs };
    this.events.publish(progress);
    this.#onProgress(progress);
  }

  #failed(code: UploadErrorCode, message: string, cause: unknown): UploadFailedError {
    const status = cause instanceof UploadError ? cause.status : undefined;
    return new UploadFailedError(code, message, { cause, status, attempts: this.#failures });
  }
}

/** An answer that says to come again. */
class NotNow extends Error {
  readonly failure: UploadError;
  readonly retryAfterMs: number;

  constructor(failure: UploadError, askedMs: number) {
    super(failure.message);
    this.failure = failure;
    this.retryAfterMs = askedMs;
  }
}

/**
 * Whether an answer may be put together with what is there. After an `If-Range` with a date a 206 need not say the date
 * again; an entity tag it has to.
 */
const isSame = (pinned: Version, { version, isWhole }: Answer): boolean => {
  if (isWhole || version.length !== pinned.length) return false;
  const saysNothing = version.validator === undefined && pinned.validator?.startsWith('"') === false;
  return saysNothing || version.validator === pinned.validator;
};

/** All was asked for: either it has come, or the rest of the same version can be. */
const assertGoesOn = ({ version, received }: PartialFile): void => {
  const { length, validator } = version ?? {};
  if (length !== undefined && (validator !== undefined || received.covers(0, length))) return;
  throw new UploadError(
    'unexpected_response',
    'the server sends a part, and nothing that tells of which version',
  );
};

/** Ranges of which each connection has several to take, so that a slow one does not hold up the end. */
const split = (missing: readonly Range[], parallel: number): Range[] => {
  if (parallel === 1) return [...missing];
  let left = 0;
  for (const { start, end } of missing) left += end - start;
  const size = Math.max(leastRangeBytes, Math.ceil(left / (parallel * 4)));
  return missing.flatMap(({ start, end }) => {
    const count = Math.ceil((end - start) / size);
    return Array.from({ length: count }, (_, i) => ({
      start: start + i * size,
      end: Math.min(end, start + (i + 1) * size),
    }));
  });
};

/** One that cannot be read checks nothing, as one of an unknown algorithm does; `verified` tells of neither. */
const readableDigest = (field: string | undefined): Digest | undefined => {
  try {
    return field === undefined ? undefined : parseDigest(field);
  } catch (error) {
    if (isUploadError(error, 'malformed_digest')) return undefined;
    throw error;
  }
};
