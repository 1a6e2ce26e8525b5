// The client as it runs in a browser, in Debian's Chromium: a page of another origin uploads through a network that keeps
// failing to a server that keeps restarting, is reloaded in between, and what arrives is what was sent.
//
//     npm run test:client-browser -- [--runs 200] [--seed N]
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { type CutMeans, cuttingProxy, randomCuts } from '../../bench/lib/cutting-proxy.ts';
import type { Random } from '../../bench/lib/random.ts';
import { buildInto, launchBrowser, openPage, servePage } from '../support/browser.ts';
import { makeRuns, readCampaign } from '../support/campaign.ts';
import { CyclingServer } from '../support/cycling-server.ts';

interface Event {
  readonly at: number;
  readonly what: 'restart' | 'pause' | 'reload';
}

/** One upload, as the page is told of it. */
interface Task {
  readonly url: string;
  readonly size: number;
  readonly factors: readonly [number, number, number];
  readonly kind: 'bytes' | 'file' | 'stream' | 'array';
  readonly options: Readonly<Record<string, unknown>>;
  readonly pauseMs: number;
  /** Still to come. */
  events: readonly Event[];
  /** Of the page before the reload. */
  state?: unknown;
}

/** Either it is complete, or the page is to be reloaded and to go on. */
interface Outcome {
  readonly sum?: string;
  readonly attempts?: number;
  readonly state?: unknown;
  readonly events: readonly Event[];
}

// What runs in the page is written as text: it sees nothing of this file.
const uploadInPage = (task: Task): string => `(async (task) => {
  const client = await import('/dist/src/client/browser.js');
  const [a, b, c] = task.factors;
  const bytes = new Uint8Array(task.size);
  for (let i = 0; i < bytes.length; i++) bytes[i] = i * a + (i >> 8) * b + (i >> 16) * c;
  const half = bytes.length >> 1;
  const source = {
    bytes: () => bytes,
    file: () => new File([bytes], 'content', { lastModified: 1 }),
    stream: () => new Blob([bytes]).stream(),
    array: () => [bytes.subarray(0, half), new Blob([bytes.subarray(half)])],
  }[task.kind]();
  const events = [...task.events];
  const abort = new AbortController();
  let state;
  const up = client.upload(task.url, source, {
    ...task.options,
    state: task.state,
    signal: abort.signal,
    onProgress({ sent }) {
      while (events.length > 0 && sent >= events[0].at && state === undefined) {
        const { what } = events.shift();
        if (what === 'restart') restartServer();
        else if (what === 'pause') {
          up.pause();
          setTimeout(() => up.resume(), task.pauseMs);
        } else {
          state = up.state() ?? null;
          abort.abort();
        }
      }
    },
  });
  try {
    const { body, attempts } = await up.result;
    return { sum: String(body), attempts, events };
  } catch (error) {
    if (state === undefined) throw error;
    return { state: state ?? undefined, events };
  }
})(${JSON.stringify(task)})`;

const contentOf = ({ size, factors: [a, b, c] }: Task): Buffer => {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) bytes[i] = i * a + (i >> 8) * b + (i >> 16) * c;
  return bytes;
};

const tally = { cuts: 0, restarts: 0, pauses: 0, reloads: 0, requests: 0, bytes: 0 };

const newTask = (url: string, random: Random): Task => {
  const size = random.below(20) === 0 ? 0 : 1 + random.below(4_000_000);
  const odd = (): number => 2 * random.below(128) + 1;
  return {
    url,
    size,
    factors: [odd(), odd(), odd()],
    kind: random.pick(['bytes', 'file', 'stream', 'array']),
    options: {
      parallel: 1 + random.below(4),
      ...(random.below(2) === 0 && { maxRequestBytes: 50_000 + random.below(1_000_000) }),
      replayBufferBytes: 262_144 + random.below(2_000_000),
      stallTimeoutMs: 400,
      retry: { minMs: 2, maxMs: 30, maxCount: 60 },
    },
    pauseMs: random.below(30),
    events: Array.from({ length: random.below(4) }, () => ({
      at: random.below(Math.max(1, size)),
      what: random.pick(['restart', 'restart', 'pause', 'reload'] as const),
    })).sort((a, b) => a.at - b.at),
  };
};

/** Resolves with what went wrong. */
const run = async (page: Page, random: Random, use: (server: CyclingServer) => void) => {
  const folder = await mkdtemp(join(tmpdir(), 'client-browser-'));
  const server = new CyclingServer(join(folder, 'store'), random.pick(['location', 'etag']), true);
  await server.start();
  use(server);
  const means = random.pick<readonly [CutMeans, ...CutMeans[]]>([['rst', 'fin', 'stall'], ['rst'], ['fin']]);
  const draft = newTask('', random);
  const cuts = randomCuts(random, random.below(7), Math.max(1, draft.size), means);
  const proxy = await cuttingProxy({ target: server.port, cuts });
  const task: Task = { ...draft, url: `http://127.0.0.1:${proxy.port}/upload` };
  const name = `${task.kind} of ${task.size} bytes`;
  try {
    for (;;) {
      const outcome = (await page.evaluate(uploadInPage(task))) as Outcome;
      const passed = task.events.slice(0, task.events.length - outcome.events.length);
      tally.pauses += passed.filter(({ what }) => what === 'pause').length;
      if (outcome.sum === undefined) {
        tally.reloads++;
        Object.assign(task, { events: outcome.events, state: outcome.state });
        await page.reload();
        continue;
      }
      tally.requests += outcome.attempts ?? 0;
      tally.bytes += task.size;
      const expected = createHash('sha256').update(contentOf(task)).digest('hex');
      return outcome.sum === expected ? undefined : `${name}: ${outcome.sum} arrived`;
    }
  } catch (error) {
    return `${name}: ${error instanceof Error ? (error.stack ?? error.message) : error}`;
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
  const browser = await launchBrowser().catch((error: unknown) => {
    console.log(`not tested in a browser: ${error instanceof Error ? error.message : error}`);
    return undefined;
  });
  if (browser === undefined) return true;
  const folder = await mkdtemp(join(tmpdir(), 'client-browser-build-'));
  const pages = createServer((req, res) => void servePage(folder, req, res));
  try {
    await buildInto(folder);
    await once(pages.listen(0, '127.0.0.1'), 'listening');
    const page = await openPage(browser, `http://127.0.0.1:${(pages.address() as AddressInfo).port}/`);
    let server: CyclingServer | undefined;
    await page.exposeFunction('restartServer', () => server?.restart());
    const wrong = await makeRuns(campaign, (random) =>
      run(page, random, (one) => {
        server = one;
      }),
    );
    const { runs, seed } = campaign;
    const { cuts, restarts, pauses, reloads, requests, bytes } = tally;
    console.log(
      `client in ${browser.version()}: ${runs} uploads of ${(bytes / 2 ** 20).toFixed(0)} MiB in ${requests} requests, ` +
        `${cuts} cuts, ${restarts} restarts, ${pauses} pauses, ${reloads} reloads, ${wrong} wrong, seed ${seed}`,
    );
    return wrong === 0;
  } finally {
    await browser.close();
    pages.close();
    await rm(folder, { recursive: true, force: true });
  }
};

const right = await main().catch((error: unknown) => {
  console.error(error);
  return false;
});
// Node 20 sometimes never ends by itself after so many connections were reset: its own clean-up waits for them.
process.exit(right ? 0 : 1);
