import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { prefers } from '../../src/headers/prefer.ts';

describe('asks for a checkpoint', () => {
  test.each([
    'checkpoint',
    'Checkpoint',
    'CHECKPOINT',
    ' checkpoint ',
    'checkpoint=1',
    'checkpoint="every 5 MB"',
    'checkpoint = 1',
    'checkpoint; interval=5',
    'checkpoint;interval="a, b; c"',
    'respond-async, checkpoint',
    'checkpoint, wait=100',
    'respond-async; x="a,b", checkpoint',
    'foo="a \\" , b", checkpoint',
    'foo="\\\\", checkpoint',
    ',, checkpoint',
    '\tcheckpoint\t,\twait=1',
  ])('%j', (field) => {
    expect(prefers(field, 'checkpoint')).toBe(true);
  });
});

describe('does not ask for a checkpoint', () => {
  test.each([
    '',
    'wait=100',
    'checkpoints',
    'no-checkpoint',
    'check point',
    'return=checkpoint',
    'handling; checkpoint',
    'handling=lenient; checkpoint=1',
    'note="checkpoint"',
    '"checkpoint"',
    'note="a, checkpoint"',
    'note="a, checkpoint, b"; x',
    'note="\\", checkpoint, \\""',
    'note="a"; x="b, checkpoint; c", wait=1',
  ])('%j', (field) => {
    expect(prefers(field, 'checkpoint')).toBe(false);
  });
});

describe('among arbitrary preferences', () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/).filter((text) => text !== 'checkpoint');
  /** Commas, semicolons, quotes and the token itself, inside a quoted string. */
  const quoted = fc
    .array(fc.constantFrom(',', ';', '=', ' ', 'a', 'checkpoint', '\\"', '\\\\', ', checkpoint, '), {
      maxLength: 6,
    })
    .map((parts) => `"${parts.join('')}"`);
  const value = fc.option(fc.oneof(word, quoted), { nil: undefined });
  const pair = (name: string, text: string | undefined): string =>
    text === undefined ? name : `${name}=${text}`;
  const parameters = fc
    .array(fc.tuple(fc.oneof(word, fc.constant('checkpoint')), value), { maxLength: 3 })
    .map((list) => list.map(([name, text]) => `; ${pair(name, text)}`).join(''));
  const other = fc.tuple(word, value, parameters).map(([name, text, rest]) => pair(name, text) + rest);
  const others = fc.array(other, { maxLength: 4 });

  test('the token is found wherever it stands, whatever its case, value and parameters', () => {
    const wanted = fc
      .tuple(fc.constantFrom('checkpoint', 'Checkpoint', 'cHECKPOINT'), value, parameters)
      .map(([name, text, rest]) => pair(name, text) + rest);
    fc.assert(
      fc.property(others, wanted, others, (before, token, after) => {
        expect(prefers([...before, token, ...after].join(', '), 'checkpoint')).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test('a parameter, a value or a quoted string of that name is not the token', () => {
    fc.assert(
      fc.property(others, (list) => {
        expect(prefers(list.join(', '), 'checkpoint')).toBe(false);
      }),
      { numRuns: 300 },
    );
  });
});
