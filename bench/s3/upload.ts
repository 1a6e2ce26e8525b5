import { setTimeout as sleep } from 'node:timers/promises';
import { askFor } from '../lib/ask.ts';
import { Child } from '../lib/child.ts';
import { primePageCache } from '../lib/prime.ts';
import { askUsage, cpuSeconds } from '../lib/usage.ts';
import { serversOf, type Variant } from '../s3-variants.ts';
import { Client } from './client.ts';
import { interleaved, type Place, type RunTrial } from './plan.ts';
import type { UploadResults, UploadTrial } from './upload-report.ts';

// One upload, from the first byte a client sends to the answer that says it is in the bucket.

const MiB = 2 ** 20;
/** Some parts, and of a size that no `--size` can be: the objects are told apart by theirs. */
const warmUpBytes = 20 * MiB + 1;
/** Beside the content, once in the S3 server and once in temporary files: heaps and socket buffers. */
const primeSlackBytes = 512 * MiB;
const startTimeoutMs = 20_000;
const uploadTimeoutMs = 600_000;
/** Work that is put off until after the answer is still counted. */
const afterglowMs = 100;

interface Uploader {
  /** The process that is measured. */
  readonly process: Child;
  /** Resolves with the milliseconds it took. */
  upload(size: number): Promise<number>;
  stop(): Promise<void>;
}

const startServer = async (variant: Variant, { bucket, directory }: Place): Promise<Uploader | undefined> => {
  const [server] = serversOf([variant]);
  if (server === undefined) return undefined;
  const process = new Child(server.script, server.args, { ...bucket.env, TMPDIR: directory });
  const client = new Client(server);
  const stop = async (): Promise<void> => {
    await client.stop();
    await process.stop();
  };
  try {
    const port = await process.port(startTimeoutMs);
    return { process, upload: (size) => client.upload(port, size), stop };
  } catch (error) {
    await stop();
    throw error;
  }
};

/** One that makes the bytes itself. */
const startAlone = ({ script, args }: Variant, { bucket, directory }: Place): Uploader => {
  const process = new Child(script, args, { ...bucket.env, TMPDIR: directory });
  return {
    process,
    async upload(size) {
      const { elapsedMs } = await askFor<{ elapsedMs: number }>(process, 'upload', { size }, uploadTimeoutMs);
      return elapsedMs;
    },
    stop: () => process.stop(),
  };
};

const measure = async (
  variant: Variant,
  place: Place,
  size: number,
): Promise<Omit<UploadTrial, 'trial' | 'variant'>> => {
  const uploader = (await startServer(variant, place)) ?? startAlone(variant, place);
  try {
    await uploader.upload(warmUpBytes);
    // As late as can be: what is freed here goes back to the host within seconds.
    await primePageCache(place.directory, 2 * size + primeSlackBytes);
    const before = await askUsage(uploader.process);
    const elapsedMs = await uploader.upload(size);
    await sleep(afterglowMs);
    const after = await askUsage(uploader.process);
    await place.bucket.assertStored(size);
    return { elapsedMs, cpuSeconds: cpuSeconds(before, after), peakRssBytes: after.peakRss };
  } finally {
    await uploader.stop();
  }
};

export const measureUpload = async (
  chosen: readonly Variant[],
  runTrial: RunTrial,
  { trials, sizeMiB }: { readonly trials: number; readonly sizeMiB: number },
): Promise<UploadResults> => {
  const raw = await interleaved('upload', chosen, trials, (variant) =>
    runTrial((place) => measure(variant, place, sizeMiB * MiB)),
  );
  return { sizeMiB, trials, raw };
};
