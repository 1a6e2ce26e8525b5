import { times } from '../lib/format.ts';
import { max, median, min, ratio } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';
import type { Target } from '../lib/targets.ts';
import { nameOf } from '../s3-variants.ts';

export interface UploadTrial {
  readonly trial: number;
  readonly variant: string;
  /** From the first byte sent to the last byte of the answer. */
  readonly elapsedMs: number;
  /** The measured process's, user and system, without start and warm-up. */
  readonly cpuSeconds: number;
  /** The measured process's, over its whole life. */
  readonly peakRssBytes: number;
}

export interface UploadResults {
  readonly sizeMiB: number;
  readonly trials: number;
  readonly raw: readonly UploadTrial[];
}

export interface UploadSummary {
  readonly variant: string;
  readonly medianMiBs: number;
  readonly minMiBs: number;
  readonly maxMiBs: number;
  readonly cpuSecondsPerGiB: number;
  readonly peakRssMiB: number;
}

/** One per variant, in the order they were first measured. */
export const uploadSummaries = ({ raw, sizeMiB }: UploadResults): UploadSummary[] => {
  const names = [...new Set(raw.map((trial) => trial.variant))];
  return names.map((variant) => {
    const own = raw.filter((trial) => trial.variant === variant);
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

const speedOf = (all: readonly UploadSummary[], key: string): number | undefined =>
  all.find((one) => one.variant === nameOf(key))?.medianMiBs;

/** Of the SDK's own upload under two settings, so that the comparison is not one of settings. Undefined without both. */
const fasterLibStorage = (all: readonly UploadSummary[]): number | undefined => {
  const [defaults, likeOurs] = [speedOf(all, 'lib-storage'), speedOf(all, 'lib-storage-8x8')];
  return defaults === undefined || likeOurs === undefined ? undefined : max([defaults, likeOurs]);
};

export const uploadTargets = (all: readonly UploadSummary[]): Target[] => {
  const ours = speedOf(all, 'ours');
  return [
    {
      name: `speed, ours / ${nameOf('tus')}`,
      actual: ratio(ours, speedOf(all, 'tus')),
      limit: 2.5,
      better: 'higher',
      format: times,
    },
    {
      name: 'speed, ours / @aws-sdk/lib-storage, the faster of the two',
      actual: ratio(ours, fasterLibStorage(all)),
      limit: 0.8,
      better: 'higher',
      format: times,
    },
  ];
};

/** The table by itself, for whoever shows it elsewhere. */
export const uploadTable = (all: readonly UploadSummary[]): string => {
  const [tus, libStorage] = [speedOf(all, 'tus'), fasterLibStorage(all)];
  const against = (one: UploadSummary, other: number | undefined): string =>
    other === undefined ? '' : times(one.medianMiBs / other);
  const header = [
    'variant',
    'MiB/s',
    'spread',
    'CPU s/GiB',
    'peak RSS MiB',
    '/ @tus/s3-store',
    '/ lib-storage',
  ];
  const rows = all.map((one) => [
    one.variant,
    one.medianMiBs.toFixed(0),
    `${one.minMiBs.toFixed(0)}–${one.maxMiBs.toFixed(0)}`,
    one.cpuSecondsPerGiB.toFixed(2),
    one.peakRssMiB.toFixed(0),
    against(one, tus),
    against(one, libStorage),
  ]);
  return markdownTable(header, rows);
};
