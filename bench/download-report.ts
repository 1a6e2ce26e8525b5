import { nameOf } from './download-variants.ts';
import { milliseconds, times } from './lib/format.ts';
import { type Conditions as RunConditions, reportHead } from './lib/report.ts';
import { max, median, min, ratio } from './lib/stats.ts';
import { markdownTable } from './lib/table.ts';
import { type Target, targetLine } from './lib/targets.ts';

interface Measured {
  readonly trial: number;
  readonly variant: string;
  /** The server's, user and system, over the measurement. */
  readonly cpuSeconds: number;
}

export interface StreamTrial extends Measured {
  readonly elapsedMs: number;
  /** The server's, over its whole life. */
  readonly peakRssBytes: number;
}

export interface RangesTrial extends Measured {
  readonly answered: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Trials {
  readonly stream: readonly StreamTrial[];
  readonly ranges: readonly RangesTrial[];
}

export interface Conditions extends RunConditions {
  readonly sizeMiB: number;
  readonly trials: number;
  readonly seconds: number;
  readonly connections: number;
  readonly rangeCount: number;
  readonly rangeBytes: number;
}

/** What a run records. */
export interface DownloadResults extends Conditions {
  readonly summary: readonly Summary[];
  readonly raw: Trials;
}

export interface Summary {
  readonly variant: string;
  readonly medianMiBs?: number;
  readonly minMiBs?: number;
  readonly maxMiBs?: number;
  readonly cpuSecondsPerGiB?: number;
  readonly peakRssMiB?: number;
  readonly medianRequests?: number;
  readonly minRequests?: number;
  readonly maxRequests?: number;
  readonly cpuMicroseconds?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
}

const streamed = (trials: readonly StreamTrial[], sizeMiB: number): Partial<Summary> => {
  if (trials.length === 0) return {};
  const speeds = trials.map(({ elapsedMs }) => sizeMiB / (elapsedMs / 1000));
  return {
    medianMiBs: median(speeds),
    minMiBs: min(speeds),
    maxMiBs: max(speeds),
    cpuSecondsPerGiB: median(trials.map(({ cpuSeconds }) => cpuSeconds / (sizeMiB / 1024))),
    peakRssMiB: max(trials.map(({ peakRssBytes }) => peakRssBytes)) / 2 ** 20,
  };
};

const ranged = (trials: readonly RangesTrial[]): Partial<Summary> => {
  if (trials.length === 0) return {};
  const rates = trials.map(({ answered, seconds }) => answered / seconds);
  return {
    medianRequests: median(rates),
    minRequests: min(rates),
    maxRequests: max(rates),
    cpuMicroseconds: median(trials.map(({ cpuSeconds, answered }) => (cpuSeconds / answered) * 1e6)),
    p50Ms: median(trials.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(trials.map(({ p99Ms }) => p99Ms)),
  };
};

/** One per variant, in the order they were first measured. */
export const summaries = ({ stream, ranges }: Trials, sizeMiB: number): Summary[] => {
  const names = [...new Set([...stream, ...ranges].map(({ variant }) => variant))];
  return names.map((variant) => {
    const own = (trial: Measured): boolean => trial.variant === variant;
    return { variant, ...streamed(stream.filter(own), sizeMiB), ...ranged(ranges.filter(own)) };
  });
};

const peers = ['send', 'fastify'];

const targets = (all: readonly Summary[]): Target[] => {
  const of = (key: string): Summary | undefined => all.find(({ variant }) => variant === nameOf(key));
  const ours = of('ours');
  return peers.flatMap((key): Target[] => [
    {
      name: `4 KiB ranges a second, ours / ${nameOf(key)}`,
      actual: ratio(ours?.medianRequests, of(key)?.medianRequests),
      limit: 1.2,
      better: 'higher',
      format: times,
    },
    {
      name: `one stream, ours / ${nameOf(key)}`,
      actual: ratio(ours?.medianMiBs, of(key)?.medianMiBs),
      limit: 1,
      better: 'higher',
      format: times,
    },
  ]);
};

const figure = (value: number | undefined, digits = 0): string => value?.toFixed(digits) ?? '';
const spread = (low: number | undefined, high: number | undefined): string =>
  low === undefined ? '' : `${figure(low)}–${figure(high)}`;

/** The tables by themselves, for whoever shows them elsewhere. */
export const streamTable = (all: readonly Summary[]): string =>
  markdownTable(
    ['server', 'MiB/s', 'spread', 'CPU s/GiB', 'peak RSS MiB'],
    all
      .filter(({ medianMiBs }) => medianMiBs !== undefined)
      .map((one) => [
        one.variant,
        figure(one.medianMiBs),
        spread(one.minMiBs, one.maxMiBs),
        figure(one.cpuSecondsPerGiB, 2),
        figure(one.peakRssMiB),
      ]),
  );

export const rangesTable = (all: readonly Summary[]): string =>
  markdownTable(
    ['server', 'requests/s', 'spread', 'CPU µs/request', 'p50', 'p99'],
    all
      .filter(({ medianRequests }) => medianRequests !== undefined)
      .map((one) => [
        one.variant,
        figure(one.medianRequests),
        spread(one.minRequests, one.maxRequests),
        figure(one.cpuMicroseconds),
        milliseconds(one.p50Ms ?? Number.NaN),
        milliseconds(one.p99Ms ?? Number.NaN),
      ]),
  );

export const downloadReport = (results: DownloadResults): string => {
  const { rangeCount, rangeBytes, connections, seconds, summary: all, raw } = results;
  const stream = [`### one stream of ${results.sizeMiB} MiB`, '', streamTable(all), ''];
  const ranges = [
    `### ${rangeCount} random ranges of ${rangeBytes} bytes, in turn, over ${connections} connections for ${seconds} s`,
    '',
    rangesTable(all),
    '',
  ];
  return [
    ...reportHead('download: a file from the page cache over loopback', results),
    '',
    ...(raw.stream.length > 0 ? stream : []),
    ...(raw.ranges.length > 0 ? ranges : []),
    `${results.trials} trials each, interleaved, a fresh server per trial. Figures and CPU (the server's, user + system)`,
    'are medians, spread is min–max, peak RSS is the highest of all trials.',
    '',
    '### targets',
    '',
    ...targets(all).map(targetLine),
  ].join('\n');
};
