import { describeMachine } from './lib/machine.ts';
import { type BenchOptions, UsageError } from './lib/options.ts';
import { writeResults } from './lib/results.ts';
import { scratchIsMemory, settle, withScratches } from './lib/scratch.ts';
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

const isPart = (name: string): name is Part => Object.hasOwn(parts, name);

/** Those that `--part` names, or all of them; where only servers of others are measured, those that can be. */
const chosenParts = (names: readonly string[] | undefined, chosen: readonly Variant[]): readonly Part[] => {
  const all = Object.keys(parts).filter(isPart);
  const unknown = names?.find((name) => !isPart(name));
  if (unknown !== undefined) throw new UsageError(`no such part: ${unknown} (there are ${all.join(', ')})`);
  const possible = storesOf(chosen).length > 0 ? all : all.filter((name) => name === 'small');
  const impossible = names?.find((name) => !possible.some((part) => part === name));
  if (impossible !== undefined) throw new UsageError(`part ${impossible} wants a variant of our own`);
  return names === undefined ? possible : possible.filter((name) => names.includes(name));
};

export const run = async (options: BenchOptions): Promise<void> => {
  const chosen = chosenVariants(variants, options.variants);
  const wanted = chosenParts(options.parts, chosen);
  const date = new Date().toISOString();
  await settle();
  const measured = await withScratches(async (fresh) => {
    let results: PartResults = {};
    for (const part of wanted) results = { ...results, ...(await parts[part](chosen, fresh, options)) };
    return results;
  });
  const results: StoresResults = {
    machine: describeMachine(),
    date,
    command: options.command,
    scratchIsMemory: await scratchIsMemory(),
    ...measured,
  };
  console.log(storesReport(results));
  if (options.json) console.log(`\nraw trials: ${await writeResults('stores', withSummaries(results))}`);
};
