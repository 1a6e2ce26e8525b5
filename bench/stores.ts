import type { BenchOptions } from './lib/options.ts';
import { chosenParts } from './lib/parts.ts';
import { conditionsOf } from './lib/report.ts';
import { writeResults } from './lib/results.ts';
import { settle, withScratches } from './lib/scratch.ts';
import { chosenVariants } from './lib/variants.ts';
import { measureGrowth } from './stores/growth.ts';
import { measureSlow } from './stores/slow.ts';
import { measureSmall } from './stores/small.ts';
import { type StoresResults, storesReport, withSummaries } from './stores-report.ts';
import { type StoreKind, storesOf, type Variant, variants } from './stores-variants.ts';

// The stores: many small uploads, many uploads to know of, and many slow ones at once.

type Fresh = () => Promise<string>;
type PartResults = Pick<StoresResults, 'small' | 'index' | 'slow'>;

const small = async (
  chosen: readonly Variant[],
  fresh: Fresh,
  options: BenchOptions,
): Promise<PartResults> => {
  const trials = options.trials ?? (options.quick ? 2 : 5);
  const seconds = options.durationSeconds ?? (options.quick ? 1 : 5);
  return { small: await measureSmall(chosen, fresh, { trials, seconds }) };
};

const fullSizes: Readonly<Record<StoreKind, readonly number[]>> = {
  fs: [100, 10_000, 100_000],
  sqlite: [100, 10_000, 1_000_000],
};
const quickSizes: Readonly<Record<StoreKind, readonly number[]>> = {
  fs: [100, 1_000, 10_000],
  sqlite: [100, 1_000, 10_000],
};

const index = async (
  chosen: readonly Variant[],
  fresh: Fresh,
  options: BenchOptions,
): Promise<PartResults> => {
  const rounds = options.trials ?? (options.quick ? 2 : 5);
  const seconds = options.durationSeconds ?? (options.quick ? 1 : 3);
  const sizes = options.quick ? quickSizes : fullSizes;
  return { index: await measureGrowth(storesOf(chosen), fresh, { sizes, rounds, seconds }) };
};

const slow = async (
  chosen: readonly Variant[],
  fresh: Fresh,
  options: BenchOptions,
): Promise<PartResults> => {
  const trials = options.trials ?? (options.quick ? 1 : 3);
  const seconds = options.durationSeconds ?? (options.quick ? 5 : 10);
  const uploads = options.quick ? 200 : 1_000;
  return { slow: await measureSlow(storesOf(chosen), fresh, { uploads, seconds, everyMs: 100, trials }) };
};

const parts = { small, index, slow };
type Part = keyof typeof parts;

export const run = async (options: BenchOptions): Promise<void> => {
  const chosen = chosenVariants(variants, options.variants);
  const wanted = chosenParts(options.parts, {
    all: Object.keys(parts) as Part[],
    isPossible: (name) => name === 'small' || storesOf(chosen).length > 0,
    wants: 'a variant of our own',
  });
  const startedAt = new Date();
  await settle();
  const measured = await withScratches(async (fresh) => {
    let results: PartResults = {};
    for (const part of wanted) results = { ...results, ...(await parts[part](chosen, fresh, options)) };
    return results;
  });
  const results: StoresResults = {
    ...(await conditionsOf(options.command, startedAt)),
    ...measured,
  };
  console.log(storesReport(results));
  if (options.json) console.log(`\nraw trials: ${await writeResults('stores', withSummaries(results))}`);
};
