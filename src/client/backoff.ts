import type { ResponseHeaders } from './transport.ts';

/** The longest delay a timer can hold; a longer one would fire at once. */
export const maxDelayMs = 2 ** 31 - 1;

export interface BackoffLimits {
  readonly minMs: number;
  readonly maxMs: number;
}

/**
 * Exponential with full jitter: anything between nothing and `minMs * 2^(failures - 1)`, so that clients cut
 * off by one event do not come back as one crowd.
 */
export const backoffMs = (failures: number, { minMs, maxMs }: BackoffLimits, random = Math.random): number =>
  Math.floor(random() * Math.min(maxMs, minMs * 2 ** Math.min(failures - 1, 30)));

/**
 * What `Retry-After` asks for in milliseconds, 0 without one or with an unreadable one. A date is measured
 * against the server's own `Date`: the two clocks need not agree.
 */
export const retryAfterMs = (headers: Pick<ResponseHeaders, 'retry-after' | 'date'>): number => {
  const value = headers['retry-after']?.trim() ?? '';
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const until = Date.parse(value);
  if (Number.isNaN(until)) return 0;
  const serverNow = Date.parse(headers.date ?? '');
  return Math.max(0, until - (Number.isNaN(serverNow) ? Date.now() : serverNow));
};

/** Rejects with the signal's own reason when it is aborted. */
export const wait = (delayMs: number, signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    const abort = (): void => {
      settle();
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      settle();
      resolve();
    }, delayMs);
    signal?.addEventListener('abort', abort, { once: true });
  });
