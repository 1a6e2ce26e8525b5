import type { Variant } from '../interruption-variants.ts';
import { randomBytes } from '../lib/cut-schedules.ts';
import type { Random } from '../lib/random.ts';
import { settle } from '../lib/scratch.ts';
import { quantile } from '../lib/stats.ts';
import type { SoakResults, SoakRun } from './soak-report.ts';
import { Pair, type Trial } from './trial.ts';

// Cuts by the thousand, as dense as they can be: not how fast, but whether a single byte is ever wrong.

const KiB = 1024;
const meanBytes = 256 * KiB;
const stallMs = 250;
const answerMs = 1_000;
const limitMs = 300_000;

const cutsOf = ({ cuts }: Trial): number => cuts.rst + cuts.fin + cuts.stall;

export interface SoakPlan {
  /** At least so many for each variant. */
  readonly cuts: number;
  /** Uploads at once; so many again follow them before it is looked how many cuts there were. */
  readonly concurrency: number;
  readonly sizeBytes: number;
}

const soak = async (
  variant: Variant,
  directory: string,
  random: Random,
  { cuts, concurrency, sizeBytes }: SoakPlan,
): Promise<SoakRun> => {
  const uploads = 2 * concurrency;
  const load = { uploads, concurrency, sizeBytes, stallMs, answerMs, limitMs };
  const schedule = randomBytes(meanBytes, 'rst', 'fin', 'stall');
  const batches: Trial[] = [];
  const pair = new Pair(variant, directory);
  try {
    const port = await pair.ready(uploads * sizeBytes);
    let made = 0;
    while (made < cuts) {
      const batch = await pair.through(port, { schedule, random }, load);
      batches.push(batch);
      made += cutsOf(batch);
      process.stderr.write(`interruption: soak, ${variant.name}, ${made} of ${cuts} cuts\n`);
      if (cutsOf(batch) === 0) throw new Error(`nothing was cut: ${batch.problems.join('; ')}`);
    }
  } finally {
    await pair.stop();
  }
  const total = (count: (batch: Trial) => number): number =>
    batches.reduce((sum, batch) => sum + count(batch), 0);
  const resumeMs = batches.flatMap((batch) => batch.resumeMs);
  return {
    variant: variant.name,
    uploads: total((batch) => batch.uploads),
    completed: total((batch) => batch.completed),
    fileBytes: total((batch) => batch.fileBytes),
    bodyBytes: total((batch) => batch.bodyBytes),
    arrivedBytes: total((batch) => batch.arrivedBytes),
    elapsedMs: total((batch) => batch.elapsedMs),
    cuts: {
      rst: total((batch) => batch.cuts.rst),
      fin: total((batch) => batch.cuts.fin),
      stall: total((batch) => batch.cuts.stall),
    },
    interruptions: total((batch) => batch.interruptions),
    unfinished: total((batch) => batch.unfinished),
    errors: total((batch) => batch.errors),
    differing: total((batch) => batch.differing),
    problems: batches.flatMap((batch) => batch.problems).slice(0, 10),
    resumeP50Ms: quantile(resumeMs, 0.5),
    resumeP99Ms: quantile(resumeMs, 0.99),
  };
};

export const measureSoak = async (
  variants: readonly Variant[],
  fresh: () => Promise<string>,
  random: Random,
  plan: SoakPlan,
): Promise<SoakResults> => {
  const raw: SoakRun[] = [];
  for (const variant of variants) {
    raw.push(await soak(variant, await fresh(), random, plan));
    await settle();
  }
  return { ...plan, meanBytes, stallMs, raw };
};
