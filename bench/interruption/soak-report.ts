import { nameOf, soakKeys } from '../interruption-variants.ts';
import type { CutMeans } from '../lib/cutting-proxy.ts';
import { markdownTable } from '../lib/table.ts';
import type { Target } from '../lib/targets.ts';
import type { SoakPlan } from './soak.ts';

/** One variant under all its cuts. */
export interface SoakRun {
  readonly variant: string;
  readonly uploads: number;
  readonly completed: number;
  readonly fileBytes: number;
  readonly bodyBytes: number;
  readonly arrivedBytes: number;
  readonly elapsedMs: number;
  readonly cuts: Readonly<Record<CutMeans, number>>;
  readonly interruptions: number;
  readonly unfinished: number;
  readonly errors: number;
  readonly differing: number;
  readonly problems: readonly string[];
  readonly resumeP50Ms: number;
  readonly resumeP99Ms: number;
}

export interface SoakResults extends SoakPlan {
  readonly meanBytes: number;
  readonly stallMs: number;
  readonly raw: readonly SoakRun[];
}

const fullCuts = 10_000;

const cutsOf = ({ cuts }: SoakRun): number => cuts.rst + cuts.fin + cuts.stall;

export const soakTargets = ({ raw }: SoakResults): Target[] => {
  const zero = { limit: 0, better: 'lower', format: String } as const;
  return soakKeys.flatMap((key) => {
    const own = raw.find(({ variant }) => variant === nameOf(key));
    const name = nameOf(key);
    return [
      {
        name: `cuts, ${name}`,
        actual: own && cutsOf(own),
        limit: fullCuts,
        better: 'higher' as const,
        format: String,
      },
      {
        name: `errors and unfinished uploads in them, ${name}`,
        actual: own && own.errors + own.unfinished,
        ...zero,
      },
      { name: `differing sums in them, ${name}`, actual: own?.differing, ...zero },
    ];
  });
};

export const soakTable = ({ raw }: SoakResults): string => {
  const header = [
    'variant',
    'cuts',
    'rst',
    'fin',
    'stall',
    'uploads',
    's',
    'efficiency',
    'of what arrived',
    'resume p50 ms',
    'p99 ms',
    'unfinished',
    'errors',
    'wrong sums',
  ];
  const rows = raw.map((run) => [
    run.variant,
    String(cutsOf(run)),
    String(run.cuts.rst),
    String(run.cuts.fin),
    String(run.cuts.stall),
    String(run.uploads),
    (run.elapsedMs / 1000).toFixed(0),
    (run.fileBytes / run.bodyBytes).toFixed(4),
    (run.fileBytes / run.arrivedBytes).toFixed(4),
    run.resumeP50Ms.toFixed(1),
    run.resumeP99Ms.toFixed(1),
    String(run.unfinished),
    String(run.errors),
    String(run.differing),
  ]);
  return markdownTable(header, rows);
};
