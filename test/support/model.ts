import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { Transfer, TransferSource } from '../../src/engine/transfer.ts';
import type { WriteResult, WriteSession } from '../../src/engine/write-session.ts';
import { Engine, type EngineOptions, type WriteRequest } from '../../src/engine.ts';
import type { UploadError, UploadErrorCode } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import { self } from '../../src/owner.ts';
import type { Durability, Store } from '../../src/store.ts';
import { fsStore } from '../../stores/fs.ts';
import { memoryStore } from '../../stores/memory.ts';
import { sqliteStore } from '../../stores/sqlite.ts';
import { seededContent as content } from './seeded-content.ts';

export { gate } from './gate.ts';
export { content };

const KiB = 1024;

/** Small sizes and short times; leases that never lapse by themselves. */
export const engineOptions = (overrides: Partial<EngineOptions> = {}): EngineOptions => ({
  batchBytes: 4 * KiB,
  flushMs: 5,
  memoryBudget: 1024 * KiB,
  checkpointBytes: 16 * KiB,
  checkpointMs: 20,
  aheadBytes: 1024 * KiB,
  resumeTimeoutMs: 600_000,
  maxLength: 1024 * 1024 * KiB,
  leaseMs: 600_000,
  reserveBytes: 1024,
  expiresAfterMs: 3_600_000,
  tombstoneMs: 3_600_000,
  maxAttempts: 3,
  onError: () => undefined,
  ...overrides,
});

export const newId = (): string => randomBytes(16).toString('hex');

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The sum of what a store reads back. */
export const storedSum = async (store: Store, id: string, start: number, end: number): Promise<string> => {
  const hash = createHash('sha256');
  for await (const chunk of store.read(id, start, end)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
};

/** A place where uploads are kept, which any number of store instances share, as processes would. */
export interface World {
  readonly name: StoreKind;
  /** Empty for memory. */
  readonly directory: string;
  /** A new instance where the store allows for several. */
  open(): Store;
  /** Files of this place that the process has open; a database counts for nothing. */
  descriptors(): number;
  dispose(): Promise<void>;
}

export type StoreKind = 'memory' | 'fs' | 'sqlite';

export const storeKinds: readonly StoreKind[] = ['memory', 'fs', 'sqlite'];

export const makeWorld = async (name: StoreKind, durability: Durability = 'process'): Promise<World> => {
  if (name === 'memory') {
    const store = memoryStore();
    // Closing an engine closes its store; here the data must outlive that.
    const lasting: Store = { ...store, close: async () => undefined };
    return {
      name,
      directory: '',
      open: () => lasting,
      descriptors: () => 0,
      dispose: () => store.close(),
    };
  }
  const directory = await mkdtemp(join(tmpdir(), 'engine-'));
  const opened: Store[] = [];
  return {
    name,
    directory,
    open: () => {
      const store =
        name === 'fs' ? fsStore(directory, { durability }) : sqliteStore({ directory, durability });
      opened.push(store);
      return store;
    },
    descriptors: () => openDescriptors(directory),
    dispose: async () => {
      await Promise.all(opened.map((store) => store.close()));
      await rm(directory, { recursive: true, force: true });
    },
  };
};

/** One that goes with the test. */
export const newWorld = async (name: StoreKind, durability?: Durability): Promise<World> => {
  const world = await makeWorld(name, durability);
  onTestFinished(() => world.dispose());
  return world;
};

const openDescriptors = (directory: string): number => {
  let count = 0;
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      if (path.startsWith(directory) && !path.startsWith(join(directory, 'index.sqlite'))) count++;
    } catch {
      // It was the descriptor of the listing itself.
    }
  }
  return count;
};

export const newEngine = (store: Store, overrides: Partial<EngineOptions> = {}): Engine =>
  new Engine(store, engineOptions(overrides));

/** Stands for a connection: delivers bytes, pauses when it is told to, and remembers why it was stopped. */
export class Feed implements TransferSource {
  stopped: UploadError | undefined;
  resumes = 0;
  readonly ended: Promise<UploadError>;
  #onStop: (reason: UploadError) => void = () => undefined;
  #wake: (() => void) | undefined;

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#onStop = resolve;
    });
  }

  resume(): void {
    this.resumes++;
    this.#wake?.();
  }

  stop(reason: UploadError): void {
    this.stopped = reason;
    this.#onStop(reason);
    this.#wake?.();
  }

  /** Delivers the bytes in chunks, with pauses where they are asked for, until all are out or it is stopped. */
  async send(transfer: Transfer, bytes: Uint8Array, chunk = 1000): Promise<void> {
    for (let at = 0; at < bytes.byteLength && this.stopped === undefined; at += chunk) {
      const room = transfer.push(bytes.slice(at, at + chunk));
      if (!room && this.stopped === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

export interface OpenSession {
  readonly session: WriteSession;
  readonly feed: Feed;
}

export const writeRequest = (request: Partial<WriteRequest> = {}): WriteRequest => ({
  absent: 'create',
  start: 0,
  end: undefined,
  endsContent: false,
  ...request,
});

export const openSession = async (
  engine: Engine,
  id: string,
  request: Partial<WriteRequest> = {},
  feed = new Feed(),
): Promise<OpenSession> => {
  const session = await engine.write(id, writeRequest(request), feed);
  if (session.kind !== 'writing') throw new Error(`not writing: ${session.kind}`);
  return { session, feed };
};

/** One request that brings `[start, end)` of `whole` and ends cleanly. */
export const bring = async (
  engine: Engine,
  id: string,
  whole: Uint8Array,
  { start, end }: Range = { start: 0, end: whole.byteLength },
  chunk?: number,
): Promise<WriteResult> => {
  const { session, feed } = await openSession(engine, id, { start, end, length: whole.byteLength });
  await feed.send(session.transfer, whole.subarray(start, end), chunk);
  return session.finish(feed.stopped === undefined);
};

/** A whole upload without an answer. */
export const wholeUpload = async (engine: Engine, bytes = content(5000)): Promise<string> => {
  const id = newId();
  const result = await bring(engine, id, bytes);
  expect(result.whole).toBe(true);
  return id;
};

/** All that is acknowledged, and the check that it never shrinks. */
export class Ledger {
  readonly acknowledged = new IntervalSet();

  /** Asks, and compares the answer with all that had been acknowledged when the question was put. */
  async take(ask: () => Promise<readonly Range[]>): Promise<readonly Range[]> {
    const before = this.acknowledged.ranges();
    const now = await ask();
    const set = IntervalSet.from(now);
    for (const { start, end } of before) {
      if (!set.covers(start, end)) {
        throw new Error(`${start}-${end} was acknowledged, now only ${JSON.stringify(now)}`);
      }
    }
    this.acknowledged.addAll(now);
    return now;
  }
}

/** The owner that a process of this machine would have had which has ended since. */
export const deadOwner = (): string => {
  const { pid } = spawnSync('/bin/true');
  const [machine, , born] = self.split('.');
  return `${machine}.${pid}.${born}.000000000000`;
};

export const rejectsWith = async (promise: Promise<unknown>, code: UploadErrorCode): Promise<void> => {
  await expect(promise).rejects.toMatchObject({ name: 'UploadError', code });
};

/** Lets everything that is ready run. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const idle = { heldBytes: 0, liveUploads: 0, completions: 0 };
