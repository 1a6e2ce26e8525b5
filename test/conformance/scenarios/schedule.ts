import { seededRandom } from '../random.ts';
import type { Need, Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { together } from '../together.ts';
import { Lane, maxLength } from './lane.ts';

// Any order of any operations: several lanes side by side, over the same instances.

export interface SchedulePlan {
  /** Of the first schedule; the next has the next. */
  readonly seed: number;
  readonly schedules: number;
}

const lanes = 3;
const rounds = 3;
const movesPerRound = 14;

/** What comes between two rounds. */
type Interval = 'all is closed and opened again' | 'the power is cut';

const run = async (stage: Stage, seed: number, instances: number, interval: Interval): Promise<void> => {
  const random = seededRandom(seed);
  const all = Array.from(
    { length: lanes },
    (_, n) => new Lane(stage, seededRandom(random.below(2 ** 32)), `schedule-${seed}-lane-${n}`),
  );
  try {
    for (let round = 0; round < rounds; round++) {
      const stores = await stage.several(instances);
      await together(all.map((lane) => lane.live(stores, movesPerRound)));
      if (interval === 'the power is cut') {
        const next = await stage.cutPower();
        for (const lane of all) await lane.recover(next);
      } else {
        for (const lane of all) await lane.rest();
        if (stage.supports.persistent) await stage.reopen();
      }
      await stage.verify();
    }
  } catch (error) {
    const trails = all.map((lane, n) => `lane ${n}: … ${lane.trail.slice(-12).join(', ')}`);
    const again = `run it again with { seed: ${seed}, schedules: 1 }`;
    const message = error instanceof Error ? error.message : String(error);
    throw new Error([`${message} (${again})`, ...trails].join('\n'), { cause: error });
  }
};

export const scheduleScenarios = ({ seed, schedules }: SchedulePlan): readonly Scenario[] => {
  const over = (
    instances: number,
    name: string,
    needs: readonly Need[] = [],
    interval: Interval = 'all is closed and opened again',
  ): Scenario => ({
    name: `any schedule of any operations, ${name}: ${schedules} of them from seed ${seed}`,
    needs,
    bytes: maxLength,
    run: async (stage) => {
      for (let n = 0; n < schedules; n++) {
        await stage.elsewhere((inner) => run(inner, seed + n, instances, interval));
      }
    },
  });
  return [
    over(1, 'by one instance'),
    over(3, 'by three instances', ['multiProcess']),
    over(1, 'by one instance, with power cuts', ['cutPower'], 'the power is cut'),
    over(3, 'by three instances, with power cuts', ['multiProcess', 'cutPower'], 'the power is cut'),
  ];
};
