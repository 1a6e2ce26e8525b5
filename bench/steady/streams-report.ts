import { bytesText, times } from '../lib/format.ts';
import { max, median, min } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';
import { tusName } from '../steady-variants.ts';

/** So many streams at once, of bodies of that size. */
export interface StreamsCell {
  readonly bytes: number;
  readonly streams: number;
}

export interface StreamsPlan {
  readonly trials: number;
  readonly cells: readonly StreamsCell[];
  /** A cell ends after this time, … */
  readonly seconds: number;
  /** … or when so much is sent, whichever is first, and not before each stream has made an upload. */
  readonly cellBytes: number;
}

export interface StreamsTrial extends StreamsCell {
  readonly trial: number;
  readonly variant: string;
  /** Uploads, each with the right answer. */
  readonly answered: number;
  readonly elapsedMs: number;
  /** The server's, user and system, without start and warm-up. */
  readonly cpuSeconds: number;
  /** The server's, over its whole life. */
  readonly peakRssBytes: number;
}

export interface StreamsResults extends StreamsPlan {
  readonly raw: readonly StreamsTrial[];
}

export interface StreamsSummary extends StreamsCell {
  readonly variant: string;
  /** Requests per second. */
  readonly medianRate: number;
  readonly minRate: number;
  readonly maxRate: number;
  readonly medianMiBs: number;
  readonly cpuSecondsPerGiB: number;
  readonly peakRssMiB: number;
}

const MiB = 2 ** 20;

/** One per cell and variant, in the order they were first measured. */
export const streamsSummaries = ({ raw, cells }: StreamsResults): StreamsSummary[] => {
  const variants = [...new Set(raw.map(({ variant }) => variant))];
  return cells.flatMap(({ bytes, streams }) =>
    variants.map((variant) => {
      const own = raw.filter(
        (one) => one.variant === variant && one.bytes === bytes && one.streams === streams,
      );
      const rates = own.map(({ answered, elapsedMs }) => answered / (elapsedMs / 1000));
      return {
        bytes,
        streams,
        variant,
        medianRate: median(rates),
        minRate: min(rates),
        maxRate: max(rates),
        medianMiBs: (median(rates) * bytes) / MiB,
        cpuSecondsPerGiB: median(own.map((one) => (one.cpuSeconds * 1024 * MiB) / (one.answered * bytes))),
        // The worst: memory is a bound to keep, not a typical value.
        peakRssMiB: max(own.map((one) => one.peakRssBytes)) / MiB,
      };
    }),
  );
};

/** A rate of a few uploads of a GiB each is one of less than 10. */
const rate = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(0));

const sizesOf = (all: readonly StreamsCell[]): number[] => [...new Set(all.map(({ bytes }) => bytes))];

/** The table of one size of body. */
export const streamsTable = (all: readonly StreamsSummary[], bytes: number): string => {
  const header = [
    'variant',
    'streams',
    'requests/s',
    'spread',
    'MiB/s',
    'CPU s/GiB',
    'peak RSS MiB',
    '/ @tus/server',
  ];
  const rows = all
    .filter((one) => one.bytes === bytes)
    .map((one) => {
      const tus = all.find(
        ({ variant, bytes: size, streams }) =>
          variant === tusName && size === bytes && streams === one.streams,
      );
      return [
        one.variant,
        String(one.streams),
        rate(one.medianRate),
        `${rate(one.minRate)}–${rate(one.maxRate)}`,
        one.medianMiBs.toFixed(one.medianMiBs < 10 ? 1 : 0),
        one.cpuSecondsPerGiB.toFixed(2),
        one.peakRssMiB.toFixed(0),
        tus === undefined ? '' : times(one.medianRate / tus.medianRate),
      ];
    });
  return markdownTable(header, rows);
};

/** Up to this size of body, requests/s say more than MiB/s. */
const smallBytes = 64 * 1024;

export const isSmall = (bytes: number): boolean => bytes <= smallBytes;

/** All cells at one look: a row each, a column for each variant. */
export const streamsOverview = (all: readonly StreamsSummary[]): string => {
  const variants = [...new Set(all.map(({ variant }) => variant))];
  const cells = sizesOf(all).flatMap((bytes) =>
    [...new Set(all.filter((one) => one.bytes === bytes).map(({ streams }) => streams))].map((streams) => ({
      bytes,
      streams,
    })),
  );
  const rows = cells.map(({ bytes, streams }) => [
    `${streams} × ${bytesText(bytes)}`,
    isSmall(bytes) ? 'requests/s' : 'MiB/s',
    ...variants.map((variant) => {
      const found = all.find(
        (one) => one.variant === variant && one.bytes === bytes && one.streams === streams,
      );
      if (found === undefined) return '';
      return (isSmall(bytes) ? found.medianRate : found.medianMiBs).toFixed(0);
    }),
  ]);
  return markdownTable(['streams × body', 'unit', ...variants], rows);
};

export const streamsSection = (results: StreamsResults): string[] => {
  const all = streamsSummaries(results);
  const { trials, seconds, cellBytes } = results;
  return [
    ...sizesOf(all).flatMap((bytes) => [
      '',
      `### streams: bodies of ${bytesText(bytes)}`,
      '',
      streamsTable(all, bytes),
    ]),
    '',
    `Each stream is a connection with one upload after the other, for ${seconds} s or until ${bytesText(cellBytes)} are sent, and at`,
    `least one; ${trials} trials each, interleaved, a fresh server, client and directory per trial, after a warm-up. Rates and`,
    "CPU (the server's, user + system) are medians, spread is min–max, peak RSS is the highest of all trials. Only",
    "'power' syncs to disk. After each trial the stored uploads were counted against the answers.",
  ];
};
