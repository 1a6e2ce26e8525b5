import { askFor } from './ask.ts';
import type { Child } from './child.ts';

const timeoutMs = 10_000;

/** What a server process has used so far. */
export interface Usage {
  /** CPU time in microseconds, of all its threads. */
  readonly user: number;
  readonly system: number;
  /** In bytes, at this moment. */
  readonly rss: number;
  /** In bytes, over its whole life. */
  readonly peakRss: number;
}

export const askUsage = (server: Child): Promise<Usage> => askFor<Usage>(server, 'usage', true, timeoutMs);

/** The CPU seconds, user and system, between two looks. */
export const cpuSeconds = (before: Usage, after: Usage): number =>
  (after.user + after.system - before.user - before.system) / 1e6;
