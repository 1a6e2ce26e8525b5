import { times } from '../lib/format.ts';
import { max, median, min } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';

export interface SmallCutsTrial {
  readonly trial: number;
  readonly variant: string;
  /** Through the same proxy, uncut. */
  readonly plainAnswered: number;
  readonly plainSeconds: number;
  readonly answered: number;
  readonly seconds: number;
  /** Of the answers under cuts. */
  readonly p99Ms: number;
  readonly cuts: number;
  /** Requests that a cut, or the end, has left without an answer; and those of them that are stored as a whole. */
  readonly unanswered: number;
  readonly storedUnanswered: number;
  /** Connections that the server broke off by itself. */
  readonly brokenOff: number;
}

export interface SmallCutsResults {
  readonly contentBytes: number;
  readonly connections: number;
  readonly meanBytes: number;
  readonly seconds: number;
  readonly trials: number;
  readonly raw: readonly SmallCutsTrial[];
}

export interface SmallCutsSummary {
  readonly variant: string;
  readonly plainRate: number;
  readonly rate: number;
  readonly minRate: number;
  readonly maxRate: number;
  readonly p99Ms: number;
  readonly cutsPerSecond: number;
  readonly unanswered: number;
  readonly storedUnanswered: number;
  readonly brokenOff: number;
}

/** One per variant, in the order they were first measured. */
export const smallCutsSummaries = ({ raw }: SmallCutsResults): SmallCutsSummary[] => {
  const names = [...new Set(raw.map((trial) => trial.variant))];
  return names.map((variant) => {
    const own = raw.filter((trial) => trial.variant === variant);
    const rates = own.map((trial) => trial.answered / trial.seconds);
    const total = (count: (trial: SmallCutsTrial) => number): number =>
      own.reduce((sum, trial) => sum + count(trial), 0);
    return {
      variant,
      plainRate: median(own.map((trial) => trial.plainAnswered / trial.plainSeconds)),
      rate: median(rates),
      minRate: min(rates),
      maxRate: max(rates),
      p99Ms: median(own.map((trial) => trial.p99Ms)),
      cutsPerSecond: median(own.map((trial) => trial.cuts / trial.seconds)),
      unanswered: total((trial) => trial.unanswered),
      storedUnanswered: total((trial) => trial.storedUnanswered),
      brokenOff: total((trial) => trial.brokenOff),
    };
  });
};

export const smallCutsTable = (all: readonly SmallCutsSummary[]): string => {
  const header = [
    'variant',
    'requests/s',
    'spread',
    '/ uncut',
    'p99 ms',
    'cuts/s',
    'unanswered',
    'stored of these',
    'broken off',
  ];
  const rows = all.map((one) => [
    one.variant,
    one.rate.toFixed(0),
    `${one.minRate.toFixed(0)}–${one.maxRate.toFixed(0)}`,
    times(one.rate / one.plainRate),
    one.p99Ms.toFixed(1),
    one.cutsPerSecond.toFixed(0),
    String(one.unanswered),
    String(one.storedUnanswered),
    String(one.brokenOff),
  ]);
  return markdownTable(header, rows);
};
