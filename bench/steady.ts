import type { BenchOptions } from './lib/options.ts';
import { chosenParts } from './lib/parts.ts';
import { conditionsOf } from './lib/report.ts';
import { writeResults } from './lib/results.ts';
import { settle, withScratches } from './lib/scratch.ts';
import { chosenVariants } from './lib/variants.ts';
import { measureAnswers } from './steady/answers.ts';
import { measureFairness } from './steady/fairness.ts';
import { measureRanges } from './steady/ranges.ts';
import { measureSteadySlow } from './steady/slow.ts';
import { measureStreams } from './steady/streams.ts';
import type { StreamsCell } from './steady/streams-report.ts';
import { type SteadyResults, steadyReport, withSummaries } from './steady-report.ts';
import { oursOf, storesOf, type Variant, variants } from './steady-variants.ts';

// A server in its everyday life: few and many streams, small requests, slow clients, and uploads in pieces.

const KiB = 1024;
const MiB = 1024 * KiB;

type Fresh = () => Promise<string>;
type PartResults = Pick<SteadyResults, 'streams' | 'answers' | 'slow' | 'fairness' | 'ranges'>;
type RunPart = (chosen: readonly Variant[], fresh: Fresh, options: BenchOptions) => Promise<PartResults>;

const cellsOf = ({ quick, sizeMiB }: BenchOptions): StreamsCell[] => {
  const cells = (bytes: number, ...streams: number[]): StreamsCell[] =>
    streams.map((number) => ({ bytes, streams: number }));
  // Sixty-four times a GiB would be a measure of the disk, and of patience.
  return quick
    ? [...cells(KiB, 1, 8), ...cells(MiB, 8), ...cells((sizeMiB ?? 64) * MiB, 1)]
    : [
        ...cells(KiB, 1, 8, 64),
        ...cells(64 * KiB, 1, 8, 64),
        ...cells(MiB, 1, 8, 64),
        ...cells((sizeMiB ?? 1024) * MiB, 1, 8),
      ];
};

const streams: RunPart = async (chosen, fresh, options) => {
  const trials = options.trials ?? (options.quick ? 1 : 5);
  const seconds = options.durationSeconds ?? (options.quick ? 0.5 : 2);
  const cellBytes = (options.quick ? 64 : 1024) * MiB;
  const plan = { trials, seconds, cellBytes, cells: cellsOf(options) };
  return { streams: await measureStreams(chosen, fresh, plan) };
};

const answers: RunPart = async (chosen, fresh, options) => {
  const trials = options.trials ?? (options.quick ? 1 : 5);
  const seconds = options.durationSeconds ?? (options.quick ? 0.5 : 3);
  return { answers: await measureAnswers(chosen, fresh, { trials, seconds }) };
};

const slow: RunPart = async (chosen, fresh, options) => {
  const trials = options.trials ?? (options.quick ? 1 : 5);
  const seconds = options.durationSeconds;
  // The more there are the longer it takes until all of them have been made, and the less each may bring.
  const loads = options.quick
    ? [
        { wanted: 100, everyMs: 100, seconds: seconds ?? 2 },
        { wanted: 1_000, everyMs: 1_000, seconds: seconds ?? 3 },
      ]
    : [
        { wanted: 1_000, everyMs: 100, seconds: seconds ?? 10 },
        { wanted: 10_000, everyMs: 2_000, seconds: seconds ?? 30 },
      ];
  return { slow: await measureSteadySlow(storesOf(chosen), fresh, { trials, loads }) };
};

const fairness: RunPart = async (chosen, fresh, options) => {
  const trials = options.trials ?? (options.quick ? 1 : 5);
  const seconds = options.durationSeconds ?? (options.quick ? 1 : 5);
  const plan = options.quick
    ? { trials, seconds, slowUploads: 100, settleSeconds: 1 }
    : { trials, seconds, slowUploads: 500, settleSeconds: 5 };
  return { fairness: await measureFairness(chosen, fresh, plan) };
};

const ranges: RunPart = async (chosen, fresh, options) => {
  const trials = options.trials ?? (options.quick ? 1 : 5);
  const counts = options.quick ? [1, 100, 10_000] : [1, 100, 1_000, 10_000, 100_000];
  const samples = options.quick ? 20 : 40;
  return { ranges: await measureRanges(storesOf(chosen), fresh, { trials, counts, samples }) };
};

const parts = { streams, answers, slow, fairness, ranges };
type Part = keyof typeof parts;

/** Those that measure nothing but ours. */
const ownParts: readonly Part[] = ['slow', 'ranges'];

export const run = async (options: BenchOptions): Promise<void> => {
  const chosen = chosenVariants(variants, options.variants);
  const wanted = chosenParts(options.parts, {
    all: Object.keys(parts) as Part[],
    isPossible: (name) => !ownParts.includes(name) || oursOf(chosen).length > 0,
    wants: 'a variant of our own',
  });
  const startedAt = new Date();
  await settle();
  const measured = await withScratches(async (fresh) => {
    let results: PartResults = {};
    for (const part of wanted) results = { ...results, ...(await parts[part](chosen, fresh, options)) };
    return results;
  });
  const results: SteadyResults = {
    ...(await conditionsOf(options.command, startedAt)),
    ...measured,
  };
  console.log(steadyReport(results));
  if (options.json) console.log(`\nraw trials: ${await writeResults('steady', withSummaries(results))}`);
};
