import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryBudget } from '../../src/engine/budget.ts';

/** Waiters that write down when they are woken, and take `bytes` at once. */
const waiter =
  (budget: MemoryBudget, log: string[], name: string, bytes = 0) =>
  (): void => {
    log.push(name);
    budget.take(bytes);
  };

test('counts what is taken and released, and is exhausted from its limit on', () => {
  const budget = new MemoryBudget(10);
  expect([budget.used, budget.exhausted, budget.limit]).toEqual([0, false, 10]);
  budget.take(9);
  expect(budget.exhausted).toBe(false);
  budget.take(1);
  expect(budget.exhausted).toBe(true);
  budget.take(5); // what has arrived is in memory whatever the limit says
  budget.release(5);
  expect([budget.used, budget.exhausted]).toEqual([10, true]);
  budget.release(10);
  expect([budget.used, budget.exhausted]).toEqual([0, false]);
});

describe('who waits', () => {
  test('is woken in order of arrival', () => {
    const log: string[] = [];
    const budget = new MemoryBudget(10);
    budget.take(10);
    for (const name of ['a', 'b', 'c']) budget.wait(waiter(budget, log, name));
    expect(log).toEqual([]);
    budget.release(1);
    expect(log).toEqual(['a', 'b', 'c']);
  });

  test('is not woken while the budget is still exhausted', () => {
    const log: string[] = [];
    const budget = new MemoryBudget(10);
    budget.take(30);
    budget.wait(waiter(budget, log, 'a'));
    budget.release(10);
    budget.release(10);
    expect(log).toEqual([]);
    budget.release(1);
    expect(log).toEqual(['a']);
  });

  test('goes on waiting, in its place, when the one before has used the room up', () => {
    const log: string[] = [];
    const budget = new MemoryBudget(10);
    budget.take(10);
    budget.wait(waiter(budget, log, 'a', 5));
    budget.wait(waiter(budget, log, 'b', 5));
    budget.wait(waiter(budget, log, 'c', 5));
    budget.release(5);
    expect(log).toEqual(['a']);
    budget.release(5);
    expect(log).toEqual(['a', 'b']);
    budget.release(10);
    expect(log).toEqual(['a', 'b', 'c']);
  });

  test('is woken once for each wait, not again', () => {
    const log: string[] = [];
    const budget = new MemoryBudget(10);
    const wake = waiter(budget, log, 'a');
    budget.take(10);
    budget.wait(wake);
    budget.release(1);
    budget.take(1);
    budget.release(1);
    expect(log).toEqual(['a']);
    budget.take(1);
    budget.wait(wake);
    budget.release(1);
    expect(log).toEqual(['a', 'a']);
  });

  test('keeps its place when it waits twice, and is woken once', () => {
    const log: string[] = [];
    const budget = new MemoryBudget(10);
    const first = waiter(budget, log, 'a');
    budget.take(10);
    budget.wait(first);
    budget.wait(waiter(budget, log, 'b'));
    budget.wait(first);
    budget.release(1);
    expect(log).toEqual(['a', 'b']);
  });

  test('is never woken after it was cancelled, and keeps nobody else from being woken', () => {
    const log: string[] = [];
    const budget = new MemoryBudget(10);
    const wakes = ['a', 'b', 'c'].map((name) => waiter(budget, log, name));
    budget.take(10);
    for (const wake of wakes) budget.wait(wake);
    for (const wake of [wakes[0], wakes[2], () => undefined]) if (wake !== undefined) budget.cancel(wake);
    budget.release(10);
    expect(log).toEqual(['b']);
  });

  test('may cancel others while it is woken', () => {
    const log: string[] = [];
    const budget = new MemoryBudget(10);
    const last = waiter(budget, log, 'c');
    budget.take(10);
    budget.wait(() => {
      log.push('a');
      budget.cancel(last);
    });
    budget.wait(waiter(budget, log, 'b'));
    budget.wait(last);
    budget.release(1);
    expect(log).toEqual(['a', 'b']);
  });

  test('may release while it is woken, and nobody is woken twice or passed over', () => {
    const log: string[] = [];
    const budget = new MemoryBudget(10);
    budget.take(20);
    budget.wait(() => {
      log.push('a');
      budget.release(5);
    });
    for (const name of ['b', 'c']) budget.wait(waiter(budget, log, name));
    budget.release(11);
    expect(log).toEqual(['a', 'b', 'c']);
  });

  test('goes to the end when the room is gone and it has to wait once more', () => {
    const log: string[] = [];
    const budget = new MemoryBudget(10);
    const greedy = (): void => {
      log.push('a');
      budget.take(10);
      budget.wait(greedy);
    };
    budget.take(10);
    budget.wait(greedy);
    budget.wait(waiter(budget, log, 'b'));
    budget.release(10);
    expect(log).toEqual(['a']);
    budget.cancel(greedy);
    budget.release(10);
    expect(log).toEqual(['a', 'b']);
  });
});

describe('whatever happens in whatever order', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('take' as const), bytes: fc.nat(12) }),
    fc.record({ kind: fc.constant('release' as const), bytes: fc.nat(30) }),
    fc.record({ kind: fc.constant('wait' as const), who: fc.nat(5) }),
    fc.record({ kind: fc.constant('cancel' as const), who: fc.nat(5) }),
  );

  test('it does what a plain queue does, nobody waits while there is room, and in the end nobody waits', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.nat(9), { minLength: 6, maxLength: 6 }),
        fc.array(step, { maxLength: 60 }),
        (limit, appetites, steps) => {
          const budget = new MemoryBudget(limit);
          const log: number[] = [];
          const wakes = appetites.map((bytes, who) => (): void => {
            log.push(who);
            budget.take(bytes);
          });
          const wakeOf = (who: number) => wakes[who] ?? (() => undefined);

          // The model: a number, and a queue.
          let used = 0;
          const queue: number[] = [];
          const expected: number[] = [];
          const release = (bytes: number): void => {
            budget.release(bytes);
            used -= bytes;
            while (used < limit && queue.length > 0) {
              const who = queue.shift() ?? 0;
              expected.push(who);
              used += appetites[who] ?? 0;
            }
          };

          for (const item of steps) {
            if (item.kind === 'take') {
              budget.take(item.bytes);
              used += item.bytes;
            } else if (item.kind === 'release') {
              release(Math.min(item.bytes, used));
            } else if (item.kind === 'cancel') {
              budget.cancel(wakeOf(item.who));
              if (queue.includes(item.who)) queue.splice(queue.indexOf(item.who), 1);
            } else if (budget.exhausted) {
              budget.wait(wakeOf(item.who));
              if (!queue.includes(item.who)) queue.push(item.who);
            }
            expect(log).toEqual(expected);
            expect([budget.used, budget.exhausted]).toEqual([used, used >= limit]);
          }

          const waiting = [...queue];
          const before = log.length;
          while (used > 0) release(used);
          expect(log.slice(before)).toEqual(waiting);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
