import { mebibytes, percent, times } from './lib/format.ts';
import { type Conditions as RunConditions, reportHead } from './lib/report.ts';
import { max, median, min, ratio } from './lib/stats.ts';
import { markdownTable } from './lib/table.ts';
import { type Target, targetLine } from './lib/targets.ts';
import { nameOf } from './upload-variants.ts';

export interface Trial {
  readonly trial: number;
  readonly variant: string;
  /** From the first byte sent to the last byte of the answer. */
  readonly elapsedMs: number;
  /** The server's, user and system, without start and warm-up. */
  readonly cpuSeconds: number;
  /** The server's, over its whole life. */
  readonly peakRssBytes: number;
}

export interface Conditions extends RunConditions {
  readonly sizeMiB: number;
  readonly trials: number;
}

/** What a run records. */
export interface UploadResults extends Conditions {
  readonly summary: readonly Summary[];
  readonly raw: readonly Trial[];
}

export interface Summary {
  readonly variant: string;
  readonly medianMiBs: number;
  readonly minMiBs: number;
  readonly maxMiBs: number;
  readonly cpuSecondsPerGiB: number;
  readonly peakRssMiB: number;
}

/** One per variant, in the order they were first measured. */
export const summaries = (trials: readonly Trial[], sizeMiB: number): Summary[] => {
  const names = [...new Set(trials.map((trial) => trial.variant))];
  return names.map((variant) => {
    const own = trials.filter((trial) => trial.variant === variant);
    const speeds = own.map((trial) => sizeMiB / (trial.elapsedMs / 1000));
    return {
      variant,
      medianMiBs: median(speeds),
      minMiBs: min(speeds),
      maxMiBs: max(speeds),
      cpuSecondsPerGiB: median(own.map((trial) => trial.cpuSeconds / (sizeMiB / 1024))),
      // The worst: memory is a bound to keep, not a typical value.
      peakRssMiB: max(own.map((trial) => trial.peakRssBytes)) / 2 ** 20,
    };
  });
};

const targets = (all: readonly Summary[]): Target[] => {
  const of = (key: string): Summary | undefined => all.find((one) => one.variant === nameOf(key));
  const [sink, tus, ours, power] = [of('sink'), of('tus'), of('process'), of('power')];
  const rss = { limit: 120, better: 'lower', format: mebibytes } as const;
  return [
    {
      name: `speed, 'process' / @tus/server`,
      actual: ratio(ours?.medianMiBs, tus?.medianMiBs),
      limit: 3,
      better: 'higher',
      format: times,
    },
    {
      name: `speed, 'process' / sink`,
      actual: ratio(ours?.medianMiBs, sink?.medianMiBs),
      limit: 0.45,
      better: 'higher',
      format: percent,
    },
    {
      name: `speed, 'power' / @tus/server`,
      actual: ratio(power?.medianMiBs, tus?.medianMiBs),
      limit: 2,
      better: 'higher',
      format: times,
    },
    {
      name: `CPU/GiB, 'process' / @tus/server`,
      actual: ratio(ours?.cpuSecondsPerGiB, tus?.cpuSecondsPerGiB),
      limit: 0.4,
      better: 'lower',
      format: times,
    },
    {
      name: `CPU/GiB, 'power' / @tus/server`,
      actual: ratio(power?.cpuSecondsPerGiB, tus?.cpuSecondsPerGiB),
      limit: 0.5,
      better: 'lower',
      format: times,
    },
    { name: `peak RSS, 'process'`, actual: ours?.peakRssMiB, ...rss },
    { name: `peak RSS, 'power'`, actual: power?.peakRssMiB, ...rss },
  ];
};

/** The table by itself, for whoever shows it elsewhere. */
export const uploadTable = (all: readonly Summary[]): string => {
  const of = (key: string): Summary | undefined => all.find((one) => one.variant === nameOf(key));
  const [sink, tus] = [of('sink'), of('tus')];
  const against = (one: Summary, other: Summary | undefined): string =>
    other === undefined ? '' : times(one.medianMiBs / other.medianMiBs);
  const header = ['variant', 'MiB/s', 'spread', 'CPU s/GiB', 'peak RSS MiB', '/ sink', '/ @tus/server'];
  const rows = all.map((one) => [
    one.variant,
    one.medianMiBs.toFixed(0),
    `${one.minMiBs.toFixed(0)}–${one.maxMiBs.toFixed(0)}`,
    one.cpuSecondsPerGiB.toFixed(2),
    one.peakRssMiB.toFixed(0),
    against(one, sink),
    against(one, tus),
  ]);
  return markdownTable(header, rows);
};

export const uploadReport = (conditions: Conditions, trials: readonly Trial[]): string => {
  const all = summaries(trials, conditions.sizeMiB);
  return [
    ...reportHead(`upload: one stream of ${conditions.sizeMiB} MiB over loopback`, conditions),
    '',
    uploadTable(all),
    '',
    `${conditions.trials} trials each, interleaved, a fresh server and directory per trial. MiB/s and CPU (the server's,`,
    "user + system) are medians, spread is min–max, peak RSS is the highest of all trials. Only 'power' syncs",
    'to disk; its figure is worth what an fsync costs on this disk.',
    '',
    '### targets',
    '',
    ...targets(all).map(targetLine),
  ].join('\n');
};
