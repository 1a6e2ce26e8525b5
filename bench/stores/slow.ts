import { askFor } from '../lib/ask.ts';
import { Child } from '../lib/child.ts';
import { inTurn } from '../lib/trials.ts';
import { askUsage, cpuSeconds } from '../lib/usage.ts';
import { namedServer, type StoreKind } from '../stores-variants.ts';
import type { SlowLoad, SlowResults, SlowTrial } from './slow-report.ts';

// Many uploads that trickle in, all at once: what do they hold of the server's memory?

const startTimeoutMs = 20_000;
const walkTimeoutMs = 120_000;
/** To connect them all, and beside the time they send. */
const slackMs = 60_000;

export interface SlowPlan extends SlowLoad {
  readonly trials: number;
}

interface Sent {
  readonly leastBytes: number;
}

interface Received {
  readonly uploads: number;
  readonly leastBytes: number;
}

export const measureSlowOnce = async (
  store: StoreKind,
  directory: string,
  { uploads, seconds, everyMs }: SlowLoad,
): Promise<Omit<SlowTrial, 'trial'>> => {
  const { script, args } = namedServer(store, directory);
  const server = new Child(script, args);
  try {
    const port = await server.port(startTimeoutMs);
    const client = new Child(new URL('../servers/slow-client.js', import.meta.url), []);
    try {
      const before = await askUsage(server);
      await askFor(client, 'open', { port, uploads }, slackMs);
      const sent = await askFor<Sent>(client, 'send', { seconds, everyMs }, seconds * 1000 + slackMs);
      const after = await askUsage(server);
      // All connections are open still, so this is the middle of the uploads and not what became of them.
      const received = await askFor<Received>(server, 'received', true, walkTimeoutMs);
      if (received.uploads !== uploads || received.leastBytes === 0) {
        const { uploads: found, leastBytes } = received;
        throw new Error(`${store}: of ${uploads} uploads ${found} exist, with ${leastBytes} bytes or more`);
      }
      return {
        store,
        sentBytesEach: sent.leastBytes,
        storedBytesEach: received.leastBytes,
        cpuSeconds: cpuSeconds(before, after),
        rssBeforeBytes: before.rss,
        peakRssBytes: after.peakRss,
      };
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
};

export const measureSlow = async (
  stores: readonly StoreKind[],
  fresh: () => Promise<string>,
  plan: SlowPlan,
): Promise<SlowResults> => {
  const cases = stores.map((name) => ({ name }));
  const raw = await inTurn('stores: slow uploads', cases, plan.trials, async ({ name }) =>
    measureSlowOnce(name, await fresh(), plan),
  );
  return { ...plan, raw };
};
