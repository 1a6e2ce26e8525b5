import { count, times } from '../lib/format.ts';
import { max, median, min, ratio } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';
import type { Target } from '../lib/targets.ts';
import type { StoreKind } from '../steady-variants.ts';

export interface RangesPlan {
  readonly trials: number;
  /** How many disjoint ranges an upload has when the next one is timed. */
  readonly counts: readonly number[];
  /** Writes timed at each of these. */
  readonly samples: number;
}

interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface RangesTrial {
  readonly trial: number;
  readonly store: StoreKind;
  readonly ranges: number;
  /** One more range by a request of its own, until it is answered. */
  readonly request: Latency;
  /** One more range at the store, by a writer that is open already, until it is safe. */
  readonly write: Latency;
  /** How many ranges an answer lists. */
  readonly listed: { readonly least: number; readonly most: number };
}

export interface RangesResults extends RangesPlan {
  readonly raw: readonly RangesTrial[];
}

interface Spread {
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
}

export interface RangesSummary {
  readonly store: StoreKind;
  readonly ranges: number;
  /** Of the trials' p50. */
  readonly request: Spread;
  readonly write: Spread;
  readonly listed: number;
}

const spread = (trials: ReadonlyArray<Latency>): Spread => {
  const values = trials.map(({ p50Ms }) => p50Ms);
  return { medianMs: median(values), minMs: min(values), maxMs: max(values) };
};

/** One per store and number of ranges. */
export const rangesSummaries = ({ raw, counts }: RangesResults): RangesSummary[] => {
  const stores = [...new Set(raw.map(({ store }) => store))];
  return stores.flatMap((store) =>
    counts.map((ranges) => {
      const own = raw.filter((trial) => trial.store === store && trial.ranges === ranges);
      return {
        store,
        ranges,
        request: spread(own.map(({ request }) => request)),
        write: spread(own.map(({ write }) => write)),
        listed: max(own.map(({ listed }) => listed.most)),
      };
    }),
  );
};

/** Where growth begins to count: below, it drowns in what any write costs. */
const baseRanges = 100;
const fullRanges = 100_000;
/** log(100,000) / log(100) is 2.5. */
const mostGrowth = 3;
/** What a client's header parser takes without trouble. */
const mostListed = 64;

export const rangesTargets = (all: readonly RangesSummary[]): Target[] => {
  const growth = (store: StoreKind, kind: 'request' | 'write'): Target => {
    const at = (ranges: number): number | undefined =>
      all.find((one) => one.store === store && one.ranges === ranges)?.[kind].medianMs;
    return {
      name: `${kind}, ${store}, with ${count(fullRanges)} / with ${baseRanges} ranges`,
      actual: ratio(at(fullRanges), at(baseRanges)),
      limit: mostGrowth,
      better: 'lower',
      format: times,
    };
  };
  return [
    ...(['fs', 'sqlite'] as const).flatMap((store) => [growth(store, 'write'), growth(store, 'request')]),
    {
      name: 'ranges listed by a 308',
      actual: all.length === 0 ? undefined : max(all.map(({ listed }) => listed)),
      limit: mostListed,
      better: 'lower',
      format: String,
    },
  ];
};

/** The table by itself, for whoever shows it elsewhere. */
export const rangesTable = (all: readonly RangesSummary[]): string => {
  const against = (one: RangesSummary, kind: 'request' | 'write'): string => {
    const base = all.find(({ store, ranges }) => store === one.store && ranges === baseRanges);
    return base === undefined ? '' : times(one[kind].medianMs / base[kind].medianMs);
  };
  const range = ({ minMs, maxMs }: Spread): string => `${minMs.toFixed(3)}–${maxMs.toFixed(3)}`;
  return markdownTable(
    [
      'store',
      'ranges',
      'write p50 ms',
      'spread',
      `/ at ${baseRanges}`,
      'request p50 ms',
      'spread',
      `/ at ${baseRanges}`,
      'listed',
    ],
    all.map((one) => [
      one.store,
      count(one.ranges),
      one.write.medianMs.toFixed(3),
      range(one.write),
      against(one, 'write'),
      one.request.medianMs.toFixed(3),
      range(one.request),
      against(one, 'request'),
      String(one.listed),
    ]),
  );
};

export const rangesNotes = ({ trials, samples }: RangesResults): string[] => [
  'One more range in an upload that has so many, each anywhere among the others and touching none. Write: at the',
  'store, by an open writer, until it is safe. Request: a PUT with Content-Range over an open connection, until its 308,',
  `which lists so many ranges at most. Medians of ${trials} trials' p50 of ${samples} or more, spread is min–max. 'process'.`,
];
