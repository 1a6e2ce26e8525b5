import { setImmediate as turn } from 'node:timers/promises';

/** Waits for all of them, so that none goes on when its scenario has ended; then throws the first failure. */
export const together = async <T>(promises: Iterable<Promise<T>>): Promise<T[]> => {
  const results: T[] = [];
  for (const outcome of await Promise.allSettled(promises)) {
    if (outcome.status === 'rejected') throw outcome.reason;
    results.push(outcome.value);
  }
  return results;
};

/** Looks again and again until the work has ended. */
export const whileLooking = async (
  looks: readonly (() => Promise<void>)[],
  work: () => Promise<void>,
): Promise<void> => {
  let working = true;
  const done = work().finally(() => {
    working = false;
  });
  const looking = looks.map(async (look) => {
    while (working) {
      await look();
      await turn();
    }
  });
  await together([done, ...looking]);
};
