import { setTimeout as sleep } from 'node:timers/promises';
import { askFor } from '../lib/ask.ts';
import { type Fired, fire, startCannon } from '../lib/cannon.ts';
import { Child } from '../lib/child.ts';
import { seededRandom } from '../lib/random.ts';
import { inTurn } from '../lib/trials.ts';
import { askUsage, cpuSeconds } from '../lib/usage.ts';
import { namedServerOf, type Variant } from '../steady-variants.ts';
import {
  type AnswerKind,
  type AnswersPlan,
  type AnswersResults,
  type AnswersTrial,
  answerKinds,
} from './answers-report.ts';

// Requests that bring or want little: how many a second are answered, by what they ask?

const contentBytes = 1024;
const connections = 32;
const openUploads = 1_000;
const finishedUploads = 100;
const warmUpSeconds = 0.5;
const startTimeoutMs = 20_000;
const prepareTimeoutMs = 60_000;
/** Beyond the time that is planned: for what is slow to end. */
const slackMs = 30_000;
/** Work that a server puts off until after its answer is still counted. */
const afterglowMs = 100;

const content = Buffer.alloc(contentBytes);
seededRandom(1).fill(content);

type Shoot = (seconds: number) => Promise<Fired>;

const measureKind = async (
  server: Child,
  kind: AnswerKind,
  shoot: Shoot,
  seconds: number,
): Promise<Omit<AnswersTrial, 'trial' | 'variant'>> => {
  await shoot(warmUpSeconds);
  const before = await askUsage(server);
  const { answered, seconds: took, p50Ms, p99Ms } = await shoot(seconds);
  await sleep(afterglowMs);
  const after = await askUsage(server);
  return { kind, answered, seconds: took, p50Ms, p99Ms, cpuSeconds: cpuSeconds(before, after) };
};

/** In one server, one after the other: what comes later finds what was stored before it, in every variant alike. */
const measure = async (
  variant: Variant,
  directory: string,
  seconds: number,
): Promise<ReadonlyArray<Omit<AnswersTrial, 'trial'>>> => {
  const { script, args } = namedServerOf(variant);
  const children: Child[] = [];
  const start = (child: Child): Child => {
    children.push(child);
    return child;
  };
  try {
    const server = start(new Child(script, [directory, ...args]));
    const port = await server.port(startTimeoutMs);
    const cannon = start(startCannon());
    const shots: Partial<Record<AnswerKind, Shoot>> = {
      upload: (time) => {
        const load = { port, protocol: variant.protocol, connections, body: content.toString('base64') };
        return fire(cannon, { ...load, seconds: time });
      },
    };
    // Who has no such names has no such questions.
    if (variant.store !== undefined) {
      const replays = start(new Child(new URL('../servers/replay-cannon.js', import.meta.url), []));
      const finished = { port, first: openUploads, uploads: finishedUploads, bytes: contentBytes };
      await askFor(server, 'populate', openUploads, prepareTimeoutMs);
      await askFor(replays, 'finish', finished, prepareTimeoutMs);
      shots.query = (time) =>
        fire(cannon, { port, protocol: 'query', connections, seconds: time, uploads: openUploads });
      shots.replay = (time) =>
        askFor<Fired>(replays, 'fire', { ...finished, connections, seconds: time }, time * 1000 + slackMs);
    }
    const rows: Array<Omit<AnswersTrial, 'trial'>> = [];
    for (const kind of answerKinds) {
      const shoot = shots[kind];
      if (shoot === undefined) continue;
      rows.push({ variant: variant.name, ...(await measureKind(server, kind, shoot, seconds)) });
    }
    return rows;
  } finally {
    await Promise.all(children.map((child) => child.stop()));
  }
};

export const measureAnswers = async (
  variants: readonly Variant[],
  fresh: () => Promise<string>,
  { trials, seconds }: AnswersPlan,
): Promise<AnswersResults> => {
  const raw = await inTurn('steady: answers', variants, trials, async (variant) =>
    measure(variant, await fresh(), seconds),
  );
  return { trials, seconds, contentBytes, connections, openUploads, finishedUploads, raw };
};
