import { askFor } from '../lib/ask.ts';
import { type Fired, fire, startCannon } from '../lib/cannon.ts';
import { Child } from '../lib/child.ts';
import { settle } from '../lib/scratch.ts';
import { askUsage } from '../lib/usage.ts';
import { namedServer, type StoreKind } from '../stores-variants.ts';
import type { GrowthResults, GrowthRow } from './growth-report.ts';

// Does a store with a million uploads in its index answer, start and remember as one with a hundred does?

const startTimeoutMs = 120_000;
/** A million uploads at some hundred a second. */
const populateTimeoutMs = 3_600_000;
const walkTimeoutMs = 600_000;
const askTimeoutMs = 10_000;
const warmUpSeconds = 1;

export interface GrowthPlan {
  readonly sizes: Readonly<Record<StoreKind, readonly number[]>>;
  readonly rounds: number;
  readonly seconds: number;
}

/** A server whose store has that many uploads, and what is known of it so far. */
interface Subject {
  readonly store: StoreKind;
  readonly uploads: number;
  readonly server: Child;
  readonly port: number;
  readonly populateSeconds: number;
  readonly openingMs: number;
  readonly rounds: Fired[];
}

const nameOf = ({ store, uploads }: Pick<Subject, 'store' | 'uploads'>): string =>
  `${store} with ${uploads} uploads`;

/** Fills a directory through a process that then dies without a word. */
const populate = async (store: StoreKind, directory: string, uploads: number): Promise<number> => {
  const { script, args } = namedServer(store, directory);
  const server = new Child(script, args);
  try {
    await server.port(startTimeoutMs);
    const { seconds } = await askFor<{ seconds: number }>(server, 'populate', uploads, populateTimeoutMs);
    return seconds;
  } finally {
    await server.stop();
    await settle();
  }
};

/** Starts a server on what another has left, and adds it to those that must be stopped. */
const reopen = async (
  store: StoreKind,
  directory: string,
  uploads: number,
  started: Child[],
): Promise<Subject> => {
  const populateSeconds = await populate(store, directory, uploads);
  const { script, args } = namedServer(store, directory);
  const server = new Child(script, args);
  started.push(server);
  const port = await server.port(startTimeoutMs);
  const opening = await askFor<{ ms: number; found: boolean }>(server, 'opening', true, askTimeoutMs);
  const subject = { store, uploads, server, port, populateSeconds, openingMs: opening.ms, rounds: [] };
  if (!opening.found) throw new Error(`${nameOf(subject)}: has lost the first of them`);
  return subject;
};

/** A walk over everything costs memory: it comes after the figures. */
const finish = async ({ server, port: _, ...subject }: Subject): Promise<GrowthRow> => {
  const { rss, peakRss } = await askUsage(server);
  const stored = await askFor<number>(server, 'count', true, walkTimeoutMs);
  if (stored !== subject.uploads) throw new Error(`${nameOf(subject)}: has ${stored}`);
  return { ...subject, rssBytes: rss, peakRssBytes: peakRss };
};

export const measureGrowth = async (
  stores: readonly StoreKind[],
  fresh: () => Promise<string>,
  { sizes, rounds, seconds }: GrowthPlan,
): Promise<GrowthResults> => {
  const started: Child[] = [];
  try {
    const subjects: Subject[] = [];
    for (const store of stores) {
      for (const uploads of sizes[store]) {
        process.stderr.write(`stores: index, ${nameOf({ store, uploads })}: populating\n`);
        subjects.push(await reopen(store, await fresh(), uploads, started));
      }
    }
    const cannon = startCannon();
    started.push(cannon);
    const ask = ({ port, uploads }: Subject, time: number): Promise<Fired> =>
      fire(cannon, { port, protocol: 'query', connections: 1, seconds: time, uploads });
    for (const subject of subjects) await ask(subject, warmUpSeconds);
    // Round-robin, as everywhere; a server that waits for its turn costs nothing.
    for (let round = 1; round <= rounds; round++) {
      for (const subject of subjects) {
        process.stderr.write(`stores: index, round ${round}/${rounds}, ${nameOf(subject)}\n`);
        subject.rounds.push(await ask(subject, seconds));
      }
    }
    const rows: GrowthRow[] = [];
    for (const subject of subjects) rows.push(await finish(subject));
    return { rounds, seconds, raw: rows };
  } finally {
    await Promise.all(started.map((child) => child.stop()));
  }
};
