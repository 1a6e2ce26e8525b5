// Kills the server process with SIGKILL at each request that an upload makes to the bucket, before its effect and after
// it, and lets the same client go on with another process: sums are equal, the handler is entered again only where a
// process was killed, and after gc the bucket holds nothing but the upload.
//
//     npm run test:s3-crash -- [--stride N] [--seed N] [--lanes 6] [--only SCENARIO:before|after:NTH]
//
// With a stride only every Nth request is one to be killed at; the seed says which.
import { parseArgs } from 'node:util';
import { randomSeed } from '../../bench/lib/random.ts';
import { Permits } from '../../stores/s3/memory.ts';
import type { S3Operation } from '../support/s3/double.ts';
import { NodePool } from '../support/s3-crash-nodes.ts';
import {
  type Crash,
  type CrashOutcome,
  type Moment,
  runCrash,
  type Scenario,
  type ScenarioName,
  scenarios,
} from '../support/s3-crash-run.ts';

const moments = ['before', 'after'] as const;
/** No upload here makes more requests, however it is cut and killed; one that does is in a loop. */
const mostRequests = 300;

interface Tally {
  runs: number;
  kills: number;
  entries: number;
  abandoned: number;
  wrongRuns: number;
  readonly points: Map<S3Operation, number>;
}

const nameOf = ({ scenario, moment, nth }: Crash): string => `${scenario}:${moment}:${nth}`;

const count = (tally: Tally, crash: Crash, outcome: CrashOutcome): void => {
  const { wrong, points, entries, abandoned } = outcome;
  tally.runs++;
  tally.kills += points.length;
  tally.entries += entries;
  tally.abandoned += abandoned;
  if (wrong.length > 0) tally.wrongRuns++;
  for (const fault of wrong) {
    const at = points.length === 0 ? 'nowhere' : points.join(', ');
    console.error(`wrong: killed at ${at}: ${fault} (--only ${nameOf(crash)} --seed ${crash.seed})`);
  }
  for (const operation of points) tally.points.set(operation, (tally.points.get(operation) ?? 0) + 1);
};

/** Every request of one scenario, until there was no nth any more. */
const sweep = async (
  pool: NodePool,
  tally: Tally,
  crashes: Pick<Crash, 'scenario' | 'moment' | 'seed'>,
  { stride, permits }: { readonly stride: number; readonly permits: Permits },
): Promise<void> => {
  const { scenario, moment, seed } = crashes;
  const { every = 1 }: Scenario = scenarios[scenario];
  const step = every * stride;
  for (let nth = 1 + (seed % step), isReached = true; isReached; nth += step) {
    const crash = { ...crashes, nth };
    if (nth > mostRequests) throw new Error(`${nameOf(crash)}: there is no end of requests`);
    const outcome = await permits.run(() => runCrash(pool, crash));
    count(tally, crash, outcome);
    isReached = outcome.points.length > 0;
    if (!isReached) console.log(`s3-crash: ${scenario}, ${moment} the effect: no request ${nth}`);
  }
};

const readOnly = (text: string, seed: number): Crash => {
  const [name = '', when, nth] = text.split(':');
  const scenario = (Object.keys(scenarios) as ScenarioName[]).find((key) => key === name);
  const moment = moments.find((each) => each === when);
  if (scenario === undefined || moment === undefined || !(Number(nth) > 0))
    throw new Error(`no crash: ${text}`);
  return { scenario, moment, nth: Number(nth), seed };
};

const sweeps = (): readonly { readonly scenario: ScenarioName; readonly moment: Moment }[] =>
  (Object.keys(scenarios) as ScenarioName[]).flatMap((scenario) =>
    moments.map((moment) => ({ scenario, moment })),
  );

const main = async (): Promise<boolean> => {
  const { values } = parseArgs({
    options: {
      stride: { type: 'string', default: '1' },
      seed: { type: 'string', default: String(randomSeed()) },
      lanes: { type: 'string', default: '6' },
      only: { type: 'string' },
    },
  });
  const [stride, seed, lanes] = [Number(values.stride), Number(values.seed), Number(values.lanes)];
  if (!(stride >= 1 && lanes >= 1)) throw new Error('stride and lanes are at least 1');
  console.log(`s3-crash: stride ${stride}, seed ${seed}`);
  const tally: Tally = {
    runs: 0,
    kills: 0,
    entries: 0,
    abandoned: 0,
    wrongRuns: 0,
    points: new Map(),
  };
  const began = Date.now();
  const pool = new NodePool(values.only === undefined ? 3 : 1);
  try {
    if (values.only !== undefined) {
      const crash = readOnly(values.only, seed);
      count(tally, crash, await runCrash(pool, crash));
    } else {
      const permits = new Permits(lanes);
      await Promise.all(sweeps().map((each) => sweep(pool, tally, { ...each, seed }, { stride, permits })));
    }
  } finally {
    await pool.close();
  }
  const points = [...tally.points].sort(([a], [b]) => a.localeCompare(b));
  console.log(
    `s3-crash: killed at ${points.map(([operation, times]) => `${operation} ${times}`).join(', ')}`,
  );
  console.log(
    `s3-crash: ${tally.runs} runs, ${tally.kills} kills, ${tally.entries} handler entries, ` +
      `${tally.abandoned} uploads begun in vain, ${tally.wrongRuns} wrong, ` +
      `${((Date.now() - began) / 1000).toFixed(1)} s, seed ${seed}`,
  );
  return tally.wrongRuns === 0 && tally.kills > 0;
};

process.exitCode = await main().then(
  (right) => (right ? 0 : 1),
  (error: unknown) => {
    console.error(error);
    return 1;
  },
);
