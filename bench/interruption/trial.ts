import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import type { Variant } from '../interruption-variants.ts';
import { askFor } from '../lib/ask.ts';
import { Child } from '../lib/child.ts';
import type { CutMeans } from '../lib/cutting-proxy.ts';
import { type InterruptingProxyOptions, interruptingProxy } from '../lib/interrupting-proxy.ts';
import { primePageCache } from '../lib/prime.ts';
import { sumOf } from '../servers/content.js';
import { type Span, standstillMs } from './standstill.ts';

const MiB = 2 ** 20;
const startTimeoutMs = 20_000;
const sumsTimeoutMs = 120_000;
const warmUpBytes = 4 * MiB;
/** Beside the uploads: the processes' heaps and socket buffers. */
const primeSlackBytes = 128 * MiB;
/** Slow servers are measured, dead ones are not waited for. */
const defaultLimitMs = 60_000;
const reasonsKept = 5;
/** What is left of a run after its limit. */
const slackMs = 20_000;

/** What a client is to do. */
export interface Load {
  readonly uploads: number;
  readonly concurrency: number;
  readonly sizeBytes: number;
  /** Without progress of a body for so long, a client takes its connection for dead. */
  readonly stallMs: number;
  /** … and without an answer to a request that has no body. */
  readonly answerMs: number;
  /** What is not complete after that is given up. */
  readonly limitMs?: number;
}

export interface Trial {
  readonly elapsedMs: number;
  /** Of that, every client stood still. */
  readonly standstillMs: number;
  readonly uploads: number;
  /** Stored as they were sent. */
  readonly completed: number;
  /** Given up when their time was over. */
  readonly unfinished: number;
  /** The bytes of those completed. */
  readonly fileBytes: number;
  /** Of bodies, that the clients' systems have taken. */
  readonly sentBytes: number;
  /** Of bodies, passed on by the proxy; some of it a reset may have thrown away in the system's buffers. */
  readonly bodyBytes: number;
  /** Of bodies, that the server has read from its connections. */
  readonly arrivedBytes: number;
  readonly cuts: Readonly<Record<CutMeans, number>>;
  /** As the clients saw them. */
  readonly interruptions: number;
  readonly stalls: number;
  readonly requests: number;
  readonly queries: number;
  /** From each cut to the first new byte that passed after it. */
  readonly resumeMs: readonly number[];
  /** Wrong answers, uploads given up, and connections that the server broke off by itself. */
  readonly errors: number;
  readonly problems: readonly string[];
  /** Complete for their client, and stored otherwise than they were sent. */
  readonly differing: number;
}

interface Result {
  readonly number: number;
  readonly name?: string;
  readonly failed?: string;
}

interface Uploaded {
  readonly elapsedMs: number;
  readonly results: readonly Result[];
  readonly requests: number;
  readonly queries: number;
  readonly interruptions: number;
  readonly sentBytes: number;
  readonly activities: readonly Span[];
  readonly stalls: readonly Span[];
  readonly errors: number;
  readonly problems: readonly string[];
}

const sumOfFile = async (path: string): Promise<string> => {
  const sum = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: MiB })) sum.update(chunk);
  return sum.digest('hex');
};

/** The SHA-256 of each of these uploads as it is stored, read back after the clock has stopped. */
const sumsOf = async (
  { keeps }: Variant,
  server: Child,
  directory: string,
  names: readonly string[],
): Promise<string[]> => {
  if (keeps === 'store') return askFor<string[]>(server, 'sums', names, sumsTimeoutMs);
  const sums: string[] = [];
  for (const name of names) sums.push(await sumOfFile(join(directory, name)));
  return sums;
};

const expectedSums = new Map<string, string>();

/** The same few contents are sent to every variant. */
const expectedSum = (number: number, size: number): string => {
  const key = `${number}/${size}`;
  const sum = expectedSums.get(key) ?? sumOf(number, size);
  expectedSums.set(key, sum);
  return sum;
};

/** A server and a client, fresh, and the uploads they have made together so far. */
export class Pair {
  readonly #variant: Variant;
  readonly #directory: string;
  readonly #server: Child;
  readonly #client: Child;
  #next = 0;

  constructor(variant: Variant, directory: string) {
    this.#variant = variant;
    this.#directory = directory;
    this.#server = new Child(variant.script, [directory, ...variant.args]);
    this.#client = new Child(new URL('../servers/interrupted-client.js', import.meta.url), []);
  }

  async stop(): Promise<void> {
    await Promise.all([this.#client.stop(), this.#server.stop()]);
  }

  /** The port the server listens on, when both are warm and the page cache can take so many bytes. */
  async ready(bytes: number): Promise<number> {
    const port = await this.#server.port(startTimeoutMs);
    const load = { uploads: 1, concurrency: 1, sizeBytes: warmUpBytes, stallMs: 10_000, answerMs: 10_000 };
    const { results, problems } = await this.#upload(port, load);
    const wrong = problems[0] ?? results[0]?.failed;
    if (results[0]?.name === undefined || wrong !== undefined) {
      throw new Error(`the first upload failed, uncut: ${wrong ?? 'no end in sight'}`);
    }
    await primePageCache(this.#directory, bytes + primeSlackBytes);
    return port;
  }

  /** Uploads through a proxy that is this network, and compares what is stored with what was sent. */
  async through(
    target: number,
    network: Omit<InterruptingProxyOptions, 'target'>,
    load: Load,
  ): Promise<Trial> {
    const proxy = await interruptingProxy({ target, ...network });
    const readBefore = await this.#bytesRead();
    let uploaded: Uploaded;
    try {
      uploaded = await this.#upload(proxy.port, load);
    } finally {
      await proxy.close();
    }
    const { stats } = proxy;
    const { results, activities, stalls, ...counted } = uploaded;
    const named = results.flatMap(({ number, name }) => (name === undefined ? [] : { number, name }));
    const failures = results.flatMap(({ failed }) => failed ?? []);
    const names = named.map(({ name }) => name);
    const sums = await sumsOf(this.#variant, this.#server, this.#directory, names);
    const right = named.filter(({ number }, i) => sums[i] === expectedSum(number, load.sizeBytes)).length;
    const arrived = (await this.#bytesRead()) - readBefore - stats.headBytes;
    return {
      elapsedMs: counted.elapsedMs,
      standstillMs: standstillMs(activities, stalls),
      uploads: load.uploads,
      completed: right,
      unfinished: load.uploads - named.length - failures.length,
      fileBytes: right * load.sizeBytes,
      sentBytes: counted.sentBytes,
      bodyBytes: stats.bodyBytes,
      arrivedBytes: arrived,
      cuts: stats.cuts,
      interruptions: counted.interruptions,
      stalls: stalls.length,
      requests: counted.requests,
      queries: counted.queries,
      resumeMs: stats.resumeMs.map((ms) => Math.round(ms * 100) / 100),
      errors: counted.errors + failures.length + stats.brokenOff.length,
      problems: [
        ...counted.problems,
        ...failures,
        ...stats.brokenOff.slice(0, reasonsKept).map((why) => `broken off by the server ${why}`),
      ],
      differing: named.length - right,
    };
  }

  #bytesRead(): Promise<number> {
    return askFor<number>(this.#server, 'bytesRead', true, startTimeoutMs);
  }

  async #upload(port: number, load: Load): Promise<Uploaded> {
    const { protocol } = this.#variant;
    const { sizeBytes: size, ...rest } = load;
    const limitMs = Math.min(
      load.limitMs ?? defaultLimitMs,
      this.#variant.limitMs ?? Number.POSITIVE_INFINITY,
    );
    const question = { ...rest, limitMs, size, protocol, port, first: this.#next };
    this.#next += load.uploads;
    return askFor<Uploaded>(this.#client, 'upload', question, limitMs + slackMs);
  }
}
