// Kills the server with SIGKILL in the middle of uploads, again and again over one folder, and checks that it
// neither forgets a byte it has acknowledged nor acknowledges one it does not have.
//
//     npm run test:kill9 -- [--runs 200] [--seed N] [--store fs] [--durability power]
//
// Only what a 308 does not name is sent again: were one byte named that is not there, the sums would differ.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Random, randomSeed, seededRandom } from '../../bench/lib/random.ts';
import { startUploadServer, type UploadServer } from '../../bench/lib/upload-server.ts';
import { retryAfterMs } from '../../src/client/backoff.ts';
import { exchange, type HttpResponse } from '../../src/client/exchange.ts';
import { Interruption } from '../../src/client/failure.ts';
import { memorySource, type Source } from '../../src/client/source.ts';
import { printContentRange } from '../../src/headers/content-range.ts';
import { parseRange } from '../../src/headers/range.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';

const uploadBytes = 24 * 1024 * 1024;
const mostKills = 4;
/** Runs that share a folder; bounds the disk space. */
const batch = 20;

/** One server at a time over one folder. */
class Server {
  readonly #args: readonly string[];
  #current: UploadServer | undefined;
  #ended = false;

  constructor(args: readonly string[]) {
    this.#args = args;
  }

  get port(): number {
    return this.#current?.port ?? 0;
  }

  async start(): Promise<void> {
    if (this.#ended) throw new Error('interrupted');
    this.#current = await startUploadServer(this.#args, 'build');
  }

  kill(signal: NodeJS.Signals): void {
    this.#current?.kill(signal);
  }

  /** For good: whoever would go on with it fails. */
  end(): void {
    this.#ended = true;
    this.kill('SIGKILL');
  }

  async exited(): Promise<number | string | null> {
    return (await this.#current?.exited()) ?? null;
  }
}

/** When to kill: once the bytes before `offset` are out and so much later, or with the first checkpoint. */
interface Moment {
  readonly offset: number;
  readonly delayMs: number;
  readonly atCheckpoint: boolean;
}

interface Tally {
  kills: number;
  equal: number;
  wrong: number;
  checkpoints: number;
}

/** One upload, killed at random moments, to its end. */
class Run {
  readonly #server: Server;
  readonly #random: Random;
  readonly #tally: Tally;
  readonly #content: Uint8Array;
  readonly #agent = new http.Agent({ keepAlive: true });
  /** Every byte any 103 or 308 ever named. */
  readonly #acknowledged = new IntervalSet();
  readonly #faults: string[] = [];
  #stored = new IntervalSet();
  #path = '/upload';
  #kills: number;
  /** Between two chunks: an upload at full speed is over before a second checkpoint. */
  readonly #paceMs: number;

  constructor(server: Server, random: Random, content: Uint8Array, tally: Tally) {
    this.#server = server;
    this.#random = random;
    this.#tally = tally;
    this.#content = content;
    this.#kills = 1 + random.below(mostKills);
    this.#paceMs = random.pick([0, 0, 4, 12]);
  }

  /** Resolves with what was wrong. */
  async toTheEnd(): Promise<readonly string[]> {
    let final: HttpResponse | undefined;
    const handshake = await this.#query();
    this.#path = String(handshake.headers.location);
    for (let requests = 0; final === undefined; requests++) {
      if (requests > 100) throw new Error('the upload does not come to an end');
      final = await this.#advance();
    }
    await this.#check(final);
    this.#agent.destroy();
    return this.#faults;
  }

  /**
   * One request with bytes; where it was cut, a restart and a query. Resolves with the final answer, if it
   * was one.
   */
  async #advance(): Promise<HttpResponse | undefined> {
    const range = this.#choose();
    if (range.start === range.end) return this.#judge(await this.#query());
    const killAt = this.#kills > 0 ? this.#moment(range) : undefined;
    const answered = await this.#send(range, killAt);
    if (killAt !== undefined) {
      this.#kills--;
      this.#tally.kills++;
      await this.#server.exited();
      this.#agent.destroy();
      await this.#server.start();
    }
    const usable = killAt === undefined && answered !== undefined && answered.status !== 503;
    const now = usable ? answered : await this.#query();
    if (answered?.status === 201 && !(now.status === 201 && now.body.equals(answered.body))) {
      this.#wrong('a final answer was not given again');
    }
    return this.#judge(now);
  }

  /** Resolves with a final answer; takes in what a 308 says. */
  #judge(response: HttpResponse): HttpResponse | undefined {
    if (response.status === 201) return response;
    if (response.status !== 308) throw new Error(`the server answered ${response.status}: ${response.body}`);
    this.#learn(response.headers);
    return undefined;
  }

  /** Usually the earliest gap; now and then bytes beyond its start, which leaves a hole. */
  #choose(): Range {
    const gap = this.#stored.missing(0, uploadBytes)[0] ?? { start: uploadBytes, end: uploadBytes };
    const skips = this.#random.below(4) === 0;
    return skips ? { start: gap.start + this.#random.below(gap.end - gap.start), end: gap.end } : gap;
  }

  /** In the middle, at the end, while completing, or when something has just been acknowledged. */
  #moment({ start, end }: Range): Moment {
    const delayMs = this.#random.below(60);
    const within = start + 1 + this.#random.below(end - start);
    switch (this.#random.below(5)) {
      case 0:
        return { offset: end, delayMs, atCheckpoint: false };
      case 1:
        return { offset: end, delayMs: 0, atCheckpoint: false };
      case 2:
        return { offset: end, delayMs: 0, atCheckpoint: true };
      default:
        return { offset: within, delayMs: 0, atCheckpoint: false };
    }
  }

  async #send(range: Range, killAt: Moment | undefined): Promise<HttpResponse | undefined> {
    let killed: Promise<void> | undefined;
    const kill = async (delayMs: number): Promise<void> => {
      if (delayMs > 0) await sleep(delayMs);
      this.#server.kill('SIGKILL');
    };
    const request = exchange({
      ...this.#request(printContentRange({ kind: 'range', ...range, length: uploadBytes })),
      body: { source: this.#source(killAt?.offset), ...range },
      onCheckpoint: (headers) => {
        this.#tally.checkpoints++;
        const ranges = readRange(headers);
        this.#acknowledged.addAll(ranges);
        if (killAt?.atCheckpoint === true && ranges.length > 0) killed ??= kill(0);
      },
      onSent: (_start, end) => {
        if (killAt !== undefined && end >= killAt.offset) killed ??= kill(killAt.delayMs);
      },
    });
    const response = await request.catch((error: unknown) => {
      if (!(error instanceof Interruption)) throw error;
      return undefined;
    });
    if (killAt === undefined) return response;
    // An answer that came before the last byte was out must not save the server.
    await (killed ?? kill(0));
    if (response?.status === 308) this.#acknowledged.addAll(readRange(response.headers));
    return response;
  }

  /** The content at this run's pace; it falls silent at `until`. */
  #source(until = uploadBytes): Source {
    const content = memorySource(this.#content);
    const paceMs = this.#paceMs;
    return {
      ...content,
      async *chunks(start, end) {
        const chunks = content.chunks(start, Math.min(end, until));
        for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
          yield next.value;
          if (paceMs > 0) await sleep(paceMs);
        }
        if (until < end) await new Promise(() => {});
      },
    };
  }

  async #query(): Promise<HttpResponse> {
    const request = this.#request(printContentRange({ kind: 'query', length: uploadBytes }));
    for (let tries = 0; tries < 20; tries++) {
      const response = await exchange(request);
      if (response.status !== 503) return response;
      await sleep(retryAfterMs(response.headers) + 50);
    }
    throw new Error('503 without end');
  }

  #request(contentRange: string) {
    return {
      url: new URL(this.#path, `http://127.0.0.1:${this.#server.port}`),
      method: 'POST',
      headers: {
        'Content-Range': contentRange,
        Prefer: 'checkpoint',
        'Content-Length': contentLength(contentRange),
      },
      agent: this.#agent,
      stallTimeoutMs: 30_000,
    };
  }

  #learn(headers: IncomingHttpHeaders): void {
    this.#stored = IntervalSet.from(readRange(headers));
    for (const { start, end } of this.#acknowledged.ranges()) {
      if (!this.#stored.covers(start, end)) {
        this.#wrong(`acknowledged ${start}-${end - 1}, then only ${headers.range ?? 'nothing'}`);
      }
    }
    this.#acknowledged.addAll(this.#stored.ranges());
  }

  async #check({ body }: HttpResponse): Promise<void> {
    const sum = createHash('sha256').update(this.#content).digest('hex');
    const answer = JSON.parse(body.toString()) as { id: string; size: number; sha256: string };
    const url = `http://127.0.0.1:${this.#server.port}/files/${answer.id}`;
    const [response] = (await once(http.get(url, { agent: false }), 'response')) as [IncomingMessage];
    const hash = createHash('sha256');
    for await (const chunk of response as AsyncIterable<Buffer>) hash.update(chunk);
    const served = hash.digest('hex');
    if (answer.sha256 === sum && served === sum && answer.size === uploadBytes) this.#tally.equal++;
    else this.#faults.push(`sums differ: sent ${sum}, answered ${answer.sha256}, served ${served}`);
  }

  #wrong(what: string): void {
    this.#tally.wrong++;
    this.#faults.push(what);
  }
}

const readRange = (headers: IncomingHttpHeaders): Range[] => {
  if (headers.range === undefined) return [];
  const ranges = parseRange(headers.range);
  if (ranges === undefined) throw new Error(`unreadable Range: ${headers.range}`);
  return ranges;
};

const contentLength = (contentRange: string): number => {
  const [, first, last] = /(\d+)-(\d+)/.exec(contentRange) ?? [];
  return first === undefined ? 0 : Number(last) - Number(first) + 1;
};

const main = async (): Promise<boolean> => {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '200' },
      seed: { type: 'string', default: String(randomSeed()) },
      store: { type: 'string', default: 'fs' },
      durability: { type: 'string', default: 'power' },
    },
  });
  const runs = Number(values.runs);
  const seed = Number(values.seed);
  const tally: Tally = { kills: 0, equal: 0, wrong: 0, checkpoints: 0 };
  const content = new Uint8Array(uploadBytes);
  for (let first = 0; first < runs; first += batch) {
    const directory = await mkdtemp(join(tmpdir(), 'kill9-'));
    const options = `--store ${values.store} --durability ${values.durability} --handshake location`;
    const server = new Server(['--dir', directory, ...options.split(' ')]);
    const interrupt = (): void => server.end();
    process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
    try {
      await server.start();
      for (let run = first; run < Math.min(first + batch, runs); run++) {
        // Each run can be had again by itself, whatever the timing of those before it.
        const random = seededRandom(seed + run);
        random.fill(content);
        const faults = await new Run(server, random, content, tally).toTheEnd();
        for (const fault of faults) console.error(`wrong: ${fault} (--runs 1 --seed ${seed + run})`);
      }
      server.kill('SIGTERM');
      const code = await server.exited();
      if (code !== 0) throw new Error(`the server ended with ${code} after SIGTERM`);
    } finally {
      server.end();
      await server.exited();
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
      await rm(directory, { recursive: true, force: true });
    }
    const done = Math.min(first + batch, runs);
    console.log(`${done} runs, ${tally.kills} kills, ${tally.checkpoints} checkpoints, ${tally.wrong} wrong`);
  }
  console.log(
    `kill9: ${runs} runs, ${tally.kills} kills, ${tally.equal} equal sums, ` +
      `${tally.wrong} wrong acknowledgements, seed ${seed}`,
  );
  return tally.wrong === 0 && tally.equal === runs;
};

process.exitCode = await main().then(
  (right) => (right ? 0 : 1),
  (error: unknown) => {
    console.error(error);
    return 1;
  },
);
