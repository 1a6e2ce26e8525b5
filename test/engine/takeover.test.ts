import { describe, expect, test } from 'vitest';
import { isUploadError } from '../../src/errors.ts';
import { faultyStore } from '../support/faulty-store.ts';
import {
  bring,
  content,
  Feed,
  gate,
  idle,
  newEngine,
  newId,
  newWorld,
  openSession,
  rejectsWith,
  sha256,
  storedSum,
  storeKinds,
  writeRequest,
} from '../support/model.ts';

describe.each(storeKinds)('a request for bytes that another is bringing: %s', (name) => {
  test('ends the older one at once, keeps what it delivered, and skips that', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open());
    const engine = newEngine(store);
    const bytes = content(30_000);
    const id = newId();
    const length = bytes.byteLength;
    const older = await openSession(engine, id, { length });
    await older.feed.send(older.session.transfer, bytes.subarray(0, 10_500));
    expect(older.feed.stopped).toBeUndefined();

    const newer = await openSession(engine, id, { length });
    expect(older.feed.stopped?.code).toBe('superseded');
    expect(older.session.transfer.push(bytes.subarray(10_500, 11_000))).toBe(false);
    await newer.feed.send(newer.session.transfer, bytes);
    const [first, second] = await Promise.all([older.session.finish(false), newer.session.finish(true)]);

    expect(first.received[0]?.end).toBeGreaterThanOrEqual(10_500);
    expect(second.whole).toBe(true);
    expect(await storedSum(store, id, 0, length)).toBe(sha256(bytes));
    expect(engine.usage).toEqual(idle);
    expect(store.openWriters).toBe(0);
  });

  test('writes none of the delivered bytes a second time', async () => {
    const world = await newWorld(name);
    let written = 0;
    const store = faultyStore(world.open(), ({ op, when, bytes }) => {
      if (op === 'write' && when === 'before') written += bytes;
    });
    const engine = newEngine(store);
    const bytes = content(30_000);
    const id = newId();
    const older = await openSession(engine, id, { length: bytes.byteLength });
    await older.feed.send(older.session.transfer, bytes.subarray(0, 17_777));
    const newer = await openSession(engine, id, { length: bytes.byteLength });
    await newer.feed.send(newer.session.transfer, bytes);
    await older.session.finish(false);
    await newer.session.finish(true);
    expect(written).toBe(bytes.byteLength);
  });

  test('keeps what the older one pushes while it is being stopped', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const bytes = content(9000);
    const id = newId();
    const feed = new Feed();
    const older = await openSession(engine, id, { length: 9000 }, feed);
    await feed.send(older.session.transfer, bytes.subarray(0, 5000));
    const { stop } = feed;
    feed.stop = (reason) => {
      older.session.transfer.push(bytes.slice(5000, 6000));
      stop.call(feed, reason);
    };
    const newer = await openSession(engine, id, { length: 9000 });
    expect((await older.session.finish(false)).received).toEqual([{ start: 0, end: 6000 }]);
    expect((await newer.session.finish(false)).received).toEqual([{ start: 0, end: 6000 }]);
  });

  test('leaves disjoint ones alone, in both directions', async () => {
    const world = await newWorld(name);
    const store = world.open();
    const engine = newEngine(store);
    const bytes = content(40_000);
    const id = newId();
    const ranges = [0, 1, 2, 3].map((n) => ({ start: n * 10_000, end: (n + 1) * 10_000 })).reverse();
    const sessions = await Promise.all(
      ranges.map(async (range) => ({
        range,
        ...(await openSession(engine, id, { ...range, length: 40_000 })),
      })),
    );
    await Promise.all(
      sessions.map(({ session, feed, range }) =>
        feed.send(session.transfer, bytes.subarray(range.start, range.end)),
      ),
    );
    const results = await Promise.all(sessions.map(({ session }) => session.finish(true)));
    expect(sessions.map(({ feed }) => feed.stopped)).toEqual([undefined, undefined, undefined, undefined]);
    expect(results.filter(({ whole }) => whole).length).toBeGreaterThanOrEqual(1);
    expect(await storedSum(store, id, 0, 40_000)).toBe(sha256(bytes));
    expect(engine.usage).toEqual(idle);
  });

  test('does not end one that is past those bytes already', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const bytes = content(20_000);
    const id = newId();
    const first = await openSession(engine, id, { length: 20_000 });
    await first.feed.send(first.session.transfer, bytes.subarray(0, 12_000));
    await bring(engine, id, bytes, { start: 3000, end: 9000 });
    expect(first.feed.stopped).toBeUndefined();
    await first.feed.send(first.session.transfer, bytes.subarray(12_000));
    expect((await first.session.finish(true)).whole).toBe(true);
  });

  test('of three at one tick only the last goes on, and nothing hangs', async () => {
    const world = await newWorld(name);
    const store = world.open();
    const engine = newEngine(store);
    const bytes = content(25_000);
    for (let round = 0; round < 10; round++) {
      const id = newId();
      const feeds = [new Feed(), new Feed(), new Feed()];
      const results = await Promise.all(
        feeds.map(async (feed) => {
          try {
            const { session } = await openSession(engine, id, { length: 25_000 }, feed);
            await feed.send(session.transfer, bytes);
            const { whole } = await session.finish(feed.stopped === undefined);
            return feed.stopped?.code ?? whole;
          } catch (error) {
            return isUploadError(error) ? error.code : error;
          }
        }),
      );
      expect(results).toEqual(['superseded', 'superseded', true]);
      expect(await storedSum(store, id, 0, 25_000)).toBe(sha256(bytes));
      expect(engine.usage).toEqual(idle);
    }
    expect(world.descriptors()).toBe(0);
  });

  test('wins when it came later, even if it was ready earlier', async () => {
    const world = await newWorld(name);
    const held = gate();
    const store = faultyStore(world.open(), ({ op, nth, when }) =>
      op === 'load' && nth === 1 && when === 'after' ? held.opened : undefined,
    );
    const engine = newEngine(store);
    const id = newId();
    const older = openSession(engine, id, { length: 1000 });
    const newer = await openSession(engine, id, { length: 1000 });
    held.open();
    await rejectsWith(older, 'superseded');
    expect(newer.feed.stopped).toBeUndefined();
    await newer.feed.send(newer.session.transfer, content(1000));
    expect((await newer.session.finish(true)).whole).toBe(true);
    expect(engine.usage).toEqual(idle);
  });

  test('waits for the older one’s writes only, not for its request to end', async () => {
    const world = await newWorld(name);
    const held = gate();
    const store = faultyStore(world.open(), ({ op, nth, when }) =>
      op === 'write' && nth === 1 && when === 'before' ? held.opened : undefined,
    );
    const engine = newEngine(store, { batchBytes: 1000 });
    const bytes = content(8000);
    const id = newId();
    const older = await openSession(engine, id, { length: 8000 });
    older.session.transfer.push(bytes.slice(0, 1000));
    const newer = openSession(engine, id, { length: 8000 });
    expect((await older.feed.ended).code).toBe('superseded');
    held.open();
    const { session, feed } = await newer;
    await feed.send(session.transfer, bytes);
    expect((await session.finish(true)).whole).toBe(true);
    expect(engine.usage.liveUploads).toBe(1);
    expect((await older.session.finish(false)).received).toEqual([{ start: 0, end: 8000 }]);
    expect(engine.usage).toEqual(idle);
  });

  test('a finished or claimed upload takes no more bytes and says which it is', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const id = newId();
    const bytes = content(100);
    await bring(engine, id, bytes);
    const running = gate();
    const completing = engine.complete(id, async () => {
      await running.opened;
      return { kind: 'finished', response: 'done', discard: false };
    });
    await expect.poll(async () => (await engine.find(id))?.record.state).toBe('claimed');
    expect(await engine.write(id, writeRequest({ length: 100 }), new Feed())).toMatchObject({
      kind: 'claimed',
    });
    running.open();
    await completing;
    expect(await engine.write(id, writeRequest({ length: 100 }), new Feed())).toMatchObject({
      kind: 'finished',
    });
    expect(engine.usage).toEqual(idle);
  });
});
