import { count } from '../lib/format.ts';
import { max, median, min } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';
import type { StoreKind } from '../steady-variants.ts';
import type { SlowLoad, SlowTrial } from '../stores/slow-report.ts';

export interface SteadySlowPlan {
  readonly trials: number;
  /** Each of so many uploads brings 1 KiB every `everyMs`. */
  readonly loads: ReadonlyArray<Omit<SlowLoad, 'uploads'> & { readonly wanted: number }>;
}

export interface SlowCount extends SlowLoad {
  readonly store: StoreKind;
  /** There are fewer uploads where a process may not have so many files open. */
  readonly wanted: number;
}

export interface SteadySlowTrial extends SlowTrial {
  readonly wanted: number;
}

export interface SteadySlowResults extends Omit<SteadySlowPlan, 'loads'> {
  readonly counts: readonly SlowCount[];
  /** What one process may have open; not there where the system has not said. */
  readonly openFilesLimit?: number;
  readonly raw: readonly SteadySlowTrial[];
}

export interface SteadySlowSummary extends SlowCount {
  readonly peakRssMiB: number;
  readonly minRssMiB: number;
  readonly maxRssMiB: number;
  /** What the peak is above the server's size before the first connection, for each upload. */
  readonly growthKiBEach: number;
  readonly cpuSeconds: number;
  readonly storedKiBEach: number;
}

const MiB = 2 ** 20;

export const steadySlowSummaries = ({ raw, counts }: SteadySlowResults): SteadySlowSummary[] =>
  counts.map((one) => {
    const own = raw.filter(({ store, wanted }) => store === one.store && wanted === one.wanted);
    const peaks = own.map(({ peakRssBytes }) => peakRssBytes / MiB);
    const growths = own.map((trial) => (trial.peakRssBytes - trial.rssBeforeBytes) / one.uploads / 1024);
    return {
      ...one,
      peakRssMiB: median(peaks),
      minRssMiB: min(peaks),
      maxRssMiB: max(peaks),
      growthKiBEach: median(growths),
      cpuSeconds: median(own.map(({ cpuSeconds }) => cpuSeconds)),
      storedKiBEach: min(own.map(({ storedBytesEach }) => storedBytesEach)) / 1024,
    };
  });

/** The table by itself, for whoever shows it elsewhere. */
export const steadySlowTable = (all: readonly SteadySlowSummary[]): string =>
  markdownTable(
    ['store', 'slow uploads', 'peak RSS MiB', 'spread', 'KiB/upload', 'CPU s', 'stored KiB each'],
    all.map((one) => [
      one.store,
      count(one.uploads),
      one.peakRssMiB.toFixed(0),
      `${one.minRssMiB.toFixed(0)}–${one.maxRssMiB.toFixed(0)}`,
      one.growthKiBEach.toFixed(1),
      one.cpuSeconds.toFixed(2),
      one.storedKiBEach.toFixed(0),
    ]),
  );

/** What could not be measured as it was wanted, and why. */
export const shortfallLines = ({ counts, openFilesLimit }: SteadySlowResults): string[] =>
  counts
    .filter(({ uploads, wanted }) => uploads < wanted)
    .map(
      ({ store, uploads, wanted }) =>
        `${store} was measured with ${count(uploads)} instead of ${count(wanted)}: a process may have ${count(openFilesLimit ?? 0)} files open here (\`ulimit -Hn\`).`,
    );

export const steadySlowSection = (results: SteadySlowResults): string[] => {
  const { trials, counts } = results;
  const paces = counts.map(
    ({ wanted, everyMs, seconds }) => `${count(wanted)}: every ${everyMs} ms for ${seconds} s`,
  );
  return [
    '',
    '### slow: many uploads that trickle in at once',
    '',
    steadySlowTable(steadySlowSummaries(results)),
    '',
    `A connection each, and 1 KiB at a time (${[...new Set(paces)].join('; ')}); ${trials} trials each, interleaved,`,
    "a fresh server per trial. RSS, CPU (the server's, user + system) and growth per upload are medians, spread is",
    "min–max, bytes are the least of any upload in any trial. 'process'.",
    ...shortfallLines(results).flatMap((line) => ['', line]),
  ];
};
