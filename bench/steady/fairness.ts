import { askFor } from '../lib/ask.ts';
import { fire, startCannon } from '../lib/cannon.ts';
import { Child } from '../lib/child.ts';
import { seededRandom } from '../lib/random.ts';
import { inTurn } from '../lib/trials.ts';
import { namedServerOf, type Variant } from '../steady-variants.ts';
import type { FairnessPlan, FairnessResults, FairnessTrial } from './fairness-report.ts';

// One client in a hurry beside hundreds that are not: how long does it wait for them?

const contentBytes = 1024;
const everyMs = 100;
const warmUpSeconds = 0.5;
/** The slow ones go on until the fast one has certainly ended. */
const longerSeconds = 1;
const startTimeoutMs = 20_000;
const slackMs = 30_000;

const content = Buffer.alloc(contentBytes);
seededRandom(1).fill(content);
const body = content.toString('base64');

const measure = async (
  variant: Variant,
  directory: string,
  { slowUploads, settleSeconds, seconds }: FairnessPlan,
): Promise<Omit<FairnessTrial, 'trial'>> => {
  const { script, args } = namedServerOf(variant);
  const children: Child[] = [];
  const start = (child: Child): Child => {
    children.push(child);
    return child;
  };
  try {
    const server = start(new Child(script, [directory, ...args]));
    const port = await server.port(startTimeoutMs);
    const fast = start(startCannon());
    const slow = start(new Child(new URL('../servers/slow-client.js', import.meta.url), []));
    const load = { port, protocol: variant.protocol, connections: 1, body };
    await fire(fast, { ...load, seconds: warmUpSeconds });
    const alone = await fire(fast, { ...load, seconds });
    const crowd = { port, uploads: slowUploads, protocol: variant.protocol === 'tus' ? 'tus' : 'put' };
    await askFor(slow, 'open', crowd, slackMs);
    const trickle = (time: number): Promise<unknown> =>
      askFor(slow, 'send', { seconds: time, everyMs }, time * 1000 + slackMs);
    // What it costs to make all of them at once is not what is asked here.
    await trickle(settleSeconds);
    // The slow ones are asked too: had one been cut off, the fast one would have had it easy.
    const sending = trickle(seconds + longerSeconds);
    const [beside] = await Promise.all([fire(fast, { ...load, seconds }), sending]);
    return { variant: variant.name, alone, beside };
  } finally {
    await Promise.all(children.map((child) => child.stop()));
  }
};

export const measureFairness = async (
  variants: readonly Variant[],
  fresh: () => Promise<string>,
  plan: FairnessPlan,
): Promise<FairnessResults> => {
  const raw = await inTurn('steady: fairness', variants, plan.trials, async (variant) =>
    measure(variant, await fresh(), plan),
  );
  return { ...plan, contentBytes, everyMs, raw };
};
