import { times } from '../lib/format.ts';
import { max, median, min, ratio } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';
import type { Target } from '../lib/targets.ts';
import { nameOf } from '../stores-variants.ts';

export interface SmallTrial {
  readonly trial: number;
  readonly variant: string;
  /** Requests, each with the right answer. */
  readonly answered: number;
  readonly seconds: number;
  /** The server's, user and system, without start and warm-up. */
  readonly cpuSeconds: number;
  /** The server's, over its whole life. */
  readonly peakRssBytes: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface SmallResults {
  readonly contentBytes: number;
  readonly connections: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  readonly trials: number;
  readonly raw: readonly SmallTrial[];
}

export interface SmallSummary {
  readonly variant: string;
  readonly medianRate: number;
  readonly minRate: number;
  readonly maxRate: number;
  readonly cpuSecondsPerThousand: number;
  readonly peakRssMiB: number;
  readonly p99Ms: number;
}

/** One per variant, in the order they were first measured. */
export const smallSummaries = ({ raw }: SmallResults): SmallSummary[] => {
  const names = [...new Set(raw.map((trial) => trial.variant))];
  return names.map((variant) => {
    const own = raw.filter((trial) => trial.variant === variant);
    const rates = own.map((trial) => trial.answered / trial.seconds);
    return {
      variant,
      medianRate: median(rates),
      minRate: min(rates),
      maxRate: max(rates),
      cpuSecondsPerThousand: median(own.map((trial) => (trial.cpuSeconds / trial.answered) * 1000)),
      // The worst: memory is a bound to keep, not a typical value.
      peakRssMiB: max(own.map((trial) => trial.peakRssBytes)) / 2 ** 20,
      p99Ms: median(own.map((trial) => trial.p99Ms)),
    };
  });
};

const named = (all: readonly SmallSummary[], key: string): SmallSummary | undefined =>
  all.find((one) => one.variant === nameOf(key));

export const smallTargets = (all: readonly SmallSummary[]): Target[] => {
  const target = (key: string, otherKey: string, limit: number): Target => ({
    name: `requests/s, ${nameOf(key)} / ${nameOf(otherKey)}`,
    actual: ratio(named(all, key)?.medianRate, named(all, otherKey)?.medianRate),
    limit,
    better: 'higher',
    format: times,
  });
  return [
    target('sqlite-process', 'tus', 5),
    target('sqlite-process', 'raw', 0.6),
    target('fs-process', 'tus', 2),
    target('sqlite-power', 'tus', 4),
    target('fs-power', 'tus', 0.8),
  ];
};

/** The table by itself, for whoever shows it elsewhere. */
export const smallTable = (all: readonly SmallSummary[]): string => {
  const [raw, tus] = [named(all, 'raw'), named(all, 'tus')];
  const against = (one: SmallSummary, other: SmallSummary | undefined): string =>
    other === undefined ? '' : times(one.medianRate / other.medianRate);
  const header = [
    'variant',
    'requests/s',
    'spread',
    'p99 ms',
    'CPU s/1,000',
    'peak RSS MiB',
    '/ writeFile',
    '/ @tus/server',
  ];
  const rows = all.map((one) => [
    one.variant,
    one.medianRate.toFixed(0),
    `${one.minRate.toFixed(0)}–${one.maxRate.toFixed(0)}`,
    one.p99Ms.toFixed(1),
    one.cpuSecondsPerThousand.toFixed(2),
    one.peakRssMiB.toFixed(0),
    against(one, raw),
    against(one, tus),
  ]);
  return markdownTable(header, rows);
};
