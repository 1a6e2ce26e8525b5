import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { type DownloadResults, downloadReport, type RangesTrial, summaries } from './download-report.ts';
import { type Variant, variants } from './download-variants.ts';
import { askFor } from './lib/ask.ts';
import { Child } from './lib/child.ts';
import type { BenchOptions } from './lib/options.ts';
import { chosenParts } from './lib/parts.ts';
import { seededRandom } from './lib/random.ts';
import { conditionsOf } from './lib/report.ts';
import { writeResults } from './lib/results.ts';
import { settle, withScratch } from './lib/scratch.ts';
import { inTurn } from './lib/trials.ts';
import { askUsage, cpuSeconds } from './lib/usage.ts';
import { chosenVariants } from './lib/variants.ts';

// One large file over loopback: whole, and in many small pieces. It stays in the page cache, for what is measured is the
// server, not the disk.

const MiB = 2 ** 20;
const startTimeoutMs = 20_000;
const answerTimeoutMs = 120_000;
const rangeBytes = 4096;
const rangeCount = 1000;
const connections = 32;
/** Not counted: the server compiles its hot path meanwhile. */
const warmUpSeconds = 1;
const seed = 20_261;

const parts = ['stream', 'ranges'] as const;
type Part = (typeof parts)[number];

interface Load {
  readonly port: number;
  readonly size: number;
  readonly starts: readonly number[];
  readonly seconds: number;
}

/** Every aligned word of the file is its own position: the client knows what has to come. */
const writeFile = async (path: string, size: number): Promise<void> => {
  const block = new BigUint64Array(MiB / 8);
  const file = await open(path, 'w');
  try {
    for (let at = 0; at < size; at += MiB) {
      for (let i = 0; i < block.length; i++) block[i] = BigInt(at + i * 8);
      await file.write(new Uint8Array(block.buffer));
    }
    await file.sync();
  } finally {
    await file.close();
  }
};

/** Reads it once, so that whoever is measured next finds it in memory. */
const warm = async (path: string): Promise<void> => {
  const file = await open(path);
  const buffer = Buffer.alloc(MiB);
  try {
    while ((await file.read(buffer)).bytesRead > 0);
  } finally {
    await file.close();
  }
};

const withServer = async <T>(
  { script }: Variant,
  directory: string,
  use: (server: Child, client: Child, port: number) => Promise<T>,
): Promise<T> => {
  const server = new Child(script, [directory]);
  try {
    const port = await server.port(startTimeoutMs);
    const client = new Child(new URL('./servers/download-client.js', import.meta.url), []);
    try {
      return await use(server, client, port);
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
};

/** Asks the client for one load between two looks at what the server has used. */
const loaded = async <T extends object>(server: Child, client: Child, part: Part, load: object) => {
  const before = await askUsage(server);
  const result = await askFor<T>(client, part, load, answerTimeoutMs);
  const after = await askUsage(server);
  return { result, cpuSeconds: cpuSeconds(before, after), peakRssBytes: after.peakRss };
};

const measureStream = async (server: Child, client: Child, { port, size }: Load) => {
  // A short answer first: connections, and the code of a request.
  await askFor(
    client,
    'ranges',
    { port, starts: [0], bytes: 4096, connections: 1, seconds: 0.2 },
    answerTimeoutMs,
  );
  const { result, ...used } = await loaded<{ elapsedMs: number }>(server, client, 'stream', { port, size });
  return { ...result, ...used };
};

const measureRanges = async (server: Child, client: Child, { port, starts, seconds }: Load) => {
  const load = { port, starts, bytes: rangeBytes, connections };
  await askFor(client, 'ranges', { ...load, seconds: warmUpSeconds }, answerTimeoutMs);
  type Fired = Pick<RangesTrial, 'answered' | 'seconds' | 'p50Ms' | 'p99Ms'>;
  const { result, cpuSeconds: used } = await loaded<Fired>(server, client, 'ranges', { ...load, seconds });
  return { ...result, cpuSeconds: used };
};

export const run = async (options: BenchOptions): Promise<void> => {
  const chosen = chosenVariants(variants, options.variants);
  const wanted = new Set(chosenParts(options.parts, { all: parts }));
  const trials = options.trials ?? (options.quick ? 2 : 5);
  const sizeMiB = options.sizeMiB ?? (options.quick ? 128 : 1024);
  const seconds = options.durationSeconds ?? (options.quick ? 1 : 8);
  const size = sizeMiB * MiB;
  const random = seededRandom(seed);
  const starts = Array.from({ length: rangeCount }, () => random.below(size - rangeBytes));
  const startedAt = new Date();
  const withFile = <T>(measure: (directory: string, path: string) => Promise<T>): Promise<T> =>
    withScratch(async (directory) => {
      const path = join(directory, 'file');
      await writeFile(path, size);
      return measure(directory, path);
    });
  await settle();
  const raw = await withFile(async (directory, path) => {
    const measured = async <T>(
      part: Part,
      measure: (server: Child, client: Child, load: Load) => Promise<T>,
    ) =>
      !wanted.has(part)
        ? []
        : inTurn(`download: ${part}`, chosen, trials, async (variant) => {
            await warm(path);
            return withServer(variant, directory, async (server, client, port) => ({
              variant: variant.name,
              ...(await measure(server, client, { port, size, starts, seconds })),
            }));
          });
    return {
      stream: await measured('stream', measureStream),
      ranges: await measured('ranges', measureRanges),
    };
  });
  const results: DownloadResults = {
    ...(await conditionsOf(options.command, startedAt)),
    sizeMiB,
    trials,
    seconds,
    connections,
    rangeCount,
    rangeBytes,
    summary: summaries(raw, sizeMiB),
    raw,
  };
  console.log(downloadReport(results));
  if (options.json) console.log(`\nraw trials: ${await writeResults('download', results)}`);
};
