// Several server processes over one bucket, killed with SIGKILL throughout, and clients whose every request lands on
// another of them: sums are equal, the handler is entered again only where its process was killed, and after gc the
// bucket holds nothing that is not needed.
//
//     npm run test:s3-nodes -- [--uploads 40] [--seed N] [--nodes 3] [--clients 3]
//
// On the double, or with `tsx test/s3-servers/run.ts -- npm run test:s3-nodes` on each server that could be started.
import { parseArgs } from 'node:util';
import { randomSeed } from '../../bench/lib/random.ts';
import { type S3Target, s3Targets } from '../s3-servers/targets.ts';
import { runNodes } from '../support/s3-nodes-run.ts';

const campaign = async (target: S3Target | undefined, seed: number, counts: Counts): Promise<boolean> => {
  const name = target?.name ?? 'double';
  console.log(`s3-nodes: ${name}, seed ${seed}`);
  const began = Date.now();
  const { wrong, equal, kills, requests, repeated, removed } = await runNodes({ ...counts, seed, target });
  for (const fault of wrong) console.error(`wrong: ${name}: ${fault} (--seed ${seed})`);
  console.log(
    `s3-nodes: ${name}, ${counts.nodes} nodes: ${counts.uploads} uploads in ${requests} requests, ${kills} kills, ` +
      `${equal} equal sums, ${repeated} handlers entered again, ${wrong.length} wrong, ` +
      `${((Date.now() - began) / 1000).toFixed(1)} s, seed ${seed}; removed: ${JSON.stringify(removed)}`,
  );
  return wrong.length === 0 && equal === counts.uploads;
};

interface Counts {
  readonly uploads: number;
  readonly nodes: number;
  readonly clients: number;
}

const main = async (): Promise<boolean> => {
  const { values } = parseArgs({
    options: {
      uploads: { type: 'string', default: '40' },
      seed: { type: 'string', default: String(randomSeed()) },
      nodes: { type: 'string', default: '3' },
      clients: { type: 'string', default: '3' },
    },
  });
  const counts = {
    uploads: Number(values.uploads),
    nodes: Number(values.nodes),
    clients: Number(values.clients),
  };
  const targets = s3Targets();
  let right = true;
  for (const target of targets.length > 0 ? targets : [undefined]) {
    const isRight = await campaign(target, Number(values.seed), counts);
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
