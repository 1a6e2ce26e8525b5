import { milliseconds, times } from '../lib/format.ts';
import { max, median, ratio } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';
import type { Target } from '../lib/targets.ts';
import type { StoreKind } from '../stores-variants.ts';

export interface GrowthRow {
  readonly store: StoreKind;
  readonly uploads: number;
  readonly populateSeconds: number;
  /** From making the store to its first answer, after a process that was killed. */
  readonly openingMs: number;
  /** The server's, after all queries. */
  readonly rssBytes: number;
  readonly peakRssBytes: number;
  readonly rounds: ReadonlyArray<{
    readonly answered: number;
    readonly seconds: number;
    readonly p50Ms: number;
    readonly p99Ms: number;
  }>;
}

export interface GrowthResults {
  readonly rounds: number;
  readonly seconds: number;
  readonly raw: readonly GrowthRow[];
}

export interface GrowthSummary {
  readonly store: StoreKind;
  readonly uploads: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly openingMs: number;
  readonly rssMiB: number;
  readonly createsPerSecond: number;
}

export const growthSummaries = ({ raw }: GrowthResults): GrowthSummary[] =>
  raw.map((row) => ({
    store: row.store,
    uploads: row.uploads,
    p50Ms: median(row.rounds.map((round) => round.p50Ms)),
    p99Ms: median(row.rounds.map((round) => round.p99Ms)),
    openingMs: row.openingMs,
    rssMiB: row.rssBytes / 2 ** 20,
    createsPerSecond: row.uploads / row.populateSeconds,
  }));

const count = (value: number): string => value.toLocaleString('en-US');

export const growthTargets = (all: readonly GrowthSummary[]): Target[] =>
  (['fs', 'sqlite'] as const).flatMap((store): Target[] => {
    const own = all.filter((one) => one.store === store);
    const [first, last] = [own.at(0), own.at(-1)];
    const sizes =
      first === undefined || last === undefined
        ? 'the largest / the smallest index'
        : `${count(last.uploads)} / ${count(first.uploads)} uploads`;
    return [
      {
        name: `status query p50, ${store}, ${sizes}`,
        actual: ratio(last?.p50Ms, first?.p50Ms),
        limit: 1.5,
        better: 'lower',
        format: times,
      },
      {
        name: `opening, ${store}`,
        actual: own.length === 0 ? undefined : max(own.map((one) => one.openingMs)),
        limit: 1000,
        better: 'lower',
        format: milliseconds,
      },
    ];
  });

/** The table by itself, for whoever shows it elsewhere. */
export const growthTable = (all: readonly GrowthSummary[]): string => {
  const header = ['store', 'uploads', 'query p50 ms', 'query p99 ms', 'opening ms', 'RSS MiB', 'creates/s'];
  const rows = all.map((one) => [
    one.store,
    count(one.uploads),
    one.p50Ms.toFixed(3),
    one.p99Ms.toFixed(3),
    one.openingMs.toFixed(1),
    one.rssMiB.toFixed(0),
    one.createsPerSecond.toFixed(0),
  ]);
  return markdownTable(header, rows);
};
