import { describe, expect, test } from 'vitest';
import type { Store } from '../../src/store.ts';
import { memoryStore } from '../../stores/memory.ts';
import { storeSuite } from '../conformance/store.ts';
import {
  acknowledgesEarly,
  completesTwice,
  losesRange,
  modestStore,
  rewritesByte,
} from '../support/broken-stores.ts';

// The suite itself under test: it lets a correct store pass, and names the defect of one that is not.

interface Outcome {
  readonly passed: readonly string[];
  /** By the scenario, what it said. */
  readonly failed: ReadonlyMap<string, string>;
  readonly skipped: readonly string[];
}

/** Runs the suite as a runner would that only counts. */
const runSuite = async (open: () => Store): Promise<Outcome> => {
  const scenarios: { readonly name: string; readonly run: () => Promise<void> }[] = [];
  const skipped: string[] = [];
  await storeSuite({
    test: (name, run) => scenarios.push({ name, run }),
    skip: (name, reason) => skipped.push(`${name} (${reason})`),
    factory: () => {
      const store = open();
      return { open: () => store, dispose: async () => undefined };
    },
  });
  const passed: string[] = [];
  const failed = new Map<string, string>();
  for (const { name, run } of scenarios) {
    await run().then(
      () => passed.push(name),
      (error: unknown) => failed.set(name, String(error)),
    );
  }
  return { passed, failed, skipped };
};

const count = (name: string, { passed, failed, skipped }: Outcome): string =>
  `${name}: ${passed.length} passed, ${failed.size} failed, ${skipped.length} skipped`;

describe('the conformance suite', () => {
  test('lets the store pass that is not broken', async () => {
    const outcome = await runSuite(memoryStore);
    console.log(count('memory', outcome));
    expect([...outcome.failed]).toEqual([]);
    expect(outcome.passed.length).toBeGreaterThan(100);
    const names = [...outcome.passed, ...outcome.skipped];
    expect(new Set(names).size).toBe(names.length);
  });

  test('lets a store pass that can do less, and tells what that has not proven', async () => {
    const outcome = await runSuite(modestStore);
    console.log(count('modest', outcome));
    expect([...outcome.failed]).toEqual([]);
    expect(outcome.skipped).toContain(
      'writer: what has a gap is acknowledged with the gap (not supported: sparse)',
    );
    expect(outcome.skipped.filter((text) => text.endsWith('(not supported: readOpen)'))).not.toEqual([]);
    expect(outcome.skipped).toContain(
      'create: an upload made with all its content, 3 MiB in several buffers, is whole (not supported: a content of 3145728 bytes)',
    );
  });

  test.each<[string, () => Store, string, RegExp]>([
    [
      'loses a range',
      losesRange,
      'writer: what has a gap is acknowledged with the gap',
      /received lacks what was acknowledged/,
    ],
    [
      'rewrites a byte',
      rewritesByte,
      'writer: bytes that are appended are there, each time it has synced',
      /are not what was sent/,
    ],
    [
      'acknowledges early',
      acknowledgesEarly,
      'writer: an acknowledged range is there for every instance, at once',
      /received lacks what was acknowledged/,
    ],
    [
      'completes twice',
      completesTwice,
      'update: two completions with one version cannot both win',
      /a second completion won/,
    ],
  ])('fails one that %s, in the scenario that says so', async (defect, open, scenario, complaint) => {
    const outcome = await runSuite(open);
    console.log(count(defect, outcome));
    expect(outcome.failed.get(scenario)).toMatch(complaint);
  });
});
