import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { printHead } from '../../src/http/informational.ts';
import { anyText } from './any-text.ts';

test('a head is a status line, a line for each value of each header, and an empty line', () => {
  const head = {
    status: 103,
    reason: 'Checkpoint',
    headers: {
      Range: '0-42',
      'Set-Cookie': ['a=1', 'b=2'],
      'Content-Length': 0,
      'X-None': undefined,
      Empty: '',
    },
  };
  expect(printHead(head)).toBe(
    'HTTP/1.1 103 Checkpoint\r\nRange: 0-42\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\nEmpty: \r\n\r\n',
  );
});

test('a head without headers ends at once', () => {
  expect(printHead({ status: 100, reason: 'Continue', headers: {} })).toBe('HTTP/1.1 100 Continue\r\n\r\n');
});

test('what a header may hold, tabs and bytes past ASCII too, is printed as it is', () => {
  const value = `\t !~${Array.from({ length: 128 }, (_, i) => String.fromCharCode(0x80 + i)).join('')}`;
  expect(printHead({ status: 103, reason: 'Early Hints', headers: { Link: value } })).toContain(
    `Link: ${value}\r\n`,
  );
});

/** Every place a text can stand in a head. */
const places: [string, (text: string) => Parameters<typeof printHead>[0]][] = [
  ['in the reason', (text) => ({ status: 103, reason: text, headers: {} })],
  ['in a header value', (text) => ({ status: 103, reason: 'x', headers: { Link: text } })],
  ['in one of several values', (text) => ({ status: 103, reason: 'x', headers: { Link: ['a', text, 'b'] } })],
  ['in a header name', (text) => ({ status: 103, reason: 'x', headers: { [text]: 'a' } })],
];

describe.each(places)('%s', (_, place) => {
  test.each([
    ['CR', '\r'],
    ['LF', '\n'],
    ['CR LF', '\r\n'],
    ['NUL', '\0'],
    ['ESC', '\x1b'],
    ['DEL', '\x7f'],
    ['U+0100', '\u0100'],
    ['U+010A, whose low byte is LF', '\u010a'],
    ['U+010D, whose low byte is CR', '\u010d'],
    ['the line separator U+2028', '\u2028'],
    ['a character beyond 16 bits', '\u{1f600}'],
    ['half of one', '\ud83d'],
  ])('%s throws, wherever in the text it stands', (_name, character) => {
    for (const text of [character, `a${character}`, `${character}b`, `a${character}b`]) {
      expect(() => printHead(place(text))).toThrow(TypeError);
    }
  });

  test('any text either throws or stays on its line, as Latin-1', () => {
    fc.assert(
      fc.property(anyText({ minLength: 1, maxLength: 20 }), (text) => {
        const head = place(text);
        const isSafe = /^[\t\x20-\x7e\x80-\xff]+$/.test(text);
        if (!isSafe) {
          expect(() => printHead(head)).toThrow(TypeError);
          return;
        }
        const printed = printHead(head);
        const lines = Object.values(head.headers).flat().length;
        expect(printed.split('\r\n')).toHaveLength(lines + 3);
        expect(Buffer.from(printed, 'latin1').toString('latin1')).toBe(printed);
      }),
    );
    fc.assert(
      fc.property(fc.stringMatching(/^[\x20-\x7e]{1,20}$/), (text) => {
        expect(printHead(place(text))).toContain(text);
      }),
    );
  });
});
