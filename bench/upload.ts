import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from './lib/child.ts';
import type { BenchOptions } from './lib/options.ts';
import { primePageCache } from './lib/prime.ts';
import { conditionsOf } from './lib/report.ts';
import { writeResults } from './lib/results.ts';
import { allocatedBytes, settle, withScratch } from './lib/scratch.ts';
import { inTurn } from './lib/trials.ts';
import { askUsage, cpuSeconds } from './lib/usage.ts';
import { chosenVariants } from './lib/variants.ts';
import { summaries, type Trial, uploadReport } from './upload-report.ts';
import { type Variant, variants } from './upload-variants.ts';

// One stream, one POST, over loopback: how fast does a server take an upload, and what does that cost it?

const MiB = 2 ** 20;
const warmUpBytes = 8 * MiB;
/** Beside the upload itself: both processes' heaps and socket buffers. */
const primeSlackBytes = 512 * MiB;
const startTimeoutMs = 20_000;
const uploadTimeoutMs = 600_000;
/** Work that a server puts off until after its answer is still counted. */
const afterglowMs = 100;

interface Uploaded {
  readonly elapsedMs: number;
  readonly status: number;
  readonly body: string;
}

/** Uploads `size` bytes; resolves with the milliseconds it took, if the answer was right. */
const upload = async (client: Child, variant: Variant, port: number, size: number): Promise<number> => {
  const message = { upload: { port, size, protocol: variant.protocol } };
  const answer = (await client.ask(message, uploadTimeoutMs)) as { uploaded?: Uploaded; failed?: string };
  if (answer.uploaded === undefined) throw new Error(`${variant.name}: ${answer.failed}`);
  const { status, body, elapsedMs } = answer.uploaded;
  // A server that fails fast must not look like one that is fast.
  if (status !== 200 || body !== String(size)) {
    throw new Error(`${variant.name}: expected 200 and "${size}", got ${status} and ${JSON.stringify(body)}`);
  }
  return elapsedMs;
};

const measure = async (variant: Variant, directory: string, size: number): Promise<Omit<Trial, 'trial'>> => {
  const server = new Child(variant.script, [directory, ...variant.args]);
  try {
    const port = await server.port(startTimeoutMs);
    const client = new Child(new URL('./servers/client.js', import.meta.url), []);
    try {
      await upload(client, variant, port, warmUpBytes);
      // As late as can be: what is freed here goes back to the host within seconds.
      await primePageCache(directory, size + primeSlackBytes);
      const before = await askUsage(server);
      const elapsedMs = await upload(client, variant, port, size);
      await sleep(afterglowMs);
      const after = await askUsage(server);
      // The client still holds its connection, so nothing has had a reason yet to remove the upload.
      if (variant.stores && (await allocatedBytes(directory)) < size) {
        throw new Error(`${variant.name}: answered for ${size} bytes that are not in its directory`);
      }
      return {
        variant: variant.name,
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

export const run = async (options: BenchOptions): Promise<void> => {
  const chosen = chosenVariants(variants, options.variants);
  const trialCount = options.trials ?? (options.quick ? 2 : 5);
  const sizeMiB = options.sizeMiB ?? (options.quick ? 256 : 1024);
  const startedAt = new Date();
  await settle();
  const trials = await inTurn('upload', chosen, trialCount, (variant) =>
    withScratch((directory) => measure(variant, directory, sizeMiB * MiB)),
  );
  const conditions = {
    ...(await conditionsOf(options.command, startedAt)),
    sizeMiB,
    trials: trialCount,
  };
  console.log(uploadReport(conditions, trials));
  if (options.json) {
    const file = await writeResults('upload', {
      ...conditions,
      summary: summaries(trials, sizeMiB),
      raw: trials,
    });
    console.log(`\nraw trials: ${file}`);
  }
};
