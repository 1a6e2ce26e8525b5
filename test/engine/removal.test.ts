import { describe, expect, test } from 'vitest';
import type { UploadRecord } from '../../src/store.ts';
import { faultyStore, systemError } from '../support/faulty-store.ts';
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
  storeKinds,
  wholeUpload,
  writeRequest,
} from '../support/model.ts';

const later = (ms: number): number => Date.now() + ms;

/** An open upload with its first hundred bytes of a thousand. */
const partUpload = async (engine: ReturnType<typeof newEngine>): Promise<string> => {
  const id = newId();
  const { session, feed } = await openSession(engine, id, { length: 1000 });
  await feed.send(session.transfer, content(100));
  await session.finish(false);
  return id;
};

describe.each(storeKinds)('one upload that cannot be read: %s', (name) => {
  test('is reported, and keeps no other from being expired or retried', async () => {
    const world = await newWorld(name);
    const errors: unknown[] = [];
    const store = faultyStore(world.open());
    const engine = newEngine(store, {
      expiresAfterMs: 1000,
      onError: (error, { id }) => errors.push([(error as Error).message, id]),
    });
    const ids = [await partUpload(engine), await partUpload(engine), await partUpload(engine)];
    const whole = [await wholeUpload(engine), await wholeUpload(engine)];
    let loads = 0;
    store.hook = ({ op, when }) => {
      if (op === 'load' && when === 'before' && ++loads === 1) throw systemError('EIO');
    };
    expect((await engine.expire(later(2000))).expired).toBeGreaterThanOrEqual(ids.length - 1);
    loads = 0;
    const counts = await engine.retryPending(async () => ({
      kind: 'finished',
      response: '',
      discard: false,
    }));
    expect(counts.finished).toBeGreaterThanOrEqual(whole.length - 1);
    expect(errors).toHaveLength(2);
  });
});

describe.each(storeKinds)('abort: %s', (name) => {
  test('removes the bytes and leaves a tombstone, which goes after tombstoneMs', async () => {
    const world = await newWorld(name);
    const store = world.open();
    const engine = newEngine(store, { tombstoneMs: 5000 });
    const id = await partUpload(engine);
    await engine.abort(id);
    await rejectsWith(engine.find(id), 'gone');
    await rejectsWith(engine.query(id), 'gone');
    await rejectsWith(engine.abort(id), 'gone');
    await rejectsWith(engine.write(id, writeRequest(), new Feed()), 'gone');
    await rejectsWith(engine.create(id, {}), 'exists');
    await rejectsWith(
      engine.complete(id, () => Promise.reject(new Error('must not run'))),
      'gone',
    );
    await rejectsWith(store.writer(id), 'gone');
    expect(await store.load(id)).toMatchObject({ record: { state: 'removed', metadata: {} }, received: [] });

    expect(await engine.expire(later(4000))).toEqual({ expired: 0, purged: 0, unanswered: 0 });
    await rejectsWith(engine.find(id), 'gone');
    expect(await engine.expire(later(6000))).toEqual({ expired: 0, purged: 1, unanswered: 0 });
    expect(await engine.find(id)).toBeUndefined();
    await rejectsWith(engine.require(id), 'not_found');
    expect(engine.usage).toEqual(idle);
  });

  test('of an unknown upload says so', async () => {
    const engine = newEngine((await newWorld(name)).open());
    await rejectsWith(engine.abort(newId()), 'not_found');
  });

  test('stops a live writer, which is never told that its bytes are stored', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const id = newId();
    const sessions = await Promise.all([
      openSession(engine, id, { start: 0, end: 500, length: 1000 }),
      openSession(engine, id, { start: 500, end: 1000, length: 1000 }),
    ]);
    const bytes = content(1000);
    await sessions[0].feed.send(sessions[0].session.transfer, bytes.subarray(0, 400));
    await sessions[1].feed.send(sessions[1].session.transfer, bytes.subarray(500));
    await engine.query(id);
    await engine.abort(id);
    expect(sessions.map(({ feed }) => feed.stopped?.code)).toEqual(['gone', 'gone']);
    await rejectsWith(sessions[0].session.stored(), 'gone');
    await rejectsWith(sessions[0].session.finish(false), 'gone');
    await rejectsWith(sessions[1].session.finish(true), 'gone');
    expect(engine.usage).toEqual(idle);
    expect(world.descriptors()).toBe(0);
  });

  test('by another process is noticed before anything is acknowledged', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const other = newEngine(world.open());
    const id = newId();
    const { session, feed } = await openSession(engine, id, { length: 1000 });
    await feed.send(session.transfer, content(1000));
    await engine.query(id);
    await other.abort(id);
    await rejectsWith(session.stored(), 'gone');
    await rejectsWith(session.finish(true), 'gone');
    expect(engine.usage).toEqual(idle);
    expect(world.descriptors()).toBe(0);
  });

  test('between the last byte and its sync leaves the writer without an answer', async () => {
    const world = await newWorld(name);
    const held = gate();
    const begun = gate();
    const store = faultyStore(world.open(), ({ op, when }) => {
      if (op !== 'sync' || when !== 'before') return undefined;
      begun.open();
      return held.opened;
    });
    const engine = newEngine(store);
    const id = newId();
    await engine.create(id, { length: 1000 });
    const { session, feed } = await openSession(engine, id, { length: 1000 });
    await feed.send(session.transfer, content(1000));
    const finishing = rejectsWith(session.finish(true), 'gone');
    await begun.opened;
    await engine.abort(id);
    held.open();
    await finishing;
    await rejectsWith(engine.find(id), 'gone');
    expect(engine.usage).toEqual(idle);
    expect(world.descriptors()).toBe(0);
  });

  test('stops live writers even when removing the bytes fails', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open(), ({ op, when }) => {
      if (op === 'discard' && when === 'before') throw systemError('EIO');
    });
    const engine = newEngine(store);
    const id = newId();
    const { session, feed } = await openSession(engine, id, { length: 1000 });
    await feed.send(session.transfer, content(100));
    await engine.query(id);
    await engine.abort(id).catch(() => undefined);
    expect(feed.stopped?.code).toBe('gone');
    await rejectsWith(session.finish(false), 'gone');
  });

  test('of a finished upload is refused, the application’s own removal is not', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const id = await wholeUpload(engine);
    await engine.complete(id, async () => ({ kind: 'finished', response: 'done', discard: false }));
    await rejectsWith(engine.abort(id), 'complete');
    expect((await engine.find(id))?.received).toEqual([{ start: 0, end: 5000 }]);
    await engine.remove(id);
    await rejectsWith(engine.find(id), 'gone');
  });
});

describe.each(storeKinds)('expiry: %s', (name) => {
  test('removes an open upload without progress, and no other', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { expiresAfterMs: 10_000 });
    const open = await partUpload(engine);
    const bare = newId();
    await engine.create(bare, {});
    const whole = await wholeUpload(engine);
    const done = await wholeUpload(engine);
    await engine.complete(done, async () => ({ kind: 'finished', response: 'done', discard: false }));
    const failed = await wholeUpload(engine);
    await engine.complete(failed, async () => ({ kind: 'failed' }));
    const live = newId();
    const { session, feed } = await openSession(engine, live, { length: 1000 });
    await feed.send(session.transfer, content(10));
    await engine.query(live);

    expect(await engine.expire(later(9000))).toEqual({ expired: 0, purged: 0, unanswered: 0 });
    expect(await engine.expire(later(11_000))).toEqual({ expired: 2, purged: 0, unanswered: 2 });
    for (const id of [open, bare]) await rejectsWith(engine.find(id), 'gone');
    for (const id of [whole, done, failed]) {
      expect((await engine.find(id))?.received).toEqual([{ start: 0, end: 5000 }]);
    }
    expect(feed.stopped).toBeUndefined();
    expect((await session.finish(false)).received).toEqual([{ start: 0, end: 10 }]);
  });

  test('counts from the last byte, not from the first', async () => {
    const world = await newWorld(name);
    const store = world.open();
    const engine = newEngine(store);
    const id = await partUpload(engine);
    const before = (await store.load(id))?.activeAt ?? Number.NaN;
    await expect.poll(() => Date.now(), { interval: 1 }).toBeGreaterThan(before + 2);
    await bring(engine, id, content(1000), { start: 100, end: 200 });
    expect((await store.load(id))?.activeAt).toBeGreaterThan(before);
  });

  test('makes an upload gone for whoever asks, before it is swept', async () => {
    const world = await newWorld(name);
    const id = await partUpload(newEngine(world.open()));
    const engine = newEngine(world.open(), { expiresAfterMs: 0 });
    await rejectsWith(engine.find(id), 'gone');
    await rejectsWith(engine.query(id), 'gone');
    await rejectsWith(engine.write(id, writeRequest({ length: 1000 }), new Feed()), 'gone');
    expect(engine.usage).toEqual(idle);
  });

  test('finishes what a crash left of a removal', async () => {
    const world = await newWorld(name);
    const store = world.open();
    const engine = newEngine(store);
    const id = await partUpload(engine);
    const stored = await store.load(id);
    const tombstone: UploadRecord = { ...stored!.record, state: 'removed', removedAt: Date.now() };
    expect(await store.update(stored!.version, tombstone)).toBe(true);
    expect(await engine.expire()).toEqual({ expired: 0, purged: 0, unanswered: 0 });
    await rejectsWith(store.writer(id), 'gone');
    await rejectsWith(engine.find(id), 'gone');
  });
});

describe.each(storeKinds)('an upload whose sender can never come back: %s', (name) => {
  test('leaves nothing, whether or not bytes of it were written', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open());
    const engine = newEngine(store, { batchBytes: 100 });
    const small = newId();
    const one = await openSession(engine, small, { length: 1000 });
    one.session.transfer.push(content(99));
    await one.session.abandon();
    expect(store.calls.get('create')).toBeUndefined();
    const large = newId();
    const two = await openSession(engine, large, { length: 1000 });
    await two.feed.send(two.session.transfer, content(350));
    await engine.query(large);
    await two.session.abandon();
    for (const id of [small, large]) expect(await engine.find(id)).toBeUndefined();
    expect(engine.usage).toEqual(idle);
    expect(store.openWriters).toBe(0);
    expect(world.descriptors()).toBe(0);
  });
});

describe.each(storeKinds)('closing: %s', (name) => {
  test('keeps what was delivered, refuses what comes, and waits for the requests to end', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const id = newId();
    const { session, feed } = await openSession(engine, id, { length: 1000 });
    await feed.send(session.transfer, content(300));
    const closing = engine.close();
    expect((await feed.ended).code).toBe('closing');
    await rejectsWith(engine.write(newId(), writeRequest(), new Feed()), 'closing');
    await rejectsWith(engine.create(newId(), {}), 'closing');
    expect((await session.finish(false)).received).toEqual([{ start: 0, end: 300 }]);
    await closing;
    expect((await newEngine(world.open()).find(id))?.received).toEqual([{ start: 0, end: 300 }]);
  });

  test('stops a request that is just being opened', async () => {
    const world = await newWorld(name);
    const loading = gate();
    const store = faultyStore(world.open());
    const engine = newEngine(store);
    const id = newId();
    await engine.create(id, { length: 1000 });
    store.hook = ({ op, when }) => (op === 'load' && when === 'after' ? loading.opened : undefined);
    const feed = new Feed();
    const opening = engine.write(id, writeRequest({ length: 1000 }), feed);
    const closing = engine.close();
    loading.open();
    const session = await opening;
    if (session.kind !== 'writing') throw new Error('not writing');
    expect((await feed.ended).code).toBe('closing');
    await session.finish(false);
    await closing;
    expect(engine.usage).toEqual(idle);
  });

  test('twice at once resolves twice', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const { session } = await openSession(engine, newId(), { length: 1000 });
    const ended: number[] = [];
    const closings = [engine.close(), engine.close()].map((closing, n) => closing.then(() => ended.push(n)));
    await session.finish(false);
    await Promise.race(closings);
    await expect.poll(() => ended.length, { timeout: 500 }).toBe(2);
  });
});
