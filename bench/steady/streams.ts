import { setTimeout as sleep } from 'node:timers/promises';
import { askFor } from '../lib/ask.ts';
import { Child } from '../lib/child.ts';
import { primePageCache } from '../lib/prime.ts';
import { allocatedBytes, emptyFiles } from '../lib/scratch.ts';
import { inTurn } from '../lib/trials.ts';
import { askUsage, cpuSeconds } from '../lib/usage.ts';
import type { Variant } from '../steady-variants.ts';
import { countStored } from '../stores/stored.ts';
import type { StreamsCell, StreamsPlan, StreamsResults, StreamsTrial } from './streams-report.ts';

// Several streams at once, each with one upload after the other: what a server takes, by their number and size.

const MiB = 2 ** 20;
const startTimeoutMs = 20_000;
/** Beyond the time that is planned: one upload of the largest size, by the slowest. */
const slackMs = 300_000;
/** Work that a server puts off until after its answer is still counted. */
const afterglowMs = 100;
/** A longer body warms nothing up that this one does not. */
const mostWarmUpBytes = 8 * MiB;
const warmUpSeconds = 0.5;
const warmUpBytes = 128 * MiB;
/** Beside the uploads themselves: both processes' heaps and socket buffers. */
const primeSlackBytes = 256 * MiB;
/** What is more than the system keeps before it writes back, priming cannot keep either. */
const mostPrimeBytes = 2048 * MiB;

interface Uploaded {
  readonly answered: number;
  readonly elapsedMs: number;
}

const atLeastOneEach = (bytes: number, total: number, streams: number): number =>
  Math.max(streams, Math.floor(total / bytes));

const measure = async (
  variant: Variant,
  directory: string,
  { bytes, streams }: StreamsCell,
  { seconds, cellBytes }: StreamsPlan,
): Promise<Omit<StreamsTrial, 'trial'>> => {
  const server = new Child(variant.script, [directory, ...variant.args]);
  try {
    const port = await server.port(startTimeoutMs);
    const client = new Child(new URL('../servers/streams-client.js', import.meta.url), []);
    try {
      const upload = (size: number, time: number, uploads: number): Promise<Uploaded> => {
        const load = { port, protocol: variant.protocol, streams, bytes: size, seconds: time, uploads };
        return askFor<Uploaded>(client, 'upload', load, time * 1000 + slackMs);
      };
      const warmUpSize = Math.min(bytes, mostWarmUpBytes);
      const warmUp = await upload(
        warmUpSize,
        warmUpSeconds,
        atLeastOneEach(warmUpSize, Math.min(warmUpBytes, cellBytes), streams),
      );
      const uploads = atLeastOneEach(bytes, cellBytes, streams);
      // As late as can be: what is freed here goes back to the host within seconds.
      await primePageCache(directory, Math.min(uploads * bytes + primeSlackBytes, mostPrimeBytes));
      const before = await askUsage(server);
      const { answered, elapsedMs } = await upload(bytes, seconds, uploads);
      await sleep(afterglowMs);
      const after = await askUsage(server);
      const isCounted = variant.keeps !== 'files' || warmUpSize === bytes;
      const expected = answered + (isCounted ? warmUp.answered : 0);
      const stored = await countStored(variant, server, directory, bytes);
      if (stored !== expected) throw new Error(`${expected} uploads were answered and ${stored} are stored`);
      if ((await allocatedBytes(directory)) < answered * bytes) {
        throw new Error(`answered for ${answered * bytes} bytes that are not in its directory`);
      }
      return {
        variant: variant.name,
        bytes,
        streams,
        answered,
        elapsedMs,
        cpuSeconds: cpuSeconds(before, after),
        peakRssBytes: after.peakRss,
      };
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
};

export const measureStreams = async (
  variants: readonly Variant[],
  fresh: () => Promise<string>,
  plan: StreamsPlan,
): Promise<StreamsResults> => {
  const cases = plan.cells.flatMap((cell) =>
    variants.map((variant) => {
      const name = `${cell.streams} × ${cell.bytes} bytes, ${variant.name}`;
      return { cell, variant, name };
    }),
  );
  const raw = await inTurn('steady: streams', cases, plan.trials, async ({ cell, variant }) => {
    const directory = await fresh();
    const measured = await measure(variant, directory, cell, plan);
    await emptyFiles(directory);
    return measured;
  });
  return { ...plan, raw };
};
