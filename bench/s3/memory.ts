import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Child } from '../lib/child.ts';
import { primePageCache } from '../lib/prime.ts';
import { askUsage, cpuSeconds } from '../lib/usage.ts';
import type { ServerVariant } from '../s3-variants.ts';
import { Client } from './client.ts';
import type { MemoryResults, MemoryTrial } from './memory-report.ts';
import { interleaved, type Place, type RunTrial } from './plan.ts';
import { watchFiles } from './temporary-files.ts';

// Many uploads at once, more of them than the memory budget holds parts: what do they take of memory and of disk?

const MiB = 2 ** 20;
const memoryBudget = 64 * MiB;
const primeSlackBytes = 512 * MiB;
const startTimeoutMs = 20_000;

export interface MemoryPlan {
  readonly trials: number;
  readonly uploads: number;
  readonly sizeMiB: number;
}

/** The budget is told to ours, though it is the default; nobody else has one. */
const argsOf = ({ key, args }: ServerVariant): readonly string[] =>
  key === 'ours' ? [...args, String(memoryBudget)] : args;

const measure = async (
  variant: ServerVariant,
  { bucket, directory }: Place,
  { uploads, sizeMiB }: MemoryPlan,
): Promise<Omit<MemoryTrial, 'trial' | 'variant'>> => {
  const size = sizeMiB * MiB;
  const temporary = join(directory, 'temporary');
  await mkdir(temporary);
  const server = new Child(variant.script, argsOf(variant), { ...bucket.env, TMPDIR: temporary });
  const client = new Client(variant);
  try {
    const port = await server.port(startTimeoutMs);
    // One of the kind: its code is loaded, compiled and connected, and its buffers have been made once.
    await client.upload(port, size);
    await primePageCache(directory, 2 * uploads * size + primeSlackBytes);
    const before = await askUsage(server);
    const { result: elapsedMs, seen } = await watchFiles(temporary, () => client.upload(port, size, uploads));
    const after = await askUsage(server);
    await bucket.assertStored(size, 1 + uploads);
    return {
      elapsedMs,
      cpuSeconds: cpuSeconds(before, after),
      rssBeforeBytes: before.rss,
      peakRssBytes: after.peakRss,
      temporary: seen,
    };
  } finally {
    await client.stop();
    await server.stop();
  }
};

export const measureMemory = async (
  servers: readonly ServerVariant[],
  runTrial: RunTrial,
  plan: MemoryPlan,
): Promise<MemoryResults> => {
  const raw = await interleaved(`${plan.uploads} uploads at once`, servers, plan.trials, (variant) =>
    runTrial((place) => measure(variant, place, plan)),
  );
  return { ...plan, memoryBudget, raw };
};
