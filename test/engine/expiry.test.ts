import { describe, expect, test } from 'vitest';
import { type SweepCounts, sweepFilters } from '../../src/engine/expiry.ts';
import type { Engine } from '../../src/engine.ts';
import type { Store, UploadRecord } from '../../src/store.ts';
import {
  content,
  deadOwner,
  newEngine,
  newId,
  newWorld,
  openSession,
  rejectsWith,
  sha256,
  storedSum,
  storeKinds,
  wholeUpload,
} from '../support/model.ts';

const later = (ms: number): number => Date.now() + ms;

const counts = (some: Partial<SweepCounts> = {}): SweepCounts => ({
  expired: 0,
  purged: 0,
  unanswered: 0,
  ...some,
});

const answered = async (engine: Engine, facts: { refused?: boolean; discard?: boolean } = {}) => {
  const id = await wholeUpload(engine);
  await engine.complete(id, async () => ({
    kind: 'finished',
    response: 'the answer',
    discard: false,
    ...facts,
  }));
  return id;
};

/** A whole upload whose handler `owner` is said to be running. */
const claimedBy = async (store: Store, owner: string, expiresAt: number): Promise<string> => {
  const id = newId();
  const record: UploadRecord = {
    id,
    createdAt: Date.now(),
    state: 'claimed',
    length: 100,
    metadata: {},
    attempt: 1,
    claim: { owner, expiresAt },
  };
  await store.create(record, [content(100)]);
  return id;
};

describe.each(storeKinds)('a finished upload: %s', (name) => {
  test('stays for ever, with content and answer, unless keepCompletedMs is set', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { expiresAfterMs: 1000 });
    const id = await answered(engine);
    expect(await engine.expire(later(1e12))).toEqual(counts());
    expect(await storedSum(engine.store, id, 0, 5000)).toBe(sha256(content(5000)));
    expect((await engine.find(id))?.record.response).toBe('the answer');
  });

  test('goes so long after its answer, to a tombstone and then to nothing', async () => {
    const world = await newWorld(name);
    const options = { expiresAfterMs: 1000, keepCompletedMs: 10_000, tombstoneMs: 5000 };
    const engine = newEngine(world.open(), options);
    const id = await answered(engine);
    expect(await engine.expire(later(9000))).toEqual(counts());
    expect(await engine.expire(later(11_000))).toEqual(counts({ expired: 1 }));
    await rejectsWith(engine.find(id), 'gone');
    await expect(storedSum(engine.store, id, 0, 5000)).rejects.toMatchObject({ code: 'gone' });
    expect(await engine.store.load(id)).toMatchObject({
      record: { state: 'removed', metadata: {} },
      received: [],
    });
    expect((await engine.store.load(id))?.record).not.toHaveProperty('response');
    expect(await engine.expire(later(6000))).toEqual(counts({ purged: 1 }));
    expect(await engine.find(id)).toBeUndefined();
  });

  test('is gone for whoever asks from then on, before it is swept', async () => {
    const world = await newWorld(name);
    const id = await answered(newEngine(world.open()));
    await rejectsWith(newEngine(world.open(), { keepCompletedMs: 0 }).find(id), 'gone');
  });

  test('whose content was moved stays as well: its answer is replayed', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { expiresAfterMs: 1000 });
    const id = await answered(engine, { discard: true });
    expect(await engine.expire(later(1e12))).toEqual(counts());
    expect((await engine.find(id))?.record).toMatchObject({ moved: true, response: 'the answer' });
  });
});

describe.each(storeKinds)('a refused upload: %s', (name) => {
  test('goes expiresAfterMs after its answer', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { expiresAfterMs: 10_000 });
    const id = await answered(engine, { refused: true });
    expect((await engine.find(id))?.record.refused).toBe(true);
    expect(await engine.expire(later(9000))).toEqual(counts());
    expect((await engine.find(id))?.record.response).toBe('the answer');
    expect(await engine.expire(later(11_000))).toEqual(counts({ expired: 1 }));
    await rejectsWith(engine.find(id), 'gone');
  });
});

describe.each(storeKinds)('an upload that is complete and not answered: %s', (name) => {
  test('is never removed, but counted once nobody was at work on it for expiresAfterMs', async () => {
    const world = await newWorld(name);
    const store = world.open();
    const engine = newEngine(store, { expiresAfterMs: 10_000, maxAttempts: 1 });
    const failed = await wholeUpload(engine);
    await engine.complete(failed, async () => ({ kind: 'failed' }));
    const abandoned = await claimedBy(store, deadOwner(), later(3_600_000));
    const held = await claimedBy(store, 'elsewhere.1.1.000000000000-1', later(3_600_000));
    expect(await engine.expire(later(9000))).toEqual(counts());
    expect(await engine.expire(later(11_000))).toEqual(counts({ unanswered: 2 }));
    for (const id of [failed, abandoned, held]) {
      const received = (await engine.find(id))?.received ?? [];
      expect(received).toEqual([{ start: 0, end: id === failed ? 5000 : 100 }]);
    }
    // Out of attempts, it still waits for its client.
    expect(await engine.retryPending(() => Promise.reject(new Error('must not run')))).toMatchObject({
      exhausted: 2,
      held: 1,
    });
  });
});

describe.each(storeKinds)('a sweep: %s', (name) => {
  test('touches nothing that a request of this process is at work on', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { expiresAfterMs: 1000 });
    const id = newId();
    const { session, feed } = await openSession(engine, id, { length: 1000 });
    await feed.send(session.transfer, content(100));
    await engine.query(id);
    expect(await engine.expire(later(1e9))).toEqual(counts());
    expect((await session.finish(false)).received).toEqual([{ start: 0, end: 100 }]);
    expect(await engine.expire(later(1e9))).toEqual(counts({ expired: 1 }));
  });

  test('by several processes at once counts each removal once', async () => {
    const world = await newWorld(name);
    const engines = [1, 2, 3].map(() => newEngine(world.open(), { expiresAfterMs: 1000 }));
    for (let n = 0; n < 10; n++) await engines[0]?.create(newId(), { length: 5 });
    const swept = await Promise.all(engines.map((engine) => engine.expire(later(2000))));
    expect(swept.reduce((sum, { expired }) => sum + expired, 0)).toBe(10);
  });
});

test('a sweep asks for no finished upload unless keepCompletedMs is set', () => {
  const options = { expiresAfterMs: 10, tombstoneMs: 20 };
  const states = (some: Parameters<typeof sweepFilters>[0]) =>
    sweepFilters(some, 1000).flatMap((filter) => filter.states ?? []);
  expect(states(options)).not.toContain('finished');
  expect(states({ ...options, keepCompletedMs: 5 })).toContain('finished');
  expect(sweepFilters({ ...options, keepCompletedMs: 5 }, 1000)).toContainEqual({
    states: ['finished'],
    idleSince: 995,
  });
});
