import { describe, expect, test } from 'vitest';
import { MemoryBudget } from '../../src/engine/budget.ts';
import { faultyStore } from '../support/faulty-store.ts';
import {
  content,
  gate,
  idle,
  newEngine,
  newId,
  newWorld,
  openSession,
  sha256,
  storedSum,
  storeKinds,
} from '../support/model.ts';

const chunk = 1000;

describe.each(storeKinds)('the memory budget: %s', (name) => {
  test.each([1, 1500, 10_000])(
    'of %i bytes bounds what 20 transfers hold, and all complete',
    async (memoryBudget) => {
      const world = await newWorld(name);
      const store = world.open();
      let most = 0;
      const measured = faultyStore(store, () => {
        most = Math.max(most, engine.usage.heldBytes);
      });
      const engine = newEngine(measured, { memoryBudget, batchBytes: 2500, flushMs: 1 });
      const uploads = Array.from({ length: 20 }, (_, n) => ({ id: newId(), bytes: content(20_000, n + 1) }));
      const opened = await Promise.all(
        uploads.map(async ({ id, bytes }) => ({
          id,
          bytes,
          ...(await openSession(engine, id, { length: 20_000 })),
        })),
      );
      await Promise.all(
        opened.map(async ({ id, bytes, session, feed }) => {
          const push = session.transfer.push.bind(session.transfer);
          session.transfer.push = (part) => {
            const room = push(part);
            most = Math.max(most, engine.usage.heldBytes);
            return room;
          };
          await feed.send(session.transfer, bytes, chunk);
          expect((await session.finish(true)).whole).toBe(true);
          expect(await storedSum(store, id, 0, 20_000)).toBe(sha256(bytes));
        }),
      );
      expect(most).toBeGreaterThan(0);
      expect(most).toBeLessThanOrEqual(memoryBudget + 20 * chunk);
      expect(engine.usage).toEqual(idle);
      expect(world.descriptors()).toBe(0);
    },
  );

  test('is not blocked by a transfer whose sender has fallen silent', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { memoryBudget: 2000, batchBytes: 100_000, flushMs: 1 });
    const slow = await openSession(engine, newId(), { length: 50_000 });
    // Uses the budget up, never fills a batch, and then says nothing more.
    slow.session.transfer.push(content(1999));
    const fast = await openSession(engine, newId(), { length: 50_000 });
    await fast.feed.send(fast.session.transfer, content(50_000), chunk);
    expect((await fast.session.finish(true)).whole).toBe(true);
    expect((await slow.session.finish(false)).received).toEqual([{ start: 0, end: 1999 }]);
    expect(engine.usage).toEqual(idle);
  });

  test('holds up those who share it while one write is stuck, and lets them go on after it', async () => {
    const world = await newWorld(name);
    const held = gate();
    const begun = gate();
    const store = faultyStore(world.open(), ({ op, nth, when }) => {
      if (op !== 'write' || nth !== 1 || when !== 'before') return undefined;
      begun.open();
      return held.opened;
    });
    const engine = newEngine(store, { memoryBudget: 4000, batchBytes: 2000 });
    const stuck = await openSession(engine, newId(), { length: 50_000 });
    stuck.session.transfer.push(content(3900));
    await begun.opened;
    const other = await openSession(engine, newId(), { length: 20_000 });
    // 100 bytes of the budget are left, and each of its own writes gives back what it took.
    await other.feed.send(other.session.transfer, content(20_000), 50);
    expect((await other.session.finish(true)).whole).toBe(true);
    expect(engine.usage.heldBytes).toBe(3900);
    held.open();
    await stuck.session.finish(false);
    expect(engine.usage).toEqual(idle);
  });

  test('forgets a waiting transfer that was stopped', async () => {
    const world = await newWorld(name);
    const held = gate();
    const store = faultyStore(world.open(), ({ op, nth, when }) =>
      op === 'write' && nth === 1 && when === 'before' ? held.opened : undefined,
    );
    const engine = newEngine(store, { memoryBudget: 1000, batchBytes: 1000 });
    const first = await openSession(engine, newId(), { length: 5000 });
    expect(first.session.transfer.push(content(1000))).toBe(false);
    const second = await openSession(engine, newId(), { length: 5000 });
    expect(second.session.transfer.push(content(10))).toBe(false);
    const finished = second.session.finish(false);
    held.open();
    await Promise.all([finished, first.session.finish(false)]);
    expect(second.feed.resumes).toBe(0);
    expect(engine.usage).toEqual(idle);
  });
});

test('those who wait for the budget are woken in the order in which they came', () => {
  const budget = new MemoryBudget(10);
  const woken: number[] = [];
  budget.take(10);
  for (const n of [1, 2, 3]) {
    budget.wait(() => {
      woken.push(n);
      budget.take(10);
    });
  }
  budget.release(10);
  expect(woken).toEqual([1]);
  budget.release(10);
  expect(woken).toEqual([1, 2]);
  budget.release(10);
  expect(woken).toEqual([1, 2, 3]);
  expect(budget.used).toBe(10);
});
