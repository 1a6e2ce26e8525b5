import { mebibytes } from '../lib/format.ts';
import { max, median, min } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';
import type { Target } from '../lib/targets.ts';
import { nameOf } from '../s3-variants.ts';
import type { Sighting } from './temporary-files.ts';

export interface MemoryTrial {
  readonly trial: number;
  readonly variant: string;
  /** Until the last upload was answered. */
  readonly elapsedMs: number;
  /** The server's, user and system, without start and warm-up. */
  readonly cpuSeconds: number;
  /** The server's, after its warm-up. */
  readonly rssBeforeBytes: number;
  /** The server's, over its whole life. */
  readonly peakRssBytes: number;
  /** What came into the server's folder for temporary files. */
  readonly temporary: Sighting;
}

export interface MemoryResults {
  readonly trials: number;
  readonly uploads: number;
  readonly sizeMiB: number;
  /** In bytes, of ours. */
  readonly memoryBudget: number;
  readonly raw: readonly MemoryTrial[];
}

export interface MemorySummary {
  readonly variant: string;
  readonly medianMiBs: number;
  readonly minMiBs: number;
  readonly maxMiBs: number;
  readonly cpuSecondsPerGiB: number;
  readonly rssBeforeMiB: number;
  readonly peakRssMiB: number;
  readonly growthMiB: number;
  readonly temporaryFiles: number;
  readonly temporaryPeakMiB: number;
  readonly temporaryLeft: number;
}

const MiB = 2 ** 20;

/** One per variant, in the order they were first measured. */
export const memorySummaries = ({ raw, uploads, sizeMiB }: MemoryResults): MemorySummary[] => {
  const names = [...new Set(raw.map((trial) => trial.variant))];
  return names.map((variant) => {
    const own = raw.filter((trial) => trial.variant === variant);
    const speeds = own.map((trial) => (uploads * sizeMiB) / (trial.elapsedMs / 1000));
    return {
      variant,
      medianMiBs: median(speeds),
      minMiBs: min(speeds),
      maxMiBs: max(speeds),
      cpuSecondsPerGiB: median(own.map((trial) => trial.cpuSeconds / ((uploads * sizeMiB) / 1024))),
      rssBeforeMiB: median(own.map((trial) => trial.rssBeforeBytes)) / MiB,
      // The worst of each: a bound is kept always or not at all.
      peakRssMiB: max(own.map((trial) => trial.peakRssBytes)) / MiB,
      growthMiB: max(own.map((trial) => trial.peakRssBytes - trial.rssBeforeBytes)) / MiB,
      temporaryFiles: max(own.map((trial) => trial.temporary.files)),
      temporaryPeakMiB: max(own.map((trial) => trial.temporary.peakBytes)) / MiB,
      temporaryLeft: max(own.map((trial) => trial.temporary.leftFiles)),
    };
  });
};

export const memoryTargets = (all: readonly MemorySummary[], memoryBudget: number): Target[] => {
  const ours = all.find((one) => one.variant === nameOf('ours'));
  return [
    {
      name: 'growth of RSS, ours',
      actual: ours?.growthMiB,
      limit: memoryBudget / MiB + 64,
      better: 'lower',
      format: mebibytes,
    },
    {
      name: 'temporary files, ours',
      actual: ours?.temporaryFiles,
      limit: 0,
      better: 'lower',
      format: String,
    },
  ];
};

/** The table by itself, for whoever shows it elsewhere. */
export const memoryTable = (all: readonly MemorySummary[]): string => {
  const header = [
    'variant',
    'RSS before MiB',
    'peak RSS MiB',
    'growth MiB',
    'temporary files',
    'at once MiB',
    'left',
    'MiB/s',
    'spread',
    'CPU s/GiB',
  ];
  const rows = all.map((one) => [
    one.variant,
    one.rssBeforeMiB.toFixed(0),
    one.peakRssMiB.toFixed(0),
    one.growthMiB.toFixed(0),
    String(one.temporaryFiles),
    one.temporaryPeakMiB.toFixed(0),
    String(one.temporaryLeft),
    one.medianMiBs.toFixed(0),
    `${one.minMiBs.toFixed(0)}–${one.maxMiBs.toFixed(0)}`,
    one.cpuSecondsPerGiB.toFixed(2),
  ]);
  return markdownTable(header, rows);
};
