import http from 'node:http';
import https from 'node:https';
import { backoffMs, wait } from '../client/backoff.ts';
import { get, type OpenResponse } from '../client/download-request.ts';
import { Interruption } from '../client/failure.ts';
import { UploadError } from '../errors.ts';
import { nameOf } from './file-name.ts';

export interface Asking {
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** How long the server may be gone, in seconds. */
  readonly retryFor: number;
}

const stallTimeoutMs = 30_000;
const notNow = new Set([408, 429, 500, 502, 503, 504]);

/**
 * The name a download is saved under. It is asked for before the first byte, because what is there of the download
 * already is found by it; a server that is gone is waited for, as the download itself would. Rejects with what that
 * would reject with.
 */
export const proposedName = async (url: URL, { headers, signal, retryFor }: Asking): Promise<string> => {
  const agents = { http: new http.Agent(), https: new https.Agent() };
  const end = performance.now() + retryFor * 1000;
  for (let failures = 1; ; failures++) {
    try {
      const asked = { ...headers, 'accept-encoding': 'identity', range: 'bytes=0-0' };
      const response = await get(url, { headers: asked, agents, signal, stallTimeoutMs });
      response.destroy();
      return named(response);
    } catch (error) {
      if (!isTransient(error)) throw error;
      const delayMs = backoffMs(failures, { minMs: 500, maxMs: 5_000 });
      if (performance.now() + delayMs > end) {
        throw new UploadError('interrupted', `gave up: ${(error as Error).message}`, { cause: error });
      }
      await wait(delayMs, signal);
    }
  }
};

const named = ({ status, statusText, headers, url }: OpenResponse): string => {
  // Of an empty file there is no first byte.
  if (status < 200 || (status > 299 && status !== 416)) {
    throw new UploadError('unexpected_response', `the server answered ${status} ${statusText}`, { status });
  }
  return nameOf(headers['content-disposition'], url);
};

const isTransient = (error: unknown): boolean =>
  error instanceof Interruption ||
  (error instanceof UploadError && error.status !== undefined && notNow.has(error.status));
