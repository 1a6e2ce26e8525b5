import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fire, startCannon } from '../lib/cannon.ts';
import { Child } from '../lib/child.ts';
import { seededRandom } from '../lib/random.ts';
import { inTurn } from '../lib/trials.ts';
import { askUsage, cpuSeconds } from '../lib/usage.ts';
import type { Variant } from '../stores-variants.ts';
import type { SmallResults, SmallTrial } from './small-report.ts';
import { assertContent, countStored } from './stored.ts';

// Small uploads, each created, written and completed by one request: how many a second, and at what cost?

const contentBytes = 1024;
const connections = 32;
const warmUpSeconds = 1;
const startTimeoutMs = 20_000;
/** Work that a server puts off until after its answer is still counted. */
const afterglowMs = 100;

const content = Buffer.alloc(contentBytes);
seededRandom(1).fill(content);
const sha256 = createHash('sha256').update(content).digest('hex');

const measure = async (
  variant: Variant,
  directory: string,
  seconds: number,
): Promise<Omit<SmallTrial, 'trial'>> => {
  const server = new Child(variant.script, [directory, ...variant.args]);
  try {
    const port = await server.port(startTimeoutMs);
    const cannon = startCannon();
    try {
      const load = { port, protocol: variant.protocol, connections, body: content.toString('base64') };
      const warmUp = await fire(cannon, { ...load, seconds: warmUpSeconds });
      const before = await askUsage(server);
      const fired = await fire(cannon, { ...load, seconds });
      await sleep(afterglowMs);
      const after = await askUsage(server);
      const answered = warmUp.answered + fired.answered;
      const stored = await countStored(variant, server, directory, contentBytes);
      // Each of the two runs ends in the middle of one request per connection.
      if (stored < answered || stored > answered + 2 * connections) {
        throw new Error(`${answered} uploads were answered and ${stored} are stored`);
      }
      if (variant.store !== undefined) await assertContent(server, sha256);
      return {
        variant: variant.name,
        answered: fired.answered,
        seconds: fired.seconds,
        cpuSeconds: cpuSeconds(before, after),
        peakRssBytes: after.peakRss,
        p50Ms: fired.p50Ms,
        p99Ms: fired.p99Ms,
      };
    } finally {
      await cannon.stop();
    }
  } finally {
    await server.stop();
  }
};

export const measureSmall = async (
  variants: readonly Variant[],
  fresh: () => Promise<string>,
  { trials, seconds }: { readonly trials: number; readonly seconds: number },
): Promise<SmallResults> => {
  const raw = await inTurn('stores: small uploads', variants, trials, async (variant) =>
    measure(variant, await fresh(), seconds),
  );
  return { contentBytes, connections, warmUpSeconds, seconds, trials, raw };
};
