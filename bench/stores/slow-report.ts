import { mebibytes } from '../lib/format.ts';
import { max, median, min } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';
import type { Target } from '../lib/targets.ts';
import type { StoreKind } from '../stores-variants.ts';

export interface SlowLoad {
  readonly uploads: number;
  readonly seconds: number;
  /** Each upload brings 1 KiB this often. */
  readonly everyMs: number;
}

export interface SlowTrial {
  readonly trial: number;
  readonly store: StoreKind;
  /** Each upload was sent at least this much … */
  readonly sentBytesEach: number;
  /** … and had at least this much stored while all of them were still sending. */
  readonly storedBytesEach: number;
  /** The server's, user and system, without its start. */
  readonly cpuSeconds: number;
  /** The server's, before the first connection. */
  readonly rssBeforeBytes: number;
  /** The server's, over its whole life. */
  readonly peakRssBytes: number;
}

export interface SlowResults extends SlowLoad {
  readonly trials: number;
  readonly raw: readonly SlowTrial[];
}

export interface SlowSummary {
  readonly store: StoreKind;
  readonly peakRssMiB: number;
  readonly cpuSeconds: number;
  readonly sentKiBEach: number;
  readonly storedKiBEach: number;
}

export const slowSummaries = ({ raw }: SlowResults): SlowSummary[] => {
  const stores = [...new Set(raw.map((trial) => trial.store))];
  return stores.map((store) => {
    const own = raw.filter((trial) => trial.store === store);
    return {
      store,
      peakRssMiB: max(own.map((trial) => trial.peakRssBytes)) / 2 ** 20,
      cpuSeconds: median(own.map((trial) => trial.cpuSeconds)),
      sentKiBEach: min(own.map((trial) => trial.sentBytesEach)) / 1024,
      storedKiBEach: min(own.map((trial) => trial.storedBytesEach)) / 1024,
    };
  });
};

export const slowTargets = (all: readonly SlowSummary[]): Target[] =>
  (['fs', 'sqlite'] as const).map((store) => ({
    name: `peak RSS, ${store}`,
    actual: all.find((one) => one.store === store)?.peakRssMiB,
    limit: 250,
    better: 'lower',
    format: mebibytes,
  }));

export const slowTable = (all: readonly SlowSummary[]): string => {
  const header = ['store', 'peak RSS MiB', 'CPU s', 'sent KiB each', 'stored KiB each'];
  const rows = all.map((one) => [
    one.store,
    one.peakRssMiB.toFixed(0),
    one.cpuSeconds.toFixed(2),
    one.sentKiBEach.toFixed(0),
    one.storedKiBEach.toFixed(0),
  ]);
  return markdownTable(header, rows);
};
