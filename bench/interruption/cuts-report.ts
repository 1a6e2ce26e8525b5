import { checkpointKeys, nameOf, plainKeys } from '../interruption-variants.ts';
import { times } from '../lib/format.ts';
import { max, median, min, quantile, ratio } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';
import type { Target } from '../lib/targets.ts';
import type { CutsPlan } from './cuts.ts';
import { cuttingKeys, type ScheduleKey, uncutOf } from './schedules.ts';
import type { Trial } from './trial.ts';

export interface CutsTrial extends Trial {
  readonly trial: number;
  readonly variant: string;
  readonly schedule: ScheduleKey;
}

export interface CutsResults extends CutsPlan {
  readonly schedules: readonly ScheduleKey[];
  readonly raw: readonly CutsTrial[];
}

/** One variant under one schedule. Rates in MiB/s of completed files; everything that counts is over all trials. */
export interface CutsSummary {
  readonly schedule: ScheduleKey;
  readonly variant: string;
  readonly goodput: number;
  readonly minGoodput: number;
  readonly maxGoodput: number;
  /** Without the time during which every client stood still. */
  readonly movingGoodput: number;
  /** File bytes / body bytes that the clients' systems took. */
  readonly ofSent: number;
  /** File bytes / body bytes that the proxy passed on. */
  readonly efficiency: number;
  /** File bytes / body bytes that the server read. */
  readonly kept: number;
  /** Body bytes that the proxy passed on beyond those of the files, per cut. */
  readonly resentPerCut: number;
  readonly resumeP50Ms: number;
  readonly resumeP99Ms: number;
  readonly requestsPerUpload: number;
  readonly queries: number;
  readonly cuts: number;
  readonly unfinished: number;
  readonly errors: number;
  readonly differing: number;
}

const MiB = 2 ** 20;

const perSecond = (bytes: number, ms: number): number => bytes / MiB / (ms / 1000);

const summary = (schedule: ScheduleKey, variant: string, own: readonly CutsTrial[]): CutsSummary => {
  const total = (count: (trial: CutsTrial) => number): number =>
    own.reduce((sum, one) => sum + count(one), 0);
  const goodputs = own.map(({ fileBytes, elapsedMs }) => perSecond(fileBytes, elapsedMs));
  const moving = own.map((one) => perSecond(one.fileBytes, one.elapsedMs - one.standstillMs));
  const fileBytes = total((trial) => trial.fileBytes);
  const bodyBytes = total((trial) => trial.bodyBytes);
  const cuts = total((trial) => trial.cuts.rst + trial.cuts.fin + trial.cuts.stall);
  const resumeMs = own.flatMap((trial) => trial.resumeMs);
  return {
    schedule,
    variant,
    goodput: median(goodputs),
    minGoodput: min(goodputs),
    maxGoodput: max(goodputs),
    movingGoodput: median(moving),
    ofSent: fileBytes / total((trial) => trial.sentBytes),
    efficiency: fileBytes / bodyBytes,
    kept: fileBytes / total((trial) => trial.arrivedBytes),
    resentPerCut: (bodyBytes - fileBytes) / cuts,
    resumeP50Ms: quantile(resumeMs, 0.5),
    resumeP99Ms: quantile(resumeMs, 0.99),
    requestsPerUpload: total((trial) => trial.requests) / total((trial) => trial.uploads),
    queries: total((trial) => trial.queries),
    cuts,
    unfinished: total((trial) => trial.unfinished),
    errors: total((trial) => trial.errors),
    differing: total((trial) => trial.differing),
  };
};

/** One per variant and schedule, in the order they were first measured. */
export const cutsSummaries = ({ raw, schedules }: CutsResults): CutsSummary[] =>
  schedules.flatMap((schedule) => {
    const under = raw.filter((trial) => trial.schedule === schedule);
    const names = [...new Set(under.map(({ variant }) => variant))];
    return names.map((name) =>
      summary(
        schedule,
        name,
        under.filter(({ variant }) => variant === name),
      ),
    );
  });

const find = (all: readonly CutsSummary[], schedule: ScheduleKey, variant: string): CutsSummary | undefined =>
  all.find((one) => one.schedule === schedule && one.variant === variant);

const exact = (value: number): string => value.toFixed(4);
const whole = (value: number): string => value.toFixed(0);

/** As fast as the machine is; and over a line that is slower than that. */
const localKeys = cuttingKeys.filter((key) => uncutOf(key) === 'uncut');
const lineKeys = cuttingKeys.filter((key) => uncutOf(key) !== 'uncut');

/** The smallest of a variant's ratios over these schedules, and under which of them it was. */
const worst = (
  key: string,
  schedules: readonly ScheduleKey[],
  ratioUnder: (schedule: ScheduleKey) => number | undefined,
): { readonly actual: number | undefined; readonly where: string } => {
  const known = schedules.flatMap((schedule) => {
    const actual = ratioUnder(schedule);
    return actual === undefined ? [] : [{ actual, where: `${nameOf(key)}, worst schedule: ${schedule}` }];
  });
  const [first] = known.sort((a, b) => a.actual - b.actual);
  return first ?? { actual: undefined, where: nameOf(key) };
};

export const cutsTargets = (all: readonly CutsSummary[]): Target[] => {
  const moving = (schedule: ScheduleKey, key: string): number | undefined =>
    find(all, schedule, nameOf(key))?.movingGoodput;
  const efficiency = (
    figure: 'efficiency' | 'kept',
    key: string,
    schedule: ScheduleKey,
    limit: number,
  ): Target => ({
    name: `${figure === 'kept' ? 'of what arrived' : figure}, ${schedule}, ${nameOf(key)}`,
    actual: find(all, schedule, nameOf(key))?.[figure],
    limit,
    better: 'higher',
    format: exact,
  });
  const goodput = (against: string, found: ReturnType<typeof worst>, limit: number): Target => ({
    name: `goodput / ${against}, ${found.where}`,
    actual: found.actual,
    limit,
    better: 'higher',
    format: times,
  });
  const queries = (key: string): Target => {
    const own = all.filter(
      ({ variant, schedule }) => variant === nameOf(key) && cuttingKeys.includes(schedule),
    );
    const count = own.reduce((sum, one) => sum + one.queries, 0);
    return {
      name: `queries on resume, ${nameOf(key)}`,
      actual: own.length === 0 ? undefined : count,
      limit: 0,
      better: 'lower',
      format: whole,
    };
  };
  const ours = all.filter(({ variant }) => variant.startsWith('ours'));
  const sumOf = (count: (one: CutsSummary) => number): number | undefined =>
    ours.length === 0 ? undefined : ours.reduce((sum, one) => sum + count(one), 0);
  const zero = { limit: 0, better: 'lower', format: whole } as const;
  return [
    ...plainKeys.map((key) => efficiency('efficiency', key, 'fin', 0.995)),
    ...plainKeys.map((key) => efficiency('efficiency', key, 'rst', 0.99)),
    ...plainKeys.map((key) => efficiency('efficiency', key, 'line', 0.99)),
    // What a reset throws away in the buffers of the system never reached the server.
    ...plainKeys.map((key) => efficiency('kept', key, 'rst', 0.99)),
    ...checkpointKeys.map(queries),
    ...[localKeys, lineKeys].flatMap((schedules) =>
      plainKeys.map((key) => {
        const found = worst(key, schedules, (schedule) =>
          ratio(moving(schedule, key), moving(uncutOf(schedule), key)),
        );
        return goodput('uncut', found, 0.8);
      }),
    ),
    // A line that all of them fill makes all of them equal.
    ...plainKeys.map((key) => {
      const found = worst(key, localKeys, (schedule) =>
        ratio(moving(schedule, key), moving(schedule, 'tus')),
      );
      return goodput('@tus/server', found, 2);
    }),
    {
      name: 'errors and unfinished uploads, ours',
      actual: sumOf((one) => one.errors + one.unfinished),
      ...zero,
    },
    { name: 'differing sums, ours', actual: sumOf((one) => one.differing), ...zero },
  ];
};

const known = (value: number, digits: number): string =>
  Number.isFinite(value) ? value.toFixed(digits) : '';

/** The table of one schedule. */
export const cutsTable = (all: readonly CutsSummary[], schedule: ScheduleKey): string => {
  const against = (one: CutsSummary, other: CutsSummary | undefined): string =>
    other === undefined || other.movingGoodput === 0 ? '' : times(one.movingGoodput / other.movingGoodput);
  const header = [
    'variant',
    'MiB/s',
    'spread',
    'moving MiB/s',
    '/ uncut',
    '/ @tus/server',
    'of what was sent',
    'efficiency',
    'of what arrived',
    're-sent KiB/cut',
    'resume p50 ms',
    'p99 ms',
    'requests/upload',
    'queries',
    'cuts',
    'unfinished',
    'errors',
    'wrong sums',
  ];
  const rows = all
    .filter((one) => one.schedule === schedule)
    .map((one) => [
      one.variant,
      one.goodput.toFixed(0),
      `${one.minGoodput.toFixed(0)}–${one.maxGoodput.toFixed(0)}`,
      one.movingGoodput.toFixed(0),
      against(one, find(all, uncutOf(schedule), one.variant)),
      against(one, find(all, schedule, nameOf('tus'))),
      exact(one.ofSent),
      exact(one.efficiency),
      exact(one.kept),
      known(one.resentPerCut / 1024, 1),
      known(one.resumeP50Ms, 1),
      known(one.resumeP99Ms, 1),
      one.requestsPerUpload.toFixed(1),
      String(one.queries),
      String(one.cuts),
      String(one.unfinished),
      String(one.errors),
      String(one.differing),
    ]);
  return markdownTable(header, rows);
};
