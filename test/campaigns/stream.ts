// Random uploads in stream mode to two processes over one store: clients are cut, processes are killed with -9 and
// started again. Every upload is answered, by a handler that has read exactly what was sent; and the handler is entered
// again only where its process was killed.
//
//     npm run test:stream -- [--runs 200] [--seed N] [--stores fs,sqlite] [--clients 4]
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { randomSeed, seededRandom } from '../../bench/lib/random.ts';
import { StreamTrack } from '../support/stream-track.ts';
import type { StreamStore } from '../support/streaming.ts';

const campaign = async (
  store: StreamStore,
  runs: number,
  seed: number,
  clients: number,
): Promise<boolean> => {
  const directory = await mkdtemp(join(tmpdir(), 'streaming-'));
  const track = await StreamTrack.open(store, directory);
  const interrupt = (): void => void track.close().finally(() => process.exit(1));
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  let wrong = 0;
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < runs) {
      const run = next++;
      for (const fault of await track.run(seededRandom(seed + run))) {
        wrong++;
        console.error(
          `wrong: ${store}: ${fault} (--runs 1 --clients 1 --stores ${store} --seed ${seed + run})`,
        );
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: clients }, client));
    await track.close();
    for (const fault of [...track.failures, ...(await track.unanswered())]) {
      wrong++;
      console.error(`wrong: ${store}: ${fault}`);
    }
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    await track.close();
    await rm(directory, { recursive: true, force: true });
  }
  const { equal, cuts, kills, attempts } = track.tally;
  const by = [...attempts].sort().map(([attempt, count]) => `${count} by attempt ${attempt}`);
  console.log(
    `stream: ${store}: ${runs} uploads, ${cuts} cuts, ${kills} kills, ${equal} right (${by.join(', ')}), ` +
      `${wrong} wrong, seed ${seed}`,
  );
  return wrong === 0 && equal === runs;
};

const main = async (): Promise<boolean> => {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '200' },
      seed: { type: 'string', default: String(randomSeed()) },
      stores: { type: 'string', default: 'fs,sqlite' },
      clients: { type: 'string', default: '4' },
    },
  });
  const { runs, seed, stores, clients } = values;
  let right = true;
  for (const store of stores.split(',') as StreamStore[]) {
    const isRight = await campaign(store, Number(runs), Number(seed), Number(clients));
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
