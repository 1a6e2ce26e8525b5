import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { type Random, seededRandom } from '../../bench/lib/random.ts';
import { BucketClient } from '../../stores/s3/bucket.ts';
import { Keys } from '../../stores/s3/keys.ts';
import { type GcCounts, s3Store } from '../../stores/s3.ts';
import type { S3Target } from '../s3-servers/targets.ts';
import { startS3Double } from './s3/double.ts';
import { type NodeSettings, S3Nodes } from './s3-nodes.ts';
import { Wanderer } from './s3-wanderer.ts';

// Uploads at several processes over one bucket, which are killed all the time; and then what is left in the bucket.

export interface RunOptions {
  readonly seed: number;
  readonly uploads: number;
  readonly nodes: number;
  /** How many uploads are under way at once. */
  readonly clients: number;
  /** Undefined: the double, in this process. */
  readonly target?: S3Target | undefined;
}

export interface RunOutcome {
  /** What was not as it must be; nothing, as a rule. */
  readonly wrong: readonly string[];
  readonly equal: number;
  readonly kills: number;
  readonly requests: number;
  /** Entries into a handler beyond the first of each upload. */
  readonly repeated: number;
  readonly removed: GcCounts;
}

const KiB = 1024;
const MiB = 1024 * KiB;
/** Below the prefix, and of nobody that the store knows. */
const foreignKey = 'uploads/notes.txt';
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Real servers take no parts below 5 MiB. */
const sizes = (target: S3Target | undefined) =>
  target === undefined
    ? { partSize: 64 * KiB, minPart: 64 * KiB, longest: MiB }
    : { partSize: 5 * MiB, minPart: 5 * MiB, longest: 17 * MiB };

export const runNodes = async (options: RunOptions): Promise<RunOutcome> => {
  const { target } = options;
  if (target !== undefined) return new NodesRun(options, settingsFor(target)).run();
  const double = await startS3Double({ minPartSize: 64 * KiB, pageSize: 50 });
  // Long enough for a process to be killed between two steps of what it does.
  for (const operation of ['CreateMultipartUpload', 'CompleteMultipartUpload'] as const)
    double.faults.on(operation, { what: 'delay', when: 'after', delayMs: 80 });
  try {
    const { clientConfig: client, bucket } = double;
    const outcome = await new NodesRun(options, { ...settingsFor(target), client, bucket }).run();
    const unknown = double.unknown.map((what) => `the double does not know ${JSON.stringify(what)}`);
    return { ...outcome, wrong: [...outcome.wrong, ...unknown] };
  } finally {
    await double.close();
  }
};

const settingsFor = (target: S3Target | undefined): NodeSettings => {
  const { endpoint = '', region = '', accessKeyId = '', secretAccessKey = '' } = target ?? {};
  const { partSize, minPart } = sizes(target);
  return {
    client: { endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true },
    bucket: `nodes-${randomBytes(6).toString('hex')}`,
    prefix: 'uploads/',
    partSize,
    provider: { minPart },
    spillMs: 500,
  };
};

class NodesRun {
  readonly #options: RunOptions;
  readonly #settings: NodeSettings;
  readonly #client: S3Client;
  readonly #bucket: BucketClient;
  readonly #keys: Keys;
  readonly #wrong: string[] = [];
  readonly #removed: GcCounts[] = [];

  constructor(options: RunOptions, settings: NodeSettings) {
    this.#options = options;
    this.#settings = settings;
    this.#client = new S3Client(settings.client);
    this.#bucket = new BucketClient(this.#client, settings.bucket);
    this.#keys = new Keys(settings.prefix);
  }

  async run(): Promise<RunOutcome> {
    const { uploads, nodes: count, clients, target } = this.#options;
    const Bucket = this.#settings.bucket;
    if (target !== undefined) await this.#client.send(new CreateBucketCommand({ Bucket }));
    const nodes = await S3Nodes.open(this.#settings, count);
    const wanderers = Array.from({ length: uploads }, (_, number) => this.#wanderer(nodes, number));
    try {
      // Half of them are left where they are while the janitor comes, who must not touch them.
      const half = wanderers.filter((_, number) => number % 2 === 1);
      await inTurns(clients, half, (wanderer) => wanderer.upTo(wanderer.content.byteLength >> 1));
      await this.#gc();
      await inTurns(clients, wanderers, (wanderer) => wanderer.toTheEnd());
    } finally {
      await nodes.close();
    }
    await this.#check(wanderers);
    this.#client.destroy();
    return {
      wrong: [...wanderers.flatMap(({ wrong }) => wrong), ...this.#wrong],
      equal: wanderers.filter(({ wrong }) => wrong.length === 0).length,
      kills: nodes.kills,
      requests: wanderers.reduce((sum, { requests }) => sum + requests, 0),
      repeated: nodes.entries.filter(({ attempt }) => attempt > 1).length,
      removed: this.#removed.reduce(added),
    };
  }

  #wanderer(nodes: S3Nodes, number: number): Wanderer {
    // Each has its own, so that what one does depends on no other.
    const seed = this.#options.seed + number;
    const random: Random = seededRandom(seed);
    const { longest } = sizes(this.#options.target);
    const content = new Uint8Array(longest / 2 + random.below(longest / 2));
    random.fill(content);
    return new Wanderer(nodes, `upload-${seed}`, content, random, number % 3 === 1);
  }

  /** What a process leaves that dies between two requests of one step; and what is not the store's. */
  async #plant(id: string): Promise<void> {
    const stranger = randomBytes(16).toString('base64url');
    for (const key of [this.#keys.content(stranger), this.#keys.content(id), this.#keys.content(id)]) {
      const upload = { key, uploadId: await this.#bucket.begin(key) };
      await this.#bucket.uploadPart(upload, 1, new Uint8Array(1000));
    }
    const late = this.#keys.fragment({ id, life: 'another' }, { start: 0, end: 100 }, Date.now());
    await this.#bucket.put(late, new Uint8Array(100));
    await this.#bucket.put(this.#keys.record(stranger, 5), new Uint8Array(10));
    await this.#bucket.put(foreignKey, new Uint8Array(7));
    await this.#bucket.begin(foreignKey);
  }

  /** What a dry run says is what is removed. */
  async #gc(): Promise<void> {
    const store = s3Store({ ...this.#settings, client: this.#client });
    const said = await store.gc({ olderThanMs: 0, dryRun: true });
    const removed = await store.gc({ olderThanMs: 0 });
    this.#removed.push(removed);
    // The first time the processes are still there, and what they are doing may come between.
    if (this.#removed.length > 1 && JSON.stringify(said) !== JSON.stringify(removed))
      this.#wrong.push(`a dry run said ${JSON.stringify(said)}, and removed was ${JSON.stringify(removed)}`);
  }

  /** Every content, and nothing in the bucket but that and its record. */
  async #check(wanderers: readonly Wanderer[]): Promise<void> {
    const store = s3Store({ ...this.#settings, client: this.#client });
    for (const { name, answer, content } of wanderers) {
      const hash = createHash('sha256');
      const body = store.read(answer?.id ?? '', 0, content.byteLength);
      for await (const chunk of body as AsyncIterable<Uint8Array>) hash.update(chunk);
      if (hash.digest('hex') !== sha256(content)) this.#wrong.push(`${name}: the bucket has another content`);
    }
    await this.#plant(wanderers[0]?.answer?.id ?? '');
    // What a process sent that was killed may reach the bucket after it.
    let left: readonly string[] = [];
    for (let tries = 0; tries < 20; tries++) {
      if (tries > 0) await sleep(100);
      await this.#gc();
      left = await this.#unneeded(wanderers);
      if (left.length === 0) break;
    }
    const { multipartUploads, fragments, records, bytes } = this.#removed.reduce(added);
    if (multipartUploads < 3 || fragments < 1 || records < 1 || bytes < 3110)
      this.#wrong.push('not all that was planted was counted');
    this.#wrong.push(...left.map((what) => `left after gc: ${what}`));
  }

  async #unneeded(wanderers: readonly Wanderer[]): Promise<readonly string[]> {
    const left: string[] = [];
    const lengths = new Map(wanderers.map(({ answer, content }) => [answer?.id ?? '', content.byteLength]));
    let foreign = 0;
    for await (const { key } of this.#bucket.multipartUploads('')) {
      if (key === foreignKey) foreign++;
      else left.push(`multipart upload ${key}`);
    }
    let bytes = 0;
    let needed = 0;
    for await (const { key, size } of this.#bucket.list('')) {
      if (key === foreignKey) foreign++;
      if (key === foreignKey) continue;
      const id = this.#keys.idOf(key) ?? '';
      const { kind } = this.#keys.place(id, key) ?? {};
      bytes += size;
      if (kind === 'record' || kind === 'content')
        needed += kind === 'content' ? (lengths.get(id) ?? 0) : size;
      else left.push(key);
      if (!lengths.has(id)) left.push(key);
    }
    if (foreign !== 2) left.push("what is not the store's is gone");
    if (bytes !== needed) left.push(`${bytes} bytes where ${needed} are needed`);
    return left;
  }
}

const added = (a: GcCounts, b: GcCounts): GcCounts => ({
  multipartUploads: a.multipartUploads + b.multipartUploads,
  fragments: a.fragments + b.fragments,
  records: a.records + b.records,
  contents: a.contents + b.contents,
  markers: a.markers + b.markers,
  bytes: a.bytes + b.bytes,
});

/** Each of them, so many at a time. */
const inTurns = async <T>(
  atOnce: number,
  items: readonly T[],
  visit: (item: T) => Promise<void>,
): Promise<void> => {
  const left = [...items];
  const worker = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await visit(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
};
