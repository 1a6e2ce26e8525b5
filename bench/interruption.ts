import { type CutsPlan, measureCuts } from './interruption/cuts.ts';
import { cuttingKeys, type ScheduleKey, withUncut } from './interruption/schedules.ts';
import { measureSmallCuts } from './interruption/small.ts';
import { measureSoak } from './interruption/soak.ts';
import { type InterruptionResults, interruptionReport, withSummaries } from './interruption-report.ts';
import { soakKeys, type Variant, variants } from './interruption-variants.ts';
import type { BenchOptions } from './lib/options.ts';
import { chosenParts } from './lib/parts.ts';
import { type Random, randomSeed, seededRandom } from './lib/random.ts';
import { conditionsOf } from './lib/report.ts';
import { writeResults } from './lib/results.ts';
import { settle, withScratches } from './lib/scratch.ts';
import { chosenVariants } from './lib/variants.ts';
import { variants as storesVariants } from './stores-variants.ts';

// Uploads through a network that keeps failing: what gets through, at what cost, and is every byte of it right?

const MiB = 2 ** 20;

type Fresh = () => Promise<string>;
type PartResults = Pick<InterruptionResults, 'cuts' | 'small' | 'soak'>;

const otherParts = ['small', 'soak'] as const;
type Part = ScheduleKey | (typeof otherParts)[number];

/** One for each schedule, and the others. In a quick run half of them. */
const wantedParts = ({ parts, quick }: BenchOptions): ReadonlySet<Part> => {
  const all: readonly Part[] = [...cuttingKeys, ...otherParts];
  return new Set(parts === undefined && quick ? ['rst', 'mixed', 'soak'] : chosenParts(parts, { all }));
};

const planOf = ({ quick, trials, sizeMiB }: BenchOptions): CutsPlan => ({
  trials: trials ?? (quick ? 1 : 3),
  uploads: quick ? 2 : 4,
  sizeBytes: (sizeMiB ?? (quick ? 8 : 64)) * MiB,
  everyBytes: (quick ? 2 : 16) * MiB,
  everyMs: quick ? 20 : 100,
  lineBytesPerSecond: 125_000_000, // 1 Gbit/s
  stallMs: 250,
  limitMs: quick ? 5_000 : 30_000,
});

const runParts = async (
  chosen: readonly Variant[],
  wanted: ReadonlySet<Part>,
  fresh: Fresh,
  random: Random,
  options: BenchOptions,
): Promise<PartResults> => {
  const has = (key: string): boolean => chosen.some((variant) => variant.key === key);
  let results: PartResults = {};
  const cutting = cuttingKeys.filter((key) => wanted.has(key));
  if (cutting.length > 0) {
    const plan = planOf(options);
    const cuts = await measureCuts(chosen, withUncut(cutting), fresh, random, plan);
    results = { ...results, cuts };
  }
  const small = storesVariants.filter(({ key }) => has(key));
  if (wanted.has('small') && small.length > 0) {
    const trials = options.trials ?? (options.quick ? 1 : 3);
    const seconds = options.durationSeconds ?? (options.quick ? 1 : 3);
    results = { ...results, small: await measureSmallCuts(small, fresh, random, { trials, seconds }) };
  }
  const soaked = chosen.filter(({ key }) => soakKeys.includes(key));
  if (wanted.has('soak') && soaked.length > 0) {
    const plan = options.quick
      ? { cuts: 200, concurrency: 16, sizeBytes: 2 * MiB }
      : { cuts: 10_000, concurrency: 32, sizeBytes: 8 * MiB };
    results = { ...results, soak: await measureSoak(soaked, fresh, random, plan) };
  }
  return results;
};

export const run = async (options: BenchOptions): Promise<void> => {
  const chosen = chosenVariants(variants, options.variants);
  const wanted = wantedParts(options);
  const startedAt = new Date();
  const seed = randomSeed();
  process.stderr.write(`interruption: seed ${seed}\n`);
  await settle();
  const measured = await withScratches((fresh) =>
    runParts(chosen, wanted, fresh, seededRandom(seed), options),
  );
  const results: InterruptionResults = {
    ...(await conditionsOf(options.command, startedAt)),
    seed,
    ...measured,
  };
  console.log(interruptionReport(results));
  if (options.json)
    console.log(`\nraw trials: ${await writeResults('interruption', withSummaries(results))}`);
};
