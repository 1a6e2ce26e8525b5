import { describe, expect, test } from 'vitest';
import {
  type ConnectionCut,
  type CutSchedule,
  everyBytes,
  randomBytes,
  randomTime,
  uncut,
} from '../../bench/lib/cut-schedules.ts';
import { seededRandom } from '../../bench/lib/random.ts';

const count = 20_000;

const draw = (schedule: CutSchedule, seed: number): (ConnectionCut | undefined)[] => {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => schedule(random));
};

const amount = (cut: ConnectionCut | undefined): number => {
  if (cut === undefined) return Number.NaN;
  return 'afterBytes' in cut ? cut.afterBytes : cut.afterMs;
};

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

describe('the schedules of cuts', () => {
  test('leave every connection alone, or cut each after the same number of bytes', () => {
    expect(uncut(seededRandom(1))).toBeUndefined();
    expect(new Set(draw(everyBytes(4096, 'fin'), 1).map((cut) => JSON.stringify(cut)))).toEqual(
      new Set(['{"means":"fin","afterBytes":4096}']),
    );
  });

  test.each([
    ['bytes', randomBytes(65_536, 'rst', 'fin', 'stall'), 65_536],
    ['milliseconds', randomTime(100, 'rst', 'fin', 'stall'), 100],
  ] as const)(
    'are exponential in %s: the mean is right, and so is the share that outlives it',
    (_, schedule, wanted) => {
      const amounts = draw(schedule, 2).map(amount);
      expect(mean(amounts) / wanted).toBeGreaterThan(0.97);
      expect(mean(amounts) / wanted).toBeLessThan(1.03);
      expect(amounts.filter((one) => one > wanted).length / count).toBeCloseTo(1 / Math.E, 1);
      expect(amounts.filter((one) => one > 2 * wanted).length / count).toBeCloseTo(1 / Math.E ** 2, 1);
      expect(amounts.every((one) => one >= 0 && Number.isFinite(one))).toBe(true);
    },
  );

  test('mix their means evenly', () => {
    const means = draw(randomBytes(65_536, 'rst', 'fin', 'stall'), 3).map((cut) => cut?.means);
    for (const one of ['rst', 'fin', 'stall']) {
      expect(means.filter((means) => means === one).length / count).toBeCloseTo(1 / 3, 1);
    }
  });

  test('never cut before the first byte, where bytes count', () => {
    expect(Math.min(...draw(randomBytes(2, 'rst'), 4).map(amount))).toBe(1);
  });

  test('are the same for the same seed', () => {
    const schedule = randomTime(100, 'rst', 'fin');
    expect(draw(schedule, 5)).toEqual(draw(schedule, 5));
    expect(draw(schedule, 5)).not.toEqual(draw(schedule, 6));
  });
});
