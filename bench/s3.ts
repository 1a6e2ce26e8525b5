import type { BenchOptions } from './lib/options.ts';
import { chosenParts } from './lib/parts.ts';
import { conditionsOf } from './lib/report.ts';
import { writeResults } from './lib/results.ts';
import { settle, withScratch } from './lib/scratch.ts';
import { chosenVariants } from './lib/variants.ts';
import { Bucket } from './s3/bucket.ts';
import { measureMemory } from './s3/memory.ts';
import type { RunTrial } from './s3/plan.ts';
import { measureRequests } from './s3/requests.ts';
import { withGround } from './s3/target.ts';
import { measureUpload } from './s3/upload.ts';
import { type S3Results, s3Report, withSummaries } from './s3-report.ts';
import { serversOf, type Variant, variants } from './s3-variants.ts';

// Uploads into a bucket of a real S3 server: how fast, in how much memory, with how many requests?

type PartResults = Pick<S3Results, 'upload' | 'memory' | 'requests'>;

const upload = async (
  chosen: readonly Variant[],
  runTrial: RunTrial,
  options: BenchOptions,
): Promise<PartResults> => {
  const trials = options.trials ?? (options.quick ? 2 : 5);
  const sizeMiB = options.sizeMiB ?? (options.quick ? 64 : 512);
  return { upload: await measureUpload(chosen, runTrial, { trials, sizeMiB }) };
};

const memory = async (
  chosen: readonly Variant[],
  runTrial: RunTrial,
  options: BenchOptions,
): Promise<PartResults> => {
  const trials = options.trials ?? (options.quick ? 1 : 5);
  const plan = { trials, uploads: options.quick ? 20 : 50, sizeMiB: 16 };
  return { memory: await measureMemory(serversOf(chosen), runTrial, plan) };
};

const requests = async (
  chosen: readonly Variant[],
  runTrial: RunTrial,
  options: BenchOptions,
): Promise<PartResults> => {
  const trials = options.trials ?? (options.quick ? 1 : 5);
  return { requests: await measureRequests(serversOf(chosen), runTrial, { trials }) };
};

const parts = { upload, memory, requests };
type Part = keyof typeof parts;

export const run = async (options: BenchOptions): Promise<void> => {
  const chosen = chosenVariants(variants, options.variants);
  const wanted = chosenParts(options.parts, {
    all: Object.keys(parts) as Part[],
    isPossible: (name) => name === 'upload' || serversOf(chosen).length > 0,
    wants: 'a variant with a server',
  });
  const startedAt = new Date();
  await settle();
  const results = await withGround(async ({ target, description }): Promise<S3Results> => {
    const measured = await Bucket.with(target, async (bucket) => {
      // What a trial leaves is removed before the next begins, and outside of its time.
      const runTrial: RunTrial = (measure) =>
        withScratch(async (directory) => {
          const measurement = await measure({ bucket, directory });
          await bucket.empty();
          return measurement;
        });
      let found: PartResults = {};
      for (const part of wanted) found = { ...found, ...(await parts[part](chosen, runTrial, options)) };
      return found;
    });
    return {
      ...(await conditionsOf(options.command, startedAt)),
      server: description,
      ...measured,
    };
  });
  console.log(s3Report(results));
  if (options.json) console.log(`\nraw trials: ${await writeResults('s3', withSummaries(results))}`);
};
