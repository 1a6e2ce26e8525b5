import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Engine } from '../../src/engine.ts';
import { isUploadError } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { Store } from '../../src/store.ts';
import {
  content,
  Ledger,
  makeWorld,
  newEngine,
  newId,
  type OpenSession,
  openSession,
  type StoreKind,
  sha256,
  storedSum,
  storeKinds,
  turn,
  type World,
} from '../support/model.ts';

// Offsets and sizes are fractions of the length, so that a schedule shrinks independently of it.
type Step =
  | { readonly kind: 'open'; readonly at: number; readonly part: number; readonly form: Form }
  | { readonly kind: 'push'; readonly which: number; readonly part: number }
  | { readonly kind: 'cut'; readonly which: number }
  | { readonly kind: 'complete'; readonly which: number }
  | { readonly kind: 'query' }
  | { readonly kind: 'turn' }
  | { readonly kind: 'restart'; readonly clean: boolean };

/** What a request says of itself. */
type Form = 'range' | 'range and length' | 'to the end' | 'from here on';

const fraction = fc.integer({ min: 0, max: 999 }).map((n) => n / 1000);
const which = fc.nat({ max: 5 });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('open' as const),
      at: fraction,
      part: fraction,
      form: fc.constantFrom<Form>('range', 'range and length', 'to the end', 'from here on'),
    }),
  },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('push' as const), which, part: fraction }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cut' as const), which }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('complete' as const), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('query' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('turn' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), clean: fc.boolean() }) },
);

const schedule = fc.record({
  length: fc.integer({ min: 0, max: 40_000 }),
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  batchBytes: fc.integer({ min: 1, max: 8000 }),
  checkpointBytes: fc.integer({ min: 1, max: 20_000 }),
  memoryBudget: fc.integer({ min: 1, max: 30_000 }),
  steps: fc.array(step, { minLength: 1, maxLength: 40 }),
});

type Schedule = typeof schedule extends fc.Arbitrary<infer T> ? T : never;

interface Body extends OpenSession {
  readonly end: number;
}

/** One upload under one schedule. */
class Run {
  readonly #world: World;
  readonly #plan: Schedule;
  readonly #bytes: Uint8Array;
  readonly #id = newId();
  readonly #ledger = new Ledger();
  readonly #acknowledging: Promise<unknown>[] = [];
  /** Sessions of engines that were dropped without a word. */
  readonly #dropped: Body[] = [];
  #bodies: Body[] = [];
  #store: Store;
  #engine: Engine;

  constructor(world: World, plan: Schedule) {
    this.#world = world;
    this.#plan = plan;
    this.#bytes = content(plan.length, plan.seed);
    this.#store = world.open();
    this.#engine = newEngine(this.#store, plan);
  }

  async toTheEnd(): Promise<void> {
    for (const step of this.#plan.steps) await this.#take(step);
    for (const body of [...this.#bodies]) await this.#finish(body, false);
    await this.#bringTheRest();
    await Promise.all(this.#acknowledging);
    const { length } = this.#plan;
    expect(await storedSum(this.#store, this.#id, 0, length)).toBe(sha256(this.#bytes));
    expect(this.#engine.usage).toEqual({ heldBytes: 0, liveUploads: 0, completions: 0 });
    for (const { session } of this.#dropped) await session.finish(false);
    await this.#engine.close();
    expect(this.#world.descriptors()).toBe(0);
  }

  async #take(step: Step): Promise<void> {
    if (step.kind === 'open') return this.#open(step.at, step.part, step.form);
    if (step.kind === 'query') return void (await this.#query());
    if (step.kind === 'turn') return turn();
    if (step.kind === 'restart') return this.#restart(step.clean);
    const body = this.#bodies[step.which % Math.max(this.#bodies.length, 1)];
    if (body === undefined) return;
    if (step.kind === 'cut') await this.#finish(body, false);
    else if (step.kind === 'complete') {
      await this.#push(body, 1);
      await this.#finish(body, body.session.transfer.position === body.end);
    } else await this.#push(body, step.part);
  }

  async #open(at: number, part: number, form: Form): Promise<void> {
    const { length } = this.#plan;
    const start = Math.floor(at * length);
    const isTail = form === 'to the end' || form === 'from here on';
    const end = isTail ? length : start + Math.floor(part * (length - start));
    const opened = await openSession(this.#engine, this.#id, {
      start,
      end: form === 'from here on' ? undefined : end,
      length: form === 'range and length' || form === 'to the end' ? length : undefined,
      endsContent: isTail,
    });
    const { session } = opened;
    this.#bodies.push({ ...opened, end });
    session.onCheckpoint(() => {
      this.#acknowledging.push(this.#ledger.take(async () => (await session.stored())?.received ?? []));
    });
  }

  async #push({ session, feed, end }: Body, part: number): Promise<void> {
    const { position } = session.transfer;
    const until = position + Math.ceil(part * (end - position));
    await feed.send(session.transfer, this.#bytes.subarray(position, until), 700);
  }

  async #finish(body: Body, clean: boolean): Promise<void> {
    this.#bodies = this.#bodies.filter((other) => other !== body);
    const { session, feed } = body;
    await this.#ledger.take(async () => (await session.finish(clean && feed.stopped === undefined)).received);
  }

  async #query(): Promise<readonly Range[]> {
    return this.#ledger.take(async () => (await this.#engine.query(this.#id))?.received ?? []);
  }

  async #restart(clean: boolean): Promise<void> {
    if (clean) {
      const closing = this.#engine.close();
      for (const body of [...this.#bodies]) {
        expect((await body.feed.ended).code).toMatch(/closing|superseded/);
        await this.#finish(body, false);
      }
      await closing;
    } else {
      await turn();
      this.#dropped.push(...this.#bodies);
      this.#bodies = [];
    }
    this.#store = this.#world.open();
    this.#engine = newEngine(this.#store, this.#plan);
  }

  /** Only what no acknowledgement names is sent again. */
  async #bringTheRest(): Promise<void> {
    const { length } = this.#plan;
    for (let rounds = 0; ; rounds++) {
      if (rounds > 1) throw new Error('what was sent and acknowledged is still missing');
      const missing = IntervalSet.from(await this.#query()).missing(0, length);
      const isStated = (await this.#store.load(this.#id))?.record.length === length;
      if (missing.length === 0 && isStated) return;
      for (const { start, end } of missing.length > 0 ? missing : [{ start: length, end: length }]) {
        const { session, feed } = await openSession(this.#engine, this.#id, { start, end, length });
        await feed.send(session.transfer, this.#bytes.subarray(start, end), 700);
        await this.#ledger.take(async () => (await session.finish(true)).received);
      }
    }
  }
}

const runs: Readonly<Record<StoreKind, number>> = { memory: 200, fs: 40, sqlite: 40 };

describe('any schedule of cuts, gaps, overlaps, parallel ranges and restarts', () => {
  test.each(storeKinds)('ends with equal sums, and forgets nothing acknowledged: %s', async (name) => {
    await fc.assert(
      fc.asyncProperty(schedule, async (plan) => {
        const world = await makeWorld(name);
        try {
          await new Run(world, plan).toTheEnd();
        } catch (error) {
          if (isUploadError(error)) throw new Error(`${error.code}: ${error.message}`, { cause: error });
          throw error;
        } finally {
          await world.dispose();
        }
      }),
      { seed: 20_240_501, numRuns: runs[name] },
    );
  });
});
