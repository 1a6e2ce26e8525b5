import { afterEach, describe, expect, test, vi } from 'vitest';
import { LiveUpload } from '../../src/engine/live-upload.ts';
import { type FaultyStore, faultyStore } from '../support/faulty-store.ts';
import {
  content,
  Feed,
  gate,
  newEngine,
  newId,
  newWorld,
  openSession,
  rejectsWith,
  storeKinds,
  turn,
} from '../support/model.ts';

const never = 1_000_000_000;

/** Sizes and times that nothing reaches, so that only what a test lowers has an effect. */
const unreachable = { batchBytes: never, flushMs: never, checkpointBytes: never, checkpointMs: never };

/** Checkpoints come only when they are asked for. */
const liveUpload = (store: FaultyStore, id: string): LiveUpload =>
  new LiveUpload(
    store,
    id,
    { checkpointBytes: never, checkpointMs: never, aheadBytes: never },
    async () => undefined,
  );

const syncs = (store: FaultyStore): number => store.calls.get('sync') ?? 0;
const writes = (store: FaultyStore): number => store.calls.get('write') ?? 0;

afterEach(() => {
  vi.useRealTimers();
});

describe.each(storeKinds)('checkpoints: %s', (name) => {
  test('come after checkpointBytes, and what they make safe can be acknowledged', async () => {
    const store = faultyStore((await newWorld(name)).open());
    const engine = newEngine(store, { ...unreachable, batchBytes: 1000, checkpointBytes: 4000 });
    const { session, feed } = await openSession(engine, newId(), { length: 10_000 });
    const safe = gate();
    session.onCheckpoint(safe.open);
    await feed.send(session.transfer, content(3000));
    await vi.waitFor(() => expect(writes(store)).toBe(3));
    await turn();
    expect(syncs(store)).toBe(0);
    await feed.send(session.transfer, content(1000));
    await safe.opened;
    expect(syncs(store)).toBe(1);
    expect((await session.stored())?.received).toEqual([{ start: 0, end: 4000 }]);
    await session.finish(false);
  });

  test('come checkpointMs after the first unsafe byte', async () => {
    const store = faultyStore((await newWorld(name)).open());
    const engine = newEngine(store, { ...unreachable, batchBytes: 1000, checkpointMs: 10 });
    const { session, feed } = await openSession(engine, newId(), { length: 10_000 });
    const safe = gate();
    session.onCheckpoint(safe.open);
    await feed.send(session.transfer, content(1000));
    await safe.opened;
    expect((await session.stored())?.received).toEqual([{ start: 0, end: 1000 }]);
    await session.finish(false);
  });

  test('asked for, tell of what was still arriving on another connection', async () => {
    const engine = newEngine((await newWorld(name)).open(), unreachable);
    const id = newId();
    const { session, feed } = await openSession(engine, id, { length: 10_000 });
    await feed.send(session.transfer, content(1000));
    const asked = engine.query(id);
    // As from the buffers of a connection that was closed: one chunk per turn of the event loop.
    for (let chunk = 1; chunk < 5; chunk++) {
      await turn();
      await feed.send(session.transfer, content(1000));
    }
    expect((await asked)?.received).toEqual([{ start: 0, end: 5000 }]);
    await session.finish(false);
  });

  test('asked for, wait no longer than for the end of the last connection', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const engine = newEngine((await newWorld(name)).open(), unreachable);
    const id = newId();
    const { session, feed } = await openSession(engine, id, { length: 10_000 });
    await feed.send(session.transfer, content(1000));
    const asked = engine.query(id);
    await turn();
    await session.finish(false);
    expect((await asked)?.received).toEqual([{ start: 0, end: 1000 }]); // no timer has fired
  });

  test('asked for, do not wait for a connection that never stops', async () => {
    const engine = newEngine((await newWorld(name)).open(), unreachable);
    const id = newId();
    const { session, feed } = await openSession(engine, id, { length: never });
    let isAnswered = false;
    const asked = engine.query(id).then((stored) => {
      isAnswered = true;
      return stored;
    });
    let sent = 0;
    for (; !isAnswered; sent += 100) {
      await feed.send(session.transfer, content(100));
      await turn();
    }
    const [range] = (await asked)?.received ?? [];
    expect(range?.end ?? 0).toBeGreaterThan(0);
    expect(range?.end ?? 0).toBeLessThanOrEqual(sent);
    await session.finish(false);
  });

  test('do not come while nothing new was written', async () => {
    const store = faultyStore((await newWorld(name)).open());
    const engine = newEngine(store, { ...unreachable, batchBytes: 1000, checkpointMs: 5 });
    const { session, feed } = await openSession(engine, newId(), { length: 10_000 });
    let safe = gate();
    session.onCheckpoint(() => safe.open());
    await feed.send(session.transfer, content(1000));
    await safe.opened;
    safe = gate();
    await feed.send(session.transfer, content(1000));
    await safe.opened;
    expect(syncs(store)).toBe(2);
    await session.finish(false);
  });

  test('cover bytes that were written while a sync was under way, without another write', async () => {
    const [held, begun, written] = [gate(), gate(), gate()];
    const store = faultyStore((await newWorld(name)).open(), ({ op, nth, when }) => {
      if (op === 'write' && nth === 2 && when === 'after') written.open();
      if (op !== 'sync' || nth !== 1 || when !== 'after') return undefined;
      begun.open();
      return held.opened;
    });
    // Each batch is as large as a checkpoint.
    const sizes = { batchBytes: 1000, checkpointBytes: 1000, checkpointMs: 10 };
    const engine = newEngine(store, { ...unreachable, ...sizes });
    const { session, feed } = await openSession(engine, newId(), { length: 10_000 });
    await feed.send(session.transfer, content(1000));
    await begun.opened;
    await feed.send(session.transfer, content(1000));
    await written.opened;
    await turn();
    held.open();
    await expect
      .poll(async () => (await session.stored())?.received.at(-1)?.end, { timeout: 2000 })
      .toBe(2000);
    await session.finish(false);
  });

  test('asked for by many at once cost two syncs at most', async () => {
    const world = await newWorld(name);
    const held = gate();
    const store = faultyStore(world.open(), ({ op, nth, when }) =>
      op === 'sync' && nth === 1 && when === 'before' ? held.opened : undefined,
    );
    const id = newId();
    await store.create({ id, createdAt: 0, state: 'open', metadata: {}, attempt: 0 });
    const live = liveUpload(store, id);
    await live.write([content(1000)], 0, 1000);
    const asked = Array.from({ length: 50 }, () => live.checkpoint());
    await live.write([content(500)], 1000, 500);
    asked.push(...Array.from({ length: 50 }, () => live.checkpoint()));
    held.open();
    await Promise.all(asked);
    expect(syncs(store)).toBe(2);
    expect(live.safe.ranges()).toEqual([{ start: 0, end: 1500 }]);
    await live.close();
    expect(store.openWriters).toBe(0);
  });

  test('asked for by many queries at once cost two syncs at most', async () => {
    const store = faultyStore((await newWorld(name)).open());
    const engine = newEngine(store, unreachable);
    const id = newId();
    const { session, feed } = await openSession(engine, id, { length: 10_000 });
    await feed.send(session.transfer, content(1000));
    const answers = await Promise.all(Array.from({ length: 30 }, () => engine.query(id)));
    for (const answer of answers) expect(answer?.received).toEqual([{ start: 0, end: 1000 }]);
    expect(syncs(store)).toBeLessThanOrEqual(2);
    await session.finish(false);
  });

  test('that fail reject those who waited for them and nobody later', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open(), ({ op, nth, when }) => {
      if (op === 'sync' && nth === 1 && when === 'before') throw new Error('on purpose');
    });
    const id = newId();
    await store.create({ id, createdAt: 0, state: 'open', metadata: {}, attempt: 0 });
    const live = liveUpload(store, id);
    await live.write([content(1000)], 0, 1000);
    const first = live.checkpoint();
    const second = live.checkpoint();
    await rejectsWith(first, 'store_failed');
    await second;
    expect(live.safe.size).toBe(0);
    expect(live.written.size).toBe(0);
    expect((await store.load(id))?.received).toEqual([]);
    await live.write([content(1000)], 0, 1000);
    await live.checkpoint();
    expect((await store.load(id))?.received).toEqual([{ start: 0, end: 1000 }]);
    await live.close();
    expect(store.openWriters).toBe(0);
    expect(world.descriptors()).toBe(0);
  });

  test('a query makes safe what is still gathered in memory', async () => {
    const store = faultyStore((await newWorld(name)).open());
    const engine = newEngine(store, unreachable);
    const id = newId();
    const { session, feed } = await openSession(engine, id, { start: 7, length: 10_000 });
    await feed.send(session.transfer, content(333), 10);
    expect(await engine.find(id)).toBeUndefined();
    expect((await engine.query(id))?.received).toEqual([{ start: 7, end: 340 }]);
    expect(feed.stopped).toBeUndefined();
    await session.finish(false);
  });
});

describe.each(storeKinds)('a batch: %s', (name) => {
  test('is written when it is full', async () => {
    const store = faultyStore((await newWorld(name)).open());
    const engine = newEngine(store, { ...unreachable, batchBytes: 1000 });
    const { session } = await openSession(engine, newId(), { length: 10_000 });
    session.transfer.push(content(999));
    await turn();
    expect(store.calls.get('write')).toBeUndefined();
    session.transfer.push(content(1));
    await vi.waitFor(() => expect(writes(store)).toBe(1));
    await session.finish(false);
    expect(writes(store)).toBe(1);
  });

  test('is written when it has as many chunks as the system takes in one call', async () => {
    const store = faultyStore((await newWorld(name)).open());
    const engine = newEngine(store, unreachable);
    const { session } = await openSession(engine, newId(), { length: 10_000 });
    for (let i = 0; i < 1024; i++) session.transfer.push(content(1));
    await vi.waitFor(() => expect(writes(store)).toBe(1));
    expect((await session.finish(false)).received).toEqual([{ start: 0, end: 1024 }]);
  });

  test('keeps as many on their way as the store wants, and asks the sender to wait', async () => {
    const held = gate();
    let most = 0;
    let now = 0;
    const store = faultyStore((await newWorld(name)).open(), ({ op, when }) => {
      if (op !== 'write') return undefined;
      now += when === 'before' ? 1 : -1;
      most = Math.max(most, now);
      return when === 'before' ? held.opened : undefined;
    });
    const engine = newEngine(store, { ...unreachable, batchBytes: 1000 });
    const { session, feed } = await openSession(engine, newId(), { length: 10_000 });
    const { writesInFlight } = store.supports;
    for (let n = 0; n < writesInFlight; n++) expect(session.transfer.push(content(1000))).toBe(true);
    expect(session.transfer.push(content(1000))).toBe(false);
    expect(session.transfer.held).toBe(true);
    held.open();
    await vi.waitFor(() => expect(feed.resumes).toBe(1));
    expect(session.transfer.held).toBe(false);
    await session.finish(false);
    expect(most).toBe(writesInFlight);
  });
});

test('a batch that does not fill is written flushMs after its first byte, not after its last', async () => {
  const store = faultyStore((await newWorld('memory')).open());
  const engine = newEngine(store, { ...unreachable, flushMs: 250 });
  const { session } = await openSession(engine, newId(), { length: 10_000 }, new Feed());
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  session.transfer.push(content(10));
  await vi.advanceTimersByTimeAsync(200);
  session.transfer.push(content(10));
  await vi.advanceTimersByTimeAsync(49);
  expect(writes(store)).toBe(0);
  await vi.advanceTimersByTimeAsync(2);
  expect(writes(store)).toBe(1);
  vi.useRealTimers();
  expect((await session.finish(false)).received).toEqual([{ start: 0, end: 20 }]);
  expect(writes(store)).toBe(1);
});

test('the next batch has its own flushMs', async () => {
  const store = faultyStore((await newWorld('memory')).open());
  const engine = newEngine(store, { ...unreachable, flushMs: 250, batchBytes: 100 });
  const { session } = await openSession(engine, newId(), { length: 10_000 }, new Feed());
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  session.transfer.push(content(10));
  await vi.advanceTimersByTimeAsync(200);
  session.transfer.push(content(90));
  await vi.advanceTimersByTimeAsync(1);
  expect(writes(store)).toBe(1);
  session.transfer.push(content(10));
  await vi.advanceTimersByTimeAsync(249);
  expect(writes(store)).toBe(1);
  await vi.advanceTimersByTimeAsync(2);
  expect(writes(store)).toBe(2);
  vi.useRealTimers();
  await session.finish(false);
});
