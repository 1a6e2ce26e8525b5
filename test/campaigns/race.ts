// Fifty clients complete one upload at the same moment, at several processes, again and again: the handler is
// entered once, or again only after it failed, and everybody ends with the one answer.
//
//     npm run test:race -- [--runs 100] [--seed N] [--stores fs,sqlite] [--processes 3]
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Random, randomSeed, seededRandom } from '../../bench/lib/random.ts';
import { type How, RaceTrack } from '../support/race.ts';

const chosenHow = (random: Random): How =>
  random.pick(['answer', 'answer', 'answer', 'answer', 'refuse', 'throw', 'fail', 'hang']);

const campaign = async (store: string, runs: number, seed: number, processes: number): Promise<boolean> => {
  const directory = await mkdtemp(join(tmpdir(), 'race-'));
  const track = await RaceTrack.open(store, directory, processes);
  const interrupt = (): void => void track.close();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  const tally = new Map<How, number>();
  let wrong = 0;
  let waited = 0;
  let cut = 0;
  try {
    for (let run = 0; run < runs; run++) {
      const random = seededRandom(seed + run);
      const how = chosenHow(random);
      const outcome = await track.run(how, random);
      tally.set(how, (tally.get(how) ?? 0) + 1);
      waited += outcome.waited;
      cut += outcome.cut;
      wrong += outcome.wrong.length;
      for (const fault of outcome.wrong) {
        console.error(`wrong: ${store}, ${how}: ${fault} (--runs 1 --seed ${seed + run})`);
      }
    }
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    await track.close();
    await rm(directory, { recursive: true, force: true });
  }
  const kinds = [...tally].map(([how, count]) => `${count} ${how}`).join(', ');
  console.log(
    `race: ${store}, ${processes} processes: ${runs} runs of 50 clients (${kinds}), ` +
      `${waited} clients were told to come back, ${cut} were cut, ${wrong} wrong, seed ${seed}`,
  );
  return wrong === 0;
};

const main = async (): Promise<boolean> => {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '100' },
      seed: { type: 'string', default: String(randomSeed()) },
      stores: { type: 'string', default: 'fs,sqlite' },
      processes: { type: 'string', default: '3' },
    },
  });
  let right = true;
  for (const store of values.stores.split(',')) {
    const isRight = await campaign(store, Number(values.runs), Number(values.seed), Number(values.processes));
    right = right && isRight;
  }
  return right;
};

process.exitCode = await main().then(
  (right) => (right ? 0 : 1),
  (error: unknown) => {
    console.error(error);
    return 1;
  },
);
