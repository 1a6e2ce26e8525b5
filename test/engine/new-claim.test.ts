import { describe, expect, test } from 'vitest';
import type { Process, Verdict } from '../../src/engine/completion.ts';
import { Lease } from '../../src/engine/lease.ts';
import { failNth, faultyStore } from '../support/faulty-store.ts';
import {
  bring,
  content,
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
} from '../support/model.ts';

// A small upload that arrives whole is made and claimed in one step.

const finished: Verdict = { kind: 'finished', response: 'done', discard: false };
const bytes = content(500);

describe.each(storeKinds)('an upload that is made with all its bytes: %s', (name) => {
  const arrive = async (engine: ReturnType<typeof newEngine>, id = newId()) => {
    const { session, feed } = await openSession(engine, id, { length: 500, absent: 'certain' });
    await feed.send(session.transfer, bytes);
    return { id, result: await session.finish(true, { claim: true }) };
  };

  test('costs the store one creation and one update, from its first byte to its answer', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open());
    const engine = newEngine(store);
    const { id, result } = await arrive(engine);
    expect(result).toMatchObject({ whole: true, length: 500, received: [{ start: 0, end: 500 }] });
    const answer = await engine.complete(
      id,
      async ({ attempt }) => {
        expect(attempt).toBe(1);
        return finished;
      },
      result.known,
    );
    expect(answer).toMatchObject({ kind: 'finished', record: { response: 'done', attempt: 1 } });
    expect(Object.fromEntries(store.calls)).toEqual({ create: 1, update: 1 });
    expect(await storedSum(store, id, 0, 500)).toBe(sha256(bytes));
    expect(engine.usage).toEqual(idle);
  });

  test('is claimed from the moment it exists, for whoever asks here or elsewhere', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const mustNotRun: Process = () => Promise.reject(new Error('must not run'));
    const { id, result } = await arrive(engine);
    expect(await engine.complete(id, mustNotRun)).toEqual({ kind: 'running' });
    expect(await newEngine(world.open()).complete(id, mustNotRun)).toEqual({ kind: 'running' });
    const running = gate();
    const asked = engine.complete(
      id,
      async () => {
        await running.opened;
        return finished;
      },
      result.known,
    );
    const joined = engine.complete(id, mustNotRun);
    running.open();
    expect(await joined).toEqual(await asked);
    expect(engine.usage).toEqual(idle);
  });

  test('is open where nobody asked for the claim', async () => {
    const engine = newEngine((await newWorld(name)).open());
    const id = newId();
    const result = await bring(engine, id, bytes);
    expect(result.known).not.toBeInstanceOf(Lease);
    expect((await engine.find(id))?.record).toMatchObject({ state: 'open', attempt: 0 });
  });

  test.each(['before', 'after'] as const)(
    'and whose creation fails %s its effect can be completed all the same',
    async (when) => {
      const world = await newWorld(name);
      const store = faultyStore(world.open(), failNth('create', 1, when, 'EIO'));
      const engine = newEngine(store);
      const id = newId();
      await rejectsWith(
        arrive(engine, id).then(({ result }) => result),
        'store_failed',
      );
      // Made after all, its claim is this engine's own and left over: it stands in nobody's way.
      if (when === 'before') await bring(engine, id, bytes);
      expect(await engine.complete(id, async () => finished)).toMatchObject({ kind: 'finished' });
      expect(engine.usage).toEqual(idle);
    },
  );

  test('twice at once is made once, and the other goes on from that', async () => {
    const world = await newWorld(name);
    const engines = [newEngine(world.open()), newEngine(world.open())] as const;
    const id = newId();
    const results = await Promise.all(engines.map((engine) => arrive(engine, id)));
    const leases = results.filter(({ result }) => result.known instanceof Lease);
    expect(leases).toHaveLength(1);
    for (const { result } of results) expect(result.whole).toBe(true);
    let entered = 0;
    const process: Process = async () => {
      entered++;
      return finished;
    };
    const answers = await Promise.all(
      results.map(({ result }, n) => engines[n]?.complete(id, process, result.known)),
    );
    expect(entered).toBe(1);
    expect(answers).toContainEqual(expect.objectContaining({ kind: 'finished' }));
    expect(await storedSum(engines[0].store, id, 0, 500)).toBe(sha256(bytes));
  });
});
