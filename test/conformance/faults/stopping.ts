import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Need, Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import type { Step } from '../world.ts';
import { eachStep, naming } from './each-step.ts';
import { journeyLength, targetOf } from './failing.ts';
import { type Journey, journeys } from './journeys.ts';
import { Ledger } from './ledger.ts';

// A journey is broken off at every step in turn, as by a process that is killed: that step and all later ones of the
// instance never happen, not even those with which it would tidy up. Then, where that is asked for, the power is cut, so
// that what it had not synced is lost as well. Another instance carries the journey to its end.

type End = 'its process ends' | 'the power is cut';

/** One process, as far as its steps can tell. */
interface Process {
  isRunning: boolean;
}

/** Whose step it is: that of an ended process stays undone, however late it comes. */
const process = new AsyncLocalStorage<Process>();

/** Resolves with whether there was an `nth` moment to stop at. */
const stopAt = async (stage: Stage, journey: Journey, end: End, nth: number): Promise<boolean> => {
  const ledger = new Ledger(journeyLength);
  const target = targetOf(stage);
  const first: Process = { isRunning: true };
  let count = 0;
  let last: Step | undefined;
  stage.world.intercept?.((step) => {
    const self = process.getStore();
    if (self === undefined) return;
    if (self.isRunning && ++count === nth) {
      self.isRunning = false;
      last = step;
    }
    if (!self.isRunning) throw new Error('the process has ended');
  });
  try {
    await process.run(first, async () => {
      const store = await stage.another();
      await journey.carry(store, ledger, target).catch((error: unknown) => {
        if (first.isRunning || error instanceof assert.AssertionError) throw error;
      });
    });
    if (end === 'the power is cut') {
      await stage.cutPower();
      ledger.forgetRemovals();
    }
    const next = await stage.another();
    await ledger.check(next, false);
    await journey.carry(next, ledger, target);
    for (const store of [next, await stage.another()]) {
      await ledger.check(store, false);
      await journey.arrive(store, ledger, target);
    }
  } catch (error) {
    throw naming(last, nth, error);
  }
  return last !== undefined;
};

const scenario = (journey: Journey, end: End, needs: readonly Need[]): Scenario => ({
  name: `an upload that is ${journey.name}: wherever ${end}, the next finds all that was acknowledged and nothing half made`,
  needs: ['intercept', 'persistent', 'multiProcess', ...needs],
  run: (stage) => eachStep(stage, (inner, nth) => stopAt(inner, journey, end, nth)),
});

export const stoppingScenarios: readonly Scenario[] = [
  ...journeys.map((journey) => scenario(journey, 'its process ends', [])),
  ...journeys.map((journey) => scenario(journey, 'the power is cut', ['cutPower'])),
];
