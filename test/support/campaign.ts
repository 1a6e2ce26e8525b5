import { parseArgs } from 'node:util';
import { type Random, randomSeed, seededRandom } from '../../bench/lib/random.ts';

/** What a campaign was told to do, by `--runs` and `--seed`. */
export interface Campaign {
  readonly runs: number;
  readonly seed: number;
}

export const readCampaign = (): Campaign => {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '200' },
      seed: { type: 'string', default: String(randomSeed()) },
    },
  });
  return { runs: Number(values.runs), seed: Number(values.seed) };
};

/**
 * Makes all runs, each with a seed of its own, so that it can be repeated by itself. `run` resolves with what went wrong.
 * Resolves with how many did.
 */
export const makeRuns = async (
  { runs, seed }: Campaign,
  run: (random: Random) => Promise<string | undefined>,
): Promise<number> => {
  let wrong = 0;
  for (let i = 0; i < runs; i++) {
    const fault = await run(seededRandom(seed + i));
    if (fault === undefined) continue;
    wrong++;
    console.error(`wrong: ${fault} (--runs 1 --seed ${seed + i})`);
  }
  return wrong;
};
