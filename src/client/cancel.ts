import { backoffMs, wait } from './backoff.ts';
import { Interruption } from './failure.ts';
import type { Operation } from './operation.ts';
import type { Settings } from './options.ts';
import type { Transport } from './transport.ts';

const mostTries = 3;
/** Nobody who has given up an upload wants to wait long to be rid of it. */
const mostWaitMs = 5_000;

/**
 * Tells the server that an upload is given up, if the server has it. It forgets by itself what it could not be
 * told, only later.
 */
export const cancelOperation = async (
  operation: Operation,
  settings: Settings,
  transport: Transport,
): Promise<void> => {
  if (!operation.isNamed) return;
  for (let tries = 1; tries <= mostTries; tries++) {
    try {
      const { status } = await transport.send({
        url: operation.url,
        method: 'DELETE',
        headers: operation.cancelHeaders(await settings.headers()),
        signal: AbortSignal.timeout(mostWaitMs),
        stallTimeoutMs: Math.min(settings.stallTimeoutMs, mostWaitMs),
        onCheckpoint: () => {},
        onSent: () => {},
      });
      if (status < 500 && status !== 429) return;
    } catch (error) {
      if (!(error instanceof Interruption)) return; // out of time, or no headers to be had
    }
    if (tries < mostTries) await wait(Math.min(1_000, backoffMs(tries, settings.retry)), undefined);
  }
};
