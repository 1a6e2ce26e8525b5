import { clientReport, summaries } from './client-report.ts';
import { type Variant, variants } from './client-variants.ts';
import { Child } from './lib/child.ts';
import type { BenchOptions } from './lib/options.ts';
import { primePageCache } from './lib/prime.ts';
import { conditionsOf } from './lib/report.ts';
import { writeResults } from './lib/results.ts';
import { settle, withScratch } from './lib/scratch.ts';
import { inTurn } from './lib/trials.ts';
import { chosenVariants } from './lib/variants.ts';

// What does the library's client cost beside the least that can be done: the same bytes, written to sockets that know
// where they go, to the same server?

const MiB = 2 ** 20;
const warmUpBytes = 8 * MiB;
const primeSlackBytes = 512 * MiB;
const startTimeoutMs = 20_000;
const uploadTimeoutMs = 600_000;
interface Uploaded {
  readonly elapsedMs: number;
  readonly cpuSeconds: number;
  readonly status: number;
  readonly body: string;
}

const upload = async (client: Child, variant: Variant, port: number, size: number): Promise<Uploaded> => {
  const { bare, fromFile, connections } = variant;
  const message = { upload: { port, size, bare, fromFile, connections } };
  const answer = (await client.ask(message, uploadTimeoutMs)) as { uploaded?: Uploaded; failed?: string };
  if (answer.uploaded === undefined) throw new Error(`${variant.name}: ${answer.failed}`);
  const { status, body } = answer.uploaded;
  if (status !== 200 || body !== String(size)) {
    throw new Error(`${variant.name}: expected 200 and "${size}", got ${status} and ${JSON.stringify(body)}`);
  }
  return answer.uploaded;
};

const measure = async (variant: Variant, directory: string, size: number): Promise<Uploaded> => {
  const server = new Child(new URL('./servers/ours.js', import.meta.url), [directory, 'process']);
  try {
    const port = await server.port(startTimeoutMs);
    const client = new Child(new URL('./servers/uploading-client.js', import.meta.url), [directory]);
    try {
      await upload(client, variant, port, warmUpBytes);
      await client.ask({ prepare: { size, fromFile: variant.fromFile } }, uploadTimeoutMs);
      await primePageCache(directory, size + primeSlackBytes);
      return await upload(client, variant, port, size);
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
};

export const run = async (options: BenchOptions): Promise<void> => {
  const chosen = chosenVariants(variants, options.variants);
  const trials = options.trials ?? (options.quick ? 2 : 5);
  const sizeMiB = options.sizeMiB ?? (options.quick ? 256 : 1024);
  const startedAt = new Date();
  await settle();
  const raw = await inTurn('client', chosen, trials, (variant) =>
    withScratch(async (directory) => {
      const { elapsedMs, cpuSeconds } = await measure(variant, directory, sizeMiB * MiB);
      return { variant: variant.name, elapsedMs, cpuSeconds };
    }),
  );
  const conditions = { ...(await conditionsOf(options.command, startedAt)), sizeMiB, trials };
  const results = { ...conditions, summary: summaries(raw, sizeMiB), raw };
  console.log(clientReport(results));
  if (options.json) console.log(`\nraw trials: ${await writeResults('client', results)}`);
};
