import assert from 'node:assert/strict';
import type { Stage } from '../stage.ts';
import { together } from '../together.ts';
import type { Step } from '../world.ts';

/** Worlds at work side by side: most of their time they wait for a disk. */
const lanes = 4;

/**
 * Calls `attempt` with 1, 2, 3, …, each in a world of its own, until one says that its journey had no such step any
 * more.
 */
export const eachStep = async (
  stage: Stage,
  attempt: (stage: Stage, nth: number) => Promise<boolean>,
): Promise<void> => {
  let next = 1;
  let last = Number.POSITIVE_INFINITY;
  const lane = async (): Promise<void> => {
    while (next < last) {
      const nth = next++;
      const wasThere = await stage.elsewhere((inner) => attempt(inner, nth));
      if (!wasThere) last = Math.min(last, nth);
    }
  };
  await together(Array.from({ length: lanes }, lane));
  assert.ok(last > 1, 'the world has told of no step');
};

/** Adds to what an assertion found at which step it was. */
export const naming = (step: Step | undefined, nth: number, error: unknown): unknown => {
  if (!(error instanceof Error)) return error;
  const where = step === undefined ? 'without a failure' : `at number ${nth}, ${step.when} '${step.name}'`;
  return new Error(`${where}: ${error.message}`, { cause: error });
};
