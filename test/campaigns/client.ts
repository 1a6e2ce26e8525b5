// The library's client uploads through a network that keeps failing, to a server that keeps restarting, everything it
// can upload in every way it can: what arrives is what was sent.
//
//     npm run test:client -- [--runs 200] [--seed N]
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type CutMeans, cuttingProxy, randomCuts } from '../../bench/lib/cutting-proxy.ts';
import type { Random } from '../../bench/lib/random.ts';
import { type UploadOptions, type UploadResult, type UploadSource, upload } from '../../src/client/index.ts';
import { makeRuns, readCampaign } from '../support/campaign.ts';
import { CyclingServer } from '../support/cycling-server.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

type SourceKind = 'file' | 'bytes' | 'blob' | 'stream' | 'web stream' | 'array' | 'array with a stream';
const kinds: readonly [SourceKind, ...SourceKind[]] = [
  'file',
  'bytes',
  'blob',
  'stream',
  'web stream',
  'array',
  'array with a stream',
];

const pieces = (bytes: Buffer, random: Random): Buffer[] => {
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + random.below(200_000);
    out.push(bytes.subarray(at, at + size));
    at += size;
  }
  return out;
};

/** A new one each time: streams are read once only. */
const sourceOf = async (
  kind: SourceKind,
  bytes: Buffer,
  folder: string,
  random: Random,
): Promise<() => UploadSource> => {
  const parts = pieces(bytes, random);
  const path = join(folder, 'content');
  await writeFile(path, bytes);
  const half = parts.slice(0, parts.length >> 1);
  const rest = parts.slice(parts.length >> 1);
  switch (kind) {
    case 'file':
      return () => path;
    case 'bytes':
      return () => bytes;
    case 'blob':
      return () => new Blob(parts.map((part) => new Uint8Array(part)));
    case 'stream':
      return () => Readable.from(parts);
    case 'web stream':
      return () => new Blob([new Uint8Array(bytes)]).stream();
    case 'array':
      return () => [...half, new Blob(rest.map((part) => new Uint8Array(part)))];
    case 'array with a stream':
      return () => [...half, Readable.from(rest)];
  }
};

interface Tally {
  cuts: number;
  restarts: number;
  pauses: number;
  handovers: number;
  requests: number;
  bytes: number;
}

/** Resolves with what went wrong. */
const run = async (random: Random, tally: Tally): Promise<string | undefined> => {
  const folder = await mkdtemp(join(tmpdir(), 'client-campaign-'));
  const server = new CyclingServer(join(folder, 'store'), random.pick(['location', 'etag']));
  await server.start();
  const size = random.below(20) === 0 ? 0 : 1 + random.below(4_000_000);
  const bytes = Buffer.alloc(size);
  random.fill(bytes);
  const kind = random.pick(kinds);
  const means = random.pick<readonly [CutMeans, ...CutMeans[]]>([['rst', 'fin', 'stall'], ['rst'], ['fin']]);
  const cuts = randomCuts(random, random.below(7), Math.max(1, size), means);
  const proxy = await cuttingProxy({ target: server.port, cuts });
  try {
    const source = await sourceOf(kind, bytes, folder, random);
    /** By what was sent: what happens then. */
    const events = Array.from({ length: random.below(4) }, () => ({
      at: random.below(Math.max(1, size)),
      what: random.pick(['restart', 'restart', 'pause', 'handover']),
    })).sort((a, b) => a.at - b.at);
    const common: UploadOptions = {
      parallel: 1 + random.below(4),
      checkpoints: random.below(2) === 0,
      ...(random.below(2) === 0 && { maxRequestBytes: 50_000 + random.below(1_000_000) }),
      replayBufferBytes: 262_144 + random.below(2_000_000),
      stallTimeoutMs: 250,
      retry: { minMs: 2, maxMs: 30, maxCount: 60 },
    };
    const url = `http://127.0.0.1:${proxy.port}/upload`;
    let result: UploadResult | undefined;
    for (let state: UploadOptions['state']; result === undefined; ) {
      const abort = new AbortController();
      const up = upload(url, source(), {
        ...common,
        state,
        signal: abort.signal,
        onProgress({ sent }) {
          for (let [event] = events; event !== undefined && sent >= event.at; [event] = events) {
            events.shift();
            if (event.what === 'restart') server.restart();
            else if (event.what === 'pause') {
              tally.pauses++;
              up.pause();
              setTimeout(() => up.resume(), random.below(30));
            } else {
              tally.handovers++;
              state = up.state();
              abort.abort();
            }
          }
        },
      });
      result = await up.result.catch((error: unknown) => {
        if (!abort.signal.aborted) throw error;
        return undefined;
      });
    }
    tally.requests += result.attempts;
    tally.bytes += size;
    const sum = String(result.body);
    return sum === sha256(bytes) ? undefined : `${kind} of ${size} bytes: ${sum} arrived`;
  } catch (error) {
    return `${kind} of ${size} bytes: ${error instanceof Error ? (error.stack ?? error.message) : error}`;
  } finally {
    tally.cuts += proxy.stats.cuts;
    tally.restarts += server.restarts;
    await proxy.close();
    await server.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
};

const main = async (): Promise<boolean> => {
  const campaign = readCampaign();
  const tally: Tally = { cuts: 0, restarts: 0, pauses: 0, handovers: 0, requests: 0, bytes: 0 };
  const wrong = await makeRuns(campaign, (random) => run(random, tally));
  const { runs, seed } = campaign;
  const { cuts, restarts, pauses, handovers, requests, bytes } = tally;
  console.log(
    `client: ${runs} uploads of ${(bytes / 2 ** 20).toFixed(0)} MiB in ${requests} requests, ${cuts} cuts, ` +
      `${restarts} restarts, ${pauses} pauses, ${handovers} handovers, ${wrong} wrong, seed ${seed}`,
  );
  return wrong === 0;
};

const right = await main().catch((error: unknown) => {
  console.error(error);
  return false;
});
// Node 20 sometimes never ends by itself after so many connections were reset: its own clean-up waits for them.
process.exit(right ? 0 : 1);
