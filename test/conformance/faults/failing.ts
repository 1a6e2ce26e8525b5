import assert from 'node:assert/strict';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import type { Step } from '../world.ts';
import { eachStep, naming } from './each-step.ts';
import { type Journey, journeys } from './journeys.ts';
import { Ledger } from './ledger.ts';

// Every step of a journey is failed once, each in a world of its own. The journey is then carried to its end on the
// same instance.

type When = Step['when'];

export const journeyLength = 6000;

/** Where content can be linked to; undefined where it cannot. */
export const targetOf = (stage: Stage): string | undefined =>
  stage.supports.link ? stage.target() : undefined;

const systemError = (code: string): Error => Object.assign(new Error(`${code}: on purpose`), { code });

/** Carries the journey on after the one failure there is; a second rejection would have no reason. */
const carry = async (
  stage: Stage,
  journey: Journey,
  ledger: Ledger,
  failure: () => Step | undefined,
): Promise<void> => {
  const target = targetOf(stage);
  try {
    await journey.carry(stage.store, ledger, target);
  } catch (error) {
    const failed = failure();
    if (error instanceof assert.AssertionError || failed === undefined) throw error;
    const isLostAnswer = (failed.name === 'commit' && failed.when === 'after') || failed.name === 'part';
    for (const store of new Set([stage.store, await stage.another()])) {
      await ledger.check(store, !isLostAnswer);
    }
    await journey.carry(stage.store, ledger, target);
  }
};

/** Resolves with whether there was an `nth` step to fail. */
const failStep = async (
  stage: Stage,
  journey: Journey,
  nth: number,
  when: When,
  code: string,
): Promise<boolean> => {
  const ledger = new Ledger(journeyLength);
  let count = 0;
  let failed: Step | undefined;
  stage.world.intercept?.((step) => {
    if (step.when !== when || ++count !== nth) return;
    failed = step;
    throw systemError(code);
  });
  try {
    await carry(stage, journey, ledger, () => failed);
    stage.world.intercept?.(undefined);
    for (const store of new Set([stage.store, await stage.another()])) {
      await ledger.check(store, true);
      await journey.arrive(store, ledger, targetOf(stage));
    }
  } catch (error) {
    throw naming(failed, nth, error);
  }
  return failed !== undefined;
};

const scenario = (journey: Journey, when: When, code: string): Scenario => ({
  name: `an upload that is ${journey.name}: whichever step fails with ${code}, ${when} its effect, nothing is lost or half made`,
  needs: ['intercept'],
  run: (stage) => eachStep(stage, (inner, nth) => failStep(inner, journey, nth, when, code)),
});

export const failingScenarios: readonly Scenario[] = journeys.flatMap((journey) =>
  (['before', 'after'] as const).flatMap((when) =>
    ['ENOSPC', 'EIO'].map((code) => scenario(journey, when, code)),
  ),
);
