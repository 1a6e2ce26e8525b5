import { describe, expect, test } from 'vitest';
import { next, type Transition, type UploadState } from '../../src/lifecycle.ts';

const states: readonly UploadState[] = ['open', 'claimed', 'finished', 'removed'];

/** Every step from every state: the state it leads to, or the code it is refused with. */
const table: Readonly<
  Record<Transition, readonly [open: string, claimed: string, finished: string, removed: string]>
> = {
  write: ['open', '!complete', '!complete', '!gone'],
  state: ['open', '!complete', '!complete', '!gone'],
  begin: ['open', '!complete', '!complete', '!gone'],
  claim: ['claimed', 'claimed', '!complete', '!gone'],
  renew: ['open', 'claimed', '!complete', '!gone'],
  release: ['open', 'open', '!complete', '!gone'],
  finish: ['finished', 'finished', '!complete', '!gone'],
  remove: ['removed', '!complete', 'removed', '!gone'],
};

const steps = (Object.keys(table) as Transition[]).flatMap((transition) =>
  states.map((state, i) => [state, transition, table[transition][i] ?? ''] as const),
);

describe('every step from every state', () => {
  test.each(steps)('%s, %s -> %s', (state, transition, expected) => {
    if (expected.startsWith('!')) {
      expect(() => next(state, transition, 'the-id')).toThrow(
        expect.objectContaining({ name: 'UploadError', code: expected.slice(1), id: 'the-id' }),
      );
    } else {
      expect(next(state, transition, 'the-id')).toBe(expected);
    }
  });
});

test('whatever is tried, a removed upload stays removed and a finished one is never open again', () => {
  const reachable = (from: UploadState): Set<UploadState> => {
    const seen = new Set([from]);
    for (const state of seen) {
      for (const transition of Object.keys(table) as Transition[]) {
        try {
          seen.add(next(state, transition, 'the-id')); // a Set's iteration sees what is added to it
        } catch {
          // refused: leads nowhere
        }
      }
    }
    return seen;
  };
  expect([...reachable('removed')]).toEqual(['removed']);
  expect([...reachable('finished')].sort()).toEqual(['finished', 'removed']);
  expect([...reachable('open')].sort()).toEqual(['claimed', 'finished', 'open', 'removed']);
});
