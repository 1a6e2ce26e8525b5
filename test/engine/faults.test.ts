import { describe, expect, test } from 'vitest';
import type { Engine } from '../../src/engine.ts';
import { isUploadError } from '../../src/errors.ts';
import { IntervalSet } from '../../src/intervals.ts';
import {
  type FaultyStore,
  failNth,
  faultyStore,
  type StoreCall,
  type StoreOp,
} from '../support/faulty-store.ts';
import {
  content,
  idle,
  Ledger,
  makeWorld,
  newEngine,
  newId,
  newWorld,
  openSession,
  rejectsWith,
  type StoreKind,
  sha256,
  storedSum,
  storeKinds,
} from '../support/model.ts';

const length = 24_000;
const bytes = content(length);
const sizes = { batchBytes: 2000, checkpointBytes: 6000, flushMs: 1, checkpointMs: 5 };

/** Begun in two parallel parts with a gap, cut, resumed from what is acknowledged until it is whole, completed. */
class Upload {
  readonly id = newId();
  readonly errors: unknown[] = [];
  readonly #engine: Engine;
  readonly #ledger = new Ledger();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async toTheEnd(): Promise<void> {
    await Promise.all([this.#send(0, 9000, 7000), this.#send(12_000, 20_000, 20_000)]);
    for (let rounds = 0; ; rounds++) {
      if (rounds > 6) throw new Error(`no end: ${this.errors.join(', ')}`);
      const received = await this.#received();
      if (received === undefined) continue;
      const missing = IntervalSet.from(received).missing(0, length);
      if (missing.length === 0 && (await this.#complete())) return;
      for (const { start, end } of missing) await this.#send(start, end, end);
    }
  }

  async #received() {
    return this.#ledger
      .take(async () => (await this.#engine.query(this.id, { length }))?.received ?? [])
      .catch((error: unknown) => this.#note(error));
  }

  async #send(start: number, end: number, until: number): Promise<void> {
    try {
      const { session, feed } = await openSession(this.#engine, this.id, { start, end });
      await feed.send(session.transfer, bytes.subarray(start, until), 900);
      const clean = feed.stopped === undefined && until === end;
      await this.#ledger.take(async () => (await session.finish(clean)).received);
    } catch (error) {
      this.#note(error);
    }
  }

  async #complete(): Promise<boolean> {
    const answer = await this.#engine
      .complete(this.id, async () => ({ kind: 'finished', response: 'done', discard: false }))
      .catch((error: unknown) => this.#note(error));
    return answer?.kind === 'finished';
  }

  #note(error: unknown): undefined {
    this.errors.push(error);
    if (!isUploadError(error)) throw error;
  }
}

/** The operations of an upload without faults, to fail each of them in turn. */
const operations = async (name: StoreKind): Promise<ReadonlyMap<StoreOp, number>> => {
  const world = await makeWorld(name);
  const store = faultyStore(world.open());
  await new Upload(newEngine(store, sizes)).toTheEnd();
  await world.dispose();
  return store.calls;
};

const expectNothingLeft = (engine: Engine, store: FaultyStore, descriptors: number): void => {
  expect(engine.usage).toEqual(idle);
  expect(store.openWriters).toBe(0);
  expect(descriptors).toBe(0);
};

describe.each(storeKinds)('each operation of an upload failed in turn: %s', async (name) => {
  const counts = await operations(name);
  const failable: readonly StoreOp[] = ['create', 'load', 'update', 'writer', 'write', 'sync'];
  const cases = failable.flatMap((op) =>
    (['before', 'after'] as const).map((when): [StoreOp, StoreCall['when'], number] => [
      op,
      when,
      counts.get(op) ?? 0,
    ]),
  );

  test('takes in every kind of operation', () => {
    expect(cases.every(([, , count]) => count > 0)).toBe(true);
  });

  test.each(cases)(
    '%s, %s its effect (1 to %i): ends with equal sums, and nothing stays open',
    async (op, when, count) => {
      for (let nth = 1; nth <= count; nth++) {
        const world = await newWorld(name);
        const code = nth % 2 === 0 ? 'EIO' : 'ENOSPC';
        const store = faultyStore(world.open(), failNth(op, nth, when, code));
        const engine = newEngine(store, { ...sizes, leaseMs: 1 });
        const upload = new Upload(engine);
        await upload.toTheEnd();
        expect(await storedSum(store, upload.id, 0, length)).toBe(sha256(bytes));
        expectNothingLeft(engine, store, world.descriptors());
      }
    },
  );
});

describe.each(storeKinds)('a fault: %s', (name) => {
  test.each([
    ['ENOSPC', 'no_space'],
    ['EDQUOT', 'no_space'],
    ['EIO', 'store_failed'],
  ] as const)(
    '%s of a write stops the transfer with %s, and keeps the bytes before it',
    async (code, expected) => {
      const world = await newWorld(name);
      const store = faultyStore(world.open(), failNth('write', 3, 'before', code));
      const engine = newEngine(store, { batchBytes: 1000 });
      const id = newId();
      const { session, feed } = await openSession(engine, id, { length });
      for (let at = 0; at < 3000; at += 1000) {
        session.transfer.push(bytes.slice(at, at + 1000));
        await engine.query(id);
      }
      expect((await feed.ended).code).toBe(expected);
      expect(session.transfer.push(bytes.slice(3000, 4000))).toBe(false);
      await rejectsWith(session.finish(false), expected);
      expect((await engine.query(id))?.received).toEqual([{ start: 0, end: 2000 }]);
      expectNothingLeft(engine, store, world.descriptors());
    },
  );

  test('of a sync takes back all that was not acknowledged, from all requests', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open(), failNth('sync', 2, 'before', 'EIO'));
    const engine = newEngine(store, { batchBytes: 1000 });
    const id = newId();
    const one = await openSession(engine, id, { start: 0, end: 10_000, length });
    const two = await openSession(engine, id, { start: 10_000, end: 20_000, length });
    await one.feed.send(one.session.transfer, bytes.subarray(0, 2000));
    expect((await engine.query(id))?.received).toEqual([{ start: 0, end: 2000 }]);
    await one.feed.send(one.session.transfer, bytes.subarray(2000, 5000));
    await two.feed.send(two.session.transfer, bytes.subarray(10_000, 15_000));
    expect((await engine.query(id))?.received).toEqual([{ start: 0, end: 2000 }]);
    expect([one.feed.stopped?.code, two.feed.stopped?.code]).toEqual(['store_failed', 'store_failed']);
    for (const { session } of [one, two]) await session.finish(false).catch(() => undefined);
    expect((await engine.query(id))?.received).toEqual([{ start: 0, end: 2000 }]);
    expectNothingLeft(engine, store, world.descriptors());
  });

  test('of a sync is told to the request that waits for it', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open(), failNth('sync', 1, 'before', 'ENOSPC'));
    const engine = newEngine(store, { ...sizes, checkpointMs: 60_000 });
    const { session, feed } = await openSession(engine, newId(), { length });
    await feed.send(session.transfer, bytes.subarray(0, 3000));
    await rejectsWith(session.finish(false), 'no_space');
    expectNothingLeft(engine, store, world.descriptors());
  });

  test('of the creation of a small upload leaves nothing, and the next request makes it', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open(), failNth('create', 1, 'before', 'ENOSPC'));
    const engine = newEngine(store);
    const id = newId();
    const { session, feed } = await openSession(engine, id, { length: 500 });
    await feed.send(session.transfer, content(500));
    await rejectsWith(session.finish(true), 'no_space');
    expect(await engine.find(id)).toBeUndefined();
    expectNothingLeft(engine, store, world.descriptors());
    const again = await openSession(engine, id, { length: 500 });
    await again.feed.send(again.session.transfer, content(500));
    expect(await again.session.finish(true)).toMatchObject({ whole: true });
    expectNothingLeft(engine, store, world.descriptors());
  });

  test('of one upload does not reach another', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open(), failNth('write', 1, 'before', 'EIO'));
    const engine = newEngine(store, { batchBytes: 1000, memoryBudget: 2000 });
    const bad = await openSession(engine, newId(), { length });
    const good = await openSession(engine, newId(), { length });
    bad.session.transfer.push(bytes.slice(0, 1000));
    expect((await bad.feed.ended).code).toBe('store_failed');
    await good.feed.send(good.session.transfer, bytes);
    expect(await good.session.finish(true)).toMatchObject({ whole: true });
    await rejectsWith(bad.session.finish(false), 'store_failed');
    expectNothingLeft(engine, store, world.descriptors());
  });

  test('of closing a writer is told, and the upload can go on', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open(), failNth('closeWriter', 1, 'after', 'EIO'));
    const engine = newEngine(store);
    const id = newId();
    await engine.create(id, { length });
    const { session, feed } = await openSession(engine, id, { length });
    await feed.send(session.transfer, bytes.subarray(0, 5000));
    await session.finish(false).catch((error: unknown) => expect(isUploadError(error)).toBe(true));
    expect((await engine.query(id))?.received).toEqual([{ start: 0, end: 5000 }]);
    expectNothingLeft(engine, store, world.descriptors());
  });
});
