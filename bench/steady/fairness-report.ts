import type { Fired } from '../lib/cannon.ts';
import { times } from '../lib/format.ts';
import { max, median, min } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';

export interface FairnessPlan {
  readonly trials: number;
  readonly slowUploads: number;
  /** The slow ones are under way for so long before the fast one is measured beside them. */
  readonly settleSeconds: number;
  readonly seconds: number;
}

export interface FairnessTrial {
  readonly trial: number;
  readonly variant: string;
  /** The fast client's small uploads, one after the other, … */
  readonly alone: Fired;
  /** … and the same beside the slow ones, in the same server. */
  readonly beside: Fired;
}

export interface FairnessResults extends FairnessPlan {
  readonly contentBytes: number;
  /** Each slow upload brings 1 KiB this often. */
  readonly everyMs: number;
  readonly raw: readonly FairnessTrial[];
}

export interface FairnessSummary {
  readonly variant: string;
  readonly aloneP50Ms: number;
  readonly aloneP99Ms: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly minP99Ms: number;
  readonly maxP99Ms: number;
}

/** One per variant, in the order they were first measured. */
export const fairnessSummaries = ({ raw }: FairnessResults): FairnessSummary[] => {
  const variants = [...new Set(raw.map(({ variant }) => variant))];
  return variants.map((variant) => {
    const own = raw.filter((trial) => trial.variant === variant);
    const p99s = own.map(({ beside }) => beside.p99Ms);
    return {
      variant,
      aloneP50Ms: median(own.map(({ alone }) => alone.p50Ms)),
      aloneP99Ms: median(own.map(({ alone }) => alone.p99Ms)),
      p50Ms: median(own.map(({ beside }) => beside.p50Ms)),
      p99Ms: median(p99s),
      minP99Ms: min(p99s),
      maxP99Ms: max(p99s),
    };
  });
};

/** The table by itself, for whoever shows it elsewhere. */
export const fairnessTable = (all: readonly FairnessSummary[]): string =>
  markdownTable(
    ['variant', 'alone p50 ms', 'alone p99 ms', 'beside p50 ms', 'beside p99 ms', 'spread', 'p99 / alone'],
    all.map((one) => [
      one.variant,
      one.aloneP50Ms.toFixed(2),
      one.aloneP99Ms.toFixed(2),
      one.p50Ms.toFixed(2),
      one.p99Ms.toFixed(2),
      `${one.minP99Ms.toFixed(2)}–${one.maxP99Ms.toFixed(2)}`,
      times(one.p99Ms / one.aloneP99Ms),
    ]),
  );

export const fairnessSection = (results: FairnessResults): string[] => {
  const { trials, seconds, settleSeconds, slowUploads, everyMs, contentBytes } = results;
  return [
    '',
    `### fairness: a fast client beside ${slowUploads} slow ones`,
    '',
    fairnessTable(fairnessSummaries(results)),
    '',
    `The fast one uploads ${contentBytes} bytes at a time over one connection, for ${seconds} s alone and then for ${seconds} s beside uploads`,
    `that each bring 1 KiB every ${everyMs} ms and have done so for ${settleSeconds} s; ${trials} trials each, interleaved, a fresh server per trial. Medians of the trials'`,
    'p50 and p99, spread is min–max of the p99.',
  ];
};
