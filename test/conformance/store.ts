import { failingScenarios } from './faults/failing.ts';
import { stoppingScenarios } from './faults/stopping.ts';
import { reasonToSkip, type Scenario } from './scenario.ts';
import { createScenarios } from './scenarios/create.ts';
import { linkScenarios } from './scenarios/link.ts';
import { listScenarios } from './scenarios/list.ts';
import { loadScenarios } from './scenarios/load.ts';
import { parallelScenarios } from './scenarios/parallel.ts';
import { powerScenarios } from './scenarios/power.ts';
import { readScenarios } from './scenarios/read.ts';
import { recordScenarios } from './scenarios/records.ts';
import { removalScenarios } from './scenarios/removal.ts';
import { type SchedulePlan, scheduleScenarios } from './scenarios/schedule.ts';
import { stateScenarios } from './scenarios/states.ts';
import { updateScenarios } from './scenarios/update.ts';
import { writerScenarios } from './scenarios/writer.ts';
import { Stage } from './stage.ts';
import type { WorldFactory } from './world.ts';

export type { Step, StepHook, StoreWorld, WorldFactory } from './world.ts';

export interface StoreSuiteOptions {
  /** Called once for each scenario that the store can be asked to prove. Scenarios are independent of each other. */
  readonly test: (name: string, run: () => Promise<void>) => void;

  /** Makes an empty place for one scenario. */
  readonly factory: WorldFactory;

  /**
   * Called once for each scenario that means nothing for this store, and why.
   * @default prints both
   */
  readonly skip?: (name: string, reason: string) => void;

  /**
   * What fixes the random schedules. A schedule that fails names its own.
   * @default 1
   */
  readonly seed?: number;

  /**
   * How many random schedules, each with the seed after the last one's.
   * @default 10
   */
  readonly schedules?: number;
}

/**
 * Everything that `Store` promises, as scenarios to be run: each operation on uploads in each state; bytes in any
 * order, by any number of writers and instances; what is there when the data is opened again; random schedules; and, as
 * far as the world lets it (`StoreWorld`), a failure, an end and a power cut at every step. Bytes are compared by their
 * SHA-256, after every scenario.
 *
 * Opens one store to learn what it can do (`supports`), and then calls `test` or `skip` for each scenario. It resolves
 * when all are registered, so it must be awaited:
 *
 *     import { test } from 'vitest'; // or from 'node:test', for `node --test`; the rest is the same
 *     import { storeSuite } from 'resumable-http/conformance';
 *
 *     await storeSuite({
 *       test,
 *       skip: (name, reason) => test.skip(`${name} (${reason})`, () => {}),
 *       factory: async () => {
 *         const directory = await mkdtemp('/tmp/my-store-');
 *         return { open: () => myStore(directory), dispose: () => rm(directory, { recursive: true }) };
 *       },
 *     });
 *
 * A store passes when nothing fails; what was skipped it has not proven. The suite has no opinion on speed, and asks for
 * nothing that only one store could promise: what is on a disk, and when it is tidied up, is for its own tests.
 */
export const storeSuite = async ({
  test,
  factory,
  skip = printSkip,
  seed = 1,
  schedules = 10,
}: StoreSuiteOptions): Promise<void> => {
  // What a store can do, each of its instances says.
  const { supports, world } = await Stage.perform(factory, async (stage) => stage);
  for (const scenario of scenarios({ seed, schedules })) {
    const reason = reasonToSkip(scenario, supports, world);
    if (reason === undefined) test(scenario.name, () => perform(scenario, factory));
    else skip(scenario.name, reason);
  }
};

const scenarios = (plan: SchedulePlan): readonly Scenario[] => [
  ...stateScenarios,
  ...createScenarios,
  ...updateScenarios,
  ...recordScenarios,
  ...loadScenarios,
  ...writerScenarios,
  ...parallelScenarios,
  ...readScenarios,
  ...listScenarios,
  ...removalScenarios,
  ...linkScenarios,
  ...powerScenarios,
  ...scheduleScenarios(plan),
  ...failingScenarios,
  ...stoppingScenarios,
];

const perform = (scenario: Scenario, factory: WorldFactory): Promise<void> =>
  Stage.perform(factory, async (stage) => {
    await scenario.run(stage);
    await stage.verify();
  });

const printSkip = (name: string, reason: string): void => console.log(`skipped: ${name} (${reason})`);
