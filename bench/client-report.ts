import { bareOf, variants } from './client-variants.ts';
import { times } from './lib/format.ts';
import { type Conditions, reportHead } from './lib/report.ts';
import { max, median, min, ratio } from './lib/stats.ts';
import { markdownTable } from './lib/table.ts';
import { type Target, targetLine } from './lib/targets.ts';

/** The share of the bare sockets' speed that the client is to reach. */
const wantedShare = 0.85;

export interface Trial {
  readonly trial: number;
  readonly variant: string;
  readonly elapsedMs: number;
  /** The client's own. */
  readonly cpuSeconds: number;
}

export interface Summary {
  readonly variant: string;
  readonly medianMiBs: number;
  readonly minMiBs: number;
  readonly maxMiBs: number;
  readonly cpuSecondsPerGiB: number;
}

/** What a run records. */
export interface ClientResults extends Conditions {
  readonly sizeMiB: number;
  readonly trials: number;
  readonly summary: readonly Summary[];
  readonly raw: readonly Trial[];
}

/** One per variant, in the order they were first measured. */
export const summaries = (trials: readonly Trial[], sizeMiB: number): Summary[] => {
  const names = [...new Set(trials.map(({ variant }) => variant))];
  return names.map((variant) => {
    const own = trials.filter((trial) => trial.variant === variant);
    const speeds = own.map(({ elapsedMs }) => (sizeMiB / elapsedMs) * 1000);
    return {
      variant,
      medianMiBs: median(speeds),
      minMiBs: min(speeds),
      maxMiBs: max(speeds),
      cpuSecondsPerGiB: (median(own.map(({ cpuSeconds }) => cpuSeconds)) * 1024) / sizeMiB,
    };
  });
};

/** Of the speed of bare sockets over as many connections. */
const shareOf = (all: readonly Summary[], name: string): number | undefined => {
  const speed = (of: string | undefined): number | undefined =>
    all.find(({ variant }) => variant === of)?.medianMiBs;
  return ratio(speed(name), speed(bareOf(name)));
};

/** The table by itself, for whoever shows it elsewhere. */
export const clientTable = (all: readonly Summary[]): string =>
  markdownTable(
    ['client', 'MiB/s', 'spread', 'its CPU s/GiB', '/ bare sockets'],
    all.map((one) => {
      const share = shareOf(all, one.variant);
      return [
        one.variant,
        one.medianMiBs.toFixed(0),
        `${one.minMiBs.toFixed(0)}–${one.maxMiBs.toFixed(0)}`,
        one.cpuSecondsPerGiB.toFixed(2),
        share === undefined ? '' : times(share),
      ];
    }),
  );

const targets = (all: readonly Summary[]): Target[] =>
  variants
    .filter(({ bare }) => !bare)
    .map(({ name }) => ({
      name: `${name} / bare sockets`,
      actual: shareOf(all, name),
      limit: wantedShare,
      better: 'higher',
      format: times,
    }));

export const clientReport = (results: ClientResults): string =>
  [
    ...reportHead(
      `client: one upload of ${results.sizeMiB} MiB over loopback to this library's server`,
      results,
    ),
    '',
    clientTable(results.summary),
    '',
    `The server keeps it in fs, 'process'; ${results.trials} trials each, interleaved, fresh processes and a fresh directory per`,
    'trial. Figures are medians, spread is min–max, CPU is that of the client, user + system.',
    '',
    '### targets',
    '',
    ...targets(results.summary).map(targetLine),
  ].join('\n');
