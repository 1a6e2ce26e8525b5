import { setTimeout as sleep } from 'node:timers/promises';
import { type Fired, fire, startCannon } from '../lib/cannon.ts';
import { Child } from '../lib/child.ts';
import { randomBytes, uncut } from '../lib/cut-schedules.ts';
import { type InterruptionStats, interruptingProxy } from '../lib/interrupting-proxy.ts';
import { type Random, seededRandom } from '../lib/random.ts';
import { inTurn } from '../lib/trials.ts';
import { countStored } from '../stores/stored.ts';
import type { Variant } from '../stores-variants.ts';
import type { SmallCutsResults, SmallCutsTrial } from './small-report.ts';

// Many small uploads over connections that are cut: here nobody resumes, and no answer may be a lie.

const contentBytes = 1024;
const connections = 32;
const meanBytes = 64 * 1024;
const warmUpSeconds = 1;
const startTimeoutMs = 20_000;
/** Uploads whose last byte has arrived are still stored after their connection is gone. */
const afterglowMs = 200;

const content = Buffer.alloc(contentBytes);
seededRandom(1).fill(content);
const body = content.toString('base64');

interface Shot {
  readonly fired: Fired;
  readonly stats: InterruptionStats;
  /** Beyond those that were stored before. */
  readonly stored: number;
}

const measure = async (
  variant: Variant,
  directory: string,
  random: Random,
  seconds: number,
): Promise<Omit<SmallCutsTrial, 'trial'>> => {
  const server = new Child(variant.script, [directory, ...variant.args]);
  const cannon = startCannon();
  try {
    const target = await server.port(startTimeoutMs);
    const load = { protocol: variant.protocol, connections, body };
    const count = () => countStored(variant, server, directory, contentBytes);
    const shoot = async (isCut: boolean): Promise<Shot> => {
      const before = await count();
      const schedule = isCut ? randomBytes(meanBytes, 'rst', 'fin') : uncut;
      const proxy = await interruptingProxy({ target, schedule, random });
      let fired: Fired;
      try {
        fired = await fire(cannon, { ...load, port: proxy.port, seconds, isCut });
      } finally {
        await proxy.close();
      }
      await sleep(afterglowMs);
      return { fired, stats: proxy.stats, stored: (await count()) - before };
    };
    await fire(cannon, { ...load, port: target, seconds: warmUpSeconds });
    await sleep(afterglowMs);
    const plain = await shoot(false);
    const { fired, stats, stored } = await shoot(true);
    // At its end each connection has one request under way that may or may not be stored.
    if (stored < fired.answered || stored > fired.sent + connections) {
      throw new Error(`${fired.answered} of ${fired.sent} uploads were answered and ${stored} are stored`);
    }
    return {
      variant: variant.name,
      plainAnswered: plain.fired.answered,
      plainSeconds: plain.fired.seconds,
      answered: fired.answered,
      seconds: fired.seconds,
      p99Ms: fired.p99Ms,
      cuts: stats.cuts.rst + stats.cuts.fin,
      unanswered: fired.sent - fired.answered,
      storedUnanswered: stored - fired.answered,
      brokenOff: stats.brokenOff.length + plain.stats.brokenOff.length,
    };
  } finally {
    await cannon.stop();
    await server.stop();
  }
};

export const measureSmallCuts = async (
  variants: readonly Variant[],
  fresh: () => Promise<string>,
  random: Random,
  { trials, seconds }: { readonly trials: number; readonly seconds: number },
): Promise<SmallCutsResults> => {
  const raw = await inTurn('interruption: small uploads', variants, trials, async (variant) =>
    measure(variant, await fresh(), random, seconds),
  );
  return { contentBytes, connections, meanBytes, seconds, trials, raw };
};
