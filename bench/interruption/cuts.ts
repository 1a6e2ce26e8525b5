import type { Variant } from '../interruption-variants.ts';
import { type Random, seededRandom } from '../lib/random.ts';
import { emptyFiles, settle } from '../lib/scratch.ts';
import type { CutsResults, CutsTrial } from './cuts-report.ts';
import { type Density, lineOf, type ScheduleKey, scheduleOf } from './schedules.ts';
import { type Load, Pair } from './trial.ts';

// Large uploads, several at once, whose connections are cut again and again: what gets through, and at what cost?

/** Long enough for any server here that is alive. */
const patientMs = 30_000;
const answerMs = 10_000;

export interface CutsPlan extends Density {
  readonly trials: number;
  readonly uploads: number;
  readonly sizeBytes: number;
  /** Where connections stand still: soon enough to get anywhere, late enough to tell that from a slow server. */
  readonly stallMs: number;
  /** What is not complete after that is given up. */
  readonly limitMs: number;
}

const measure = async (
  variant: Variant,
  key: ScheduleKey,
  directory: string,
  random: Random,
  plan: CutsPlan,
): Promise<Omit<CutsTrial, 'trial'>> => {
  const load: Load = {
    uploads: plan.uploads,
    concurrency: plan.uploads,
    sizeBytes: plan.sizeBytes,
    stallMs: key === 'mixed' ? plan.stallMs : patientMs,
    answerMs,
    limitMs: plan.limitMs,
  };
  const pair = new Pair(variant, directory);
  try {
    const port = await pair.ready(load.uploads * load.sizeBytes);
    const network = { schedule: scheduleOf(key, plan), line: lineOf(key, plan), random };
    const trial = await pair.through(port, network, load);
    return { variant: variant.name, schedule: key, ...trial };
  } finally {
    await pair.stop();
  }
};

export const measureCuts = async (
  variants: readonly Variant[],
  schedules: readonly ScheduleKey[],
  fresh: () => Promise<string>,
  random: Random,
  plan: CutsPlan,
): Promise<CutsResults> => {
  const raw: CutsTrial[] = [];
  // Round-robin: whatever slows the machine down for a minute then slows every variant down alike.
  for (let trial = 1; trial <= plan.trials; trial++) {
    for (const key of schedules) {
      // The same cuts for all of them.
      const seed = random.uint32();
      for (const variant of variants) {
        process.stderr.write(`interruption: ${key}, trial ${trial}/${plan.trials}, ${variant.name}\n`);
        const directory = await fresh();
        try {
          raw.push({ trial, ...(await measure(variant, key, directory, seededRandom(seed), plan)) });
        } catch (error) {
          throw new Error(`${variant.name}, ${key}: no figure`, { cause: error });
        }
        await emptyFiles(directory); // all that they hold at the end of a run would be a hundred gigabytes
        await settle();
      }
    }
  }
  return { ...plan, schedules, raw };
};
