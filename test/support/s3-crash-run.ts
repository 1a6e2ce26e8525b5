import { createHash } from 'node:crypto';
import { S3Client } from '@aws-sdk/client-s3';
import { type Random, seededRandom } from '../../bench/lib/random.ts';
import { Keys } from '../../stores/s3/keys.ts';
import { type S3Store, s3Store } from '../../stores/s3.ts';
import { Forwarder } from './forwarder.ts';
import { type S3Double, type S3Operation, startS3Double } from './s3/double.ts';
import { type Client, clients } from './s3-crash-client.ts';
import type { CrashNode, CrashSettings, Entered, NodePool } from './s3-crash-nodes.ts';

// One upload over a bucket whose server process is killed at one request of it, chosen beforehand; and then what became
// of the upload, and what is left in the bucket.

export type Moment = 'before' | 'after';

export interface Scenario {
  readonly length: number;
  readonly client: Client;
  /** The client's own connection is cut as well, in the middle of its body. */
  readonly isCut?: boolean;
  /** The process that takes over is killed too, at a request that the seed chooses. */
  readonly isKilledTwice?: boolean;
  /** Only every so many requests are ones to be killed at: enough where the seed chooses others. */
  readonly every?: number;
}

const length = 150_000;

export const scenarios = {
  named: { length, client: 'named' },
  cut: { length, client: 'session', isCut: true },
  twice: { length, client: 'named', isCut: true, isKilledTwice: true, every: 2 },
  chunked: { length, client: 'chunked', isCut: true },
  inline: { length: 1024, client: 'named' },
} as const satisfies Readonly<Record<string, Scenario>>;

export type ScenarioName = keyof typeof scenarios;

export interface Crash {
  readonly scenario: ScenarioName;
  /** At which of all requests the bucket gets, from 1. */
  readonly nth: number;
  /** Of the request: `after` is before its answer. */
  readonly moment: Moment;
  readonly seed: number;
}

export interface CrashOutcome {
  /** What was not as it must be; nothing, as a rule. */
  readonly wrong: readonly string[];
  /** Where a process was killed; nothing, where the bucket got fewer requests than that. */
  readonly points: readonly S3Operation[];
  readonly entries: number;
  /** Uploads that were begun and never told to the client, which has begun another. */
  readonly abandoned: number;
}

interface Answer {
  readonly id: string;
  readonly attempt: number;
  readonly size: number;
  readonly sha256: string;
}

const KiB = 1024;
const minPart = KiB;
const partSize = 40 * KiB;
/** Much longer than any upload takes, with all that befalls it. */
const mostMs = 60_000;

/** Rejects only for what is wrong with the run itself. */
export const runCrash = async (pool: NodePool, crash: Crash): Promise<CrashOutcome> => {
  const double = await startS3Double({ minPartSize: minPart, pageSize: 5 });
  const random = seededRandom(crash.seed + crash.nth);
  const { isCut = false } = scenarios[crash.scenario] as Scenario;
  const forwarder = await Forwarder.start(isCut ? 60_000 + random.below(80_000) : undefined);
  try {
    return await new CrashRun(pool, crash, double, forwarder, random).run();
  } finally {
    await forwarder.close();
    await double.close();
  }
};

class CrashRun {
  readonly #pool: NodePool;
  readonly #crash: Crash;
  readonly #scenario: Scenario;
  readonly #double: S3Double;
  readonly #forwarder: Forwarder;
  readonly #random: Random;
  readonly #settings: CrashSettings;
  readonly #wrong: string[] = [];
  readonly #points: S3Operation[] = [];
  readonly #entries: Entered[] = [];
  #abandoned = 0;
  #node: CrashNode | undefined;
  /** Of every kill the process that takes over. */
  readonly #successors: Promise<void>[] = [];

  constructor(pool: NodePool, crash: Crash, double: S3Double, forwarder: Forwarder, random: Random) {
    this.#pool = pool;
    this.#crash = crash;
    this.#scenario = scenarios[crash.scenario];
    this.#double = double;
    this.#forwarder = forwarder;
    this.#random = random;
    const { clientConfig: client, bucket } = double;
    this.#settings = { client, bucket, partSize, provider: { minPart } };
  }

  async run(): Promise<CrashOutcome> {
    const content = new Uint8Array(this.#scenario.length);
    this.#random.fill(content);
    this.#killAt(this.#crash.nth, this.#crash.moment);
    let isKnown = true;
    try {
      await this.#serve();
      await this.#upload(content);
    } catch (error) {
      isKnown = false;
      this.#wrong.push(`no answer: ${error instanceof Error ? error.message : String(error)}`);
    }
    for (const successor of await Promise.allSettled(this.#successors))
      if (successor.status === 'rejected') this.#wrong.push(`no successor: ${successor.reason}`);
    if (this.#node !== undefined) await this.#pool.giveBack(this.#node, isKnown);
    for (const what of this.#double.unknown)
      this.#wrong.push(`the double does not know ${JSON.stringify(what)}`);
    return {
      wrong: this.#wrong,
      points: this.#points,
      entries: this.#entries.length,
      abandoned: this.#abandoned,
    };
  }

  async #upload(content: Uint8Array): Promise<void> {
    const target = { port: this.#forwarder.port, name: 'upload', signal: AbortSignal.timeout(mostMs) };
    const body = await clients[this.#scenario.client](target, content);
    this.#double.faults.clear();
    await Promise.all(this.#successors);
    const answer = JSON.parse(body.toString()) as Answer;
    const sum = sha256(content);
    if (answer.size !== content.byteLength || answer.sha256 !== sum)
      this.#wrong.push(
        `sums differ: sent ${content.byteLength} ${sum}, answered ${answer.size} ${answer.sha256}`,
      );
    this.#judgeEntries(answer);
    await this.#judgeBucket(answer.id, sum);
  }

  /** Kills the process when the bucket gets its nth request from now. */
  #killAt(nth: number, when: Moment): void {
    let operation: S3Operation | undefined;
    this.#double.faults.on('any', {
      nth,
      when,
      what: 'reset',
      match: (call) => {
        operation = call.operation;
        return true;
      },
      until: () => {
        const killed = this.#kill(operation);
        this.#successors.push(killed.then(() => this.#serve()));
        return killed;
      },
    });
  }

  async #kill(operation: S3Operation | undefined): Promise<void> {
    const node = this.#node;
    if (node === undefined || operation === undefined) throw new Error('there is no process to kill');
    this.#node = undefined;
    this.#points.push(operation);
    this.#forwarder.hold();
    await this.#pool.kill(node);
    if (this.#scenario.isKilledTwice === true && this.#points.length === 1)
      this.#killAt(1 + this.#random.below(16), this.#random.pick(['before', 'after']));
  }

  async #serve(): Promise<void> {
    const node = this.#pool.take();
    this.#node = node;
    this.#forwarder.to(await node.serve(this.#settings, (entered) => this.#entries.push(entered)));
  }

  /** Once per attempt, and again only where a process was killed. */
  #judgeEntries(answer: Answer): void {
    const own = this.#entries.filter(({ id }) => id === answer.id);
    const attempts = own.map(({ attempt }) => attempt);
    const kills = this.#points.length;
    if (own.length === 0 || own.length > 1 + kills)
      this.#wrong.push(`${own.length} entries into the handler with ${kills} kills`);
    if (new Set(attempts).size !== attempts.length) this.#wrong.push(`entered twice: attempts ${attempts}`);
    if (attempts.at(-1) !== answer.attempt)
      this.#wrong.push(`attempts ${attempts}, answered by attempt ${answer.attempt}`);
    if (own.length !== this.#entries.length) this.#wrong.push('a handler was entered for another upload');
  }

  /** The content, its record, and after `gc` nothing else. */
  async #judgeBucket(id: string, sum: string): Promise<void> {
    const client = new S3Client(this.#settings.client);
    const store = s3Store({ ...this.#settings, client });
    try {
      await this.#purgeAbandoned(store, id);
      await this.#compare(store, id, sum, 'before gc');
      await store.gc({ olderThanMs: 0 });
      await this.#compare(store, id, sum, 'after gc');
      const again = await store.gc({ olderThanMs: 0 });
      if (Object.values(again).some((count) => count > 0))
        this.#wrong.push(`gc found more the second time: ${JSON.stringify(again)}`);
    } finally {
      client.destroy();
    }
    this.#judgeObjects(id);
  }

  async #compare(store: S3Store, id: string, sum: string, when: string): Promise<void> {
    const hash = createHash('sha256');
    const body = store.read(id, 0, this.#scenario.length);
    for await (const chunk of body as AsyncIterable<Uint8Array>) hash.update(chunk);
    if (hash.digest('hex') !== sum) this.#wrong.push(`the bucket has another content ${when}`);
  }

  /** Begun for a client that died not, but never heard of it: nobody can go on with them, so they expire. */
  async #purgeAbandoned(store: S3Store, own: string): Promise<void> {
    for await (const id of store.list()) {
      if (id === own) continue;
      const stored = await store.load(id);
      if (
        this.#scenario.client !== 'session' ||
        stored?.record.state !== 'open' ||
        stored.received.length > 0
      )
        this.#wrong.push(`another upload: ${JSON.stringify(stored)}`);
      this.#abandoned++;
      await store.purge(id);
    }
  }

  #judgeObjects(id: string): void {
    const keys = new Keys('uploads/');
    for (const { key } of this.#double.uploads())
      this.#wrong.push(`left after gc: a multipart upload of ${key}`);
    let content = 0;
    for (const { key, content: bytes } of this.#double.objects()) {
      const place = keys.idOf(key) === id ? keys.place(id, key) : undefined;
      if (place?.kind === 'content') content += bytes.size;
      else if (place?.kind === 'record') content += inlineBytes(bytes.toBuffer());
      else this.#wrong.push(`left after gc: ${key}`);
    }
    if (content !== this.#scenario.length)
      this.#wrong.push(`${content} bytes of content where ${this.#scenario.length} are needed`);
  }
}

/** Behind the line that is the record. */
const inlineBytes = (bytes: Buffer): number => bytes.byteLength - bytes.indexOf('\n') - 1;

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
