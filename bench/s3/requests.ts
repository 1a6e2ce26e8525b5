import { askFor } from '../lib/ask.ts';
import { Child } from '../lib/child.ts';
import type { ServerVariant } from '../s3-variants.ts';
import type { Bucket } from './bucket.ts';
import { Client } from './client.ts';
import { interleaved, type RunTrial } from './plan.ts';
import type { Counted, RequestsResults, Scenario } from './requests-report.ts';

// What an upload costs in requests to S3, and what it costs to go on with one in another process.

const KiB = 1024;
const MiB = 1024 * KiB;
const sizes = [
  ['1 KiB', KiB],
  ['64 KiB', 64 * KiB],
  ['1 MiB', MiB],
  ['8 MiB', 8 * MiB],
  ['100 MiB', 100 * MiB],
] as const;
const cutSize = 100 * MiB;
/** In the middle of a part, whoever's. */
const cutBytes = 52 * MiB;
const startTimeoutMs = 20_000;
/** For all that a server does after its last answer. */
const silenceTimeoutMs = 30_000;

/** A server process that tells what it asks of S3. */
class Node {
  readonly child: Child;
  readonly port: number;

  private constructor(child: Child, port: number) {
    this.child = child;
    this.port = port;
  }

  static async start({ script, args }: ServerVariant, bucket: Bucket): Promise<Node> {
    const child = new Child(script, args, bucket.env);
    try {
      return new Node(child, await child.port(startTimeoutMs));
    } catch (error) {
      await child.stop();
      throw error;
    }
  }

  /** What it has asked of S3 since the last time this was asked, once it is silent. */
  requests(): Promise<Counted> {
    return askFor<Counted>(this.child, 'requests', true, silenceTimeoutMs);
  }
}

/** One plain upload of each size. The first of all also pays for what a process finds out once. */
const plain = async (variant: ServerVariant, bucket: Bucket): Promise<Scenario[]> => {
  const client = new Client(variant);
  const node = await Node.start(variant, bucket);
  try {
    const scenarios: Scenario[] = [];
    for (const [name, size] of [['1 KiB, first of a process', KiB] as const, ...sizes]) {
      await client.upload(node.port, size);
      const { sent } = await node.requests();
      scenarios.push({ name, requests: sent });
    }
    return scenarios;
  } finally {
    await client.stop();
    await node.child.stop();
  }
};

interface ResumeKind {
  readonly name: string;
  /** Whether the second process has served an upload before. */
  readonly warm: boolean;
  /** Whether the second process is asked for the offset, as it is by a client that comes back, or the first. */
  readonly asks: boolean;
}

const resumeKinds: readonly ResumeKind[] = [
  { name: 'its rest, elsewhere: sent at once', warm: true, asks: false },
  { name: 'its rest, elsewhere: asked, then sent', warm: true, asks: true },
  { name: 'its rest, new process: asked, then sent', warm: false, asks: true },
];

/** An upload that is cut off in one process and goes on in another. */
const resumed = async (
  variant: ServerVariant,
  bucket: Bucket,
  { name, warm, asks }: ResumeKind,
): Promise<{ readonly cut: Scenario; readonly resumed: Scenario }> => {
  const client = new Client(variant);
  const nodes: Node[] = [];
  try {
    for (let i = 0; i < 2; i++) nodes.push(await Node.start(variant, bucket));
    const [first, second] = nodes as [Node, Node];
    for (const node of warm ? nodes : [first]) await client.upload(node.port, KiB);
    for (const node of nodes) await node.requests();

    const path = await client.cut(first.port, cutSize, cutBytes);
    const { sent: untilCut } = await first.requests();
    const start = await client.ask((asks ? second : first).port, path, cutSize);
    const { sent: query } = await second.requests();
    await client.resume(second.port, path, cutSize, start);
    const { sent: requests, beforeBody } = await second.requests();
    await bucket.assertStored(cutSize);
    return {
      cut: { name: '100 MiB, until the cut', requests: untilCut },
      resumed: { name, requests, resumption: { query, beforeBody, keptBytes: start } },
    };
  } finally {
    await client.stop();
    for (const { child } of nodes) await child.stop();
  }
};

const measure = async (variant: ServerVariant, runTrial: RunTrial): Promise<Scenario[]> => {
  const scenarios = await runTrial(({ bucket }) => plain(variant, bucket));
  for (const [i, kind] of resumeKinds.entries()) {
    const outcome = await runTrial(({ bucket }) => resumed(variant, bucket, kind));
    if (i === 0) scenarios.push(outcome.cut);
    scenarios.push(outcome.resumed);
  }
  return scenarios;
};

export const measureRequests = async (
  servers: readonly ServerVariant[],
  runTrial: RunTrial,
  { trials }: { readonly trials: number },
): Promise<RequestsResults> => {
  const raw = await interleaved('requests', servers, trials, async (variant) => ({
    scenarios: await measure(variant, runTrial),
  }));
  return { trials, cutBytes, raw };
};
