import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type EntityTag, parseEntityTag, parseEntityTags, printEntityTag } from '../../src/headers/etag.ts';
import { anyText } from './any-text.ts';

const strong = (value: string): EntityTag => ({ weak: false, value });
const weak = (value: string): EntityTag => ({ weak: true, value });

/** `etagc` of RFC 9110 section 8.8.3: visible characters but the quote, and 0x80 to 0xff. */
const etagCharacters = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).filter(
  (character) => /[\x21\x23-\x7e\x80-\xff]/.test(character),
);
const anyTag: fc.Arbitrary<EntityTag> = fc.record({
  weak: fc.boolean(),
  value: fc.string({ unit: fc.constantFrom(...etagCharacters), maxLength: 20 }),
});

test('a printed list is parsed to the same tags, whatever the blanks between them', () => {
  const blank = fc.constantFrom('', ' ', '\t', '  ');
  fc.assert(
    fc.property(fc.array(fc.tuple(anyTag, blank, blank), { minLength: 1, maxLength: 8 }), (items) => {
      const field = items.map(([tag, before, after]) => `${before}${printEntityTag(tag)}${after}`).join(',');
      expect(parseEntityTags(field)).toEqual(items.map(([tag]) => tag));
    }),
  );
});

test('every character a tag may hold, a comma and a backslash too, survives', () => {
  const value = etagCharacters.join('');
  expect(parseEntityTags(printEntityTag(strong(value)))).toEqual([strong(value)]);
});

describe('read', () => {
  test.each<[string, readonly EntityTag[] | 'any']>([
    ['*', 'any'],
    [' * ', 'any'],
    ['"a"', [strong('a')]],
    ['W/"a"', [weak('a')]],
    ['""', [strong('')]],
    ['"*"', [strong('*')]],
    ['"a", W/"b" ,"c"', [strong('a'), weak('b'), strong('c')]],
    ['"a,b", "W/"', [strong('a,b'), strong('W/')]],
    ['"a\\"', [strong('a\\')]],
    ['"a", , "b"', [strong('a'), strong('b')]],
    [', "a"', [strong('a')]],
    [',,\t,W/"a",', [weak('a')]],
    [`${','.repeat(16)}"a"`, [strong('a')]],
  ])('%j', (field, expected) => {
    expect(parseEntityTags(field)).toEqual(expected);
  });
});

describe('unreadable', () => {
  test.each([
    ['an empty field', ''],
    ['blanks', ' \t '],
    ['no quotes', 'a'],
    ['one quote', '"a'],
    ['the other quote', 'a"'],
    ['a weak tag in lower case', 'w/"a"'],
    ['a blank inside the weak mark', 'W/ "a"'],
    ['a blank inside a tag', '"a b"'],
    ['a control character inside a tag', '"a\u0001b"'],
    ['DEL inside a tag', '"a\u007fb"'],
    ['a character past one byte', '"\u0100"'],
    ['two tags without a comma', '"a" "b"'],
    ['text behind a tag', '"a"b'],
    ['a star among tags', '"a", *'],
    ['a star before tags', '*, "a"'],
    ['two stars', '*, *'],
    ['one good tag and one bad', '"a", b'],
    ['a good tag behind a bad one', 'b, "a"'],
    ['a comma alone', ','],
    ['commas alone', ', ,,'],
    ['more empty elements than a mistake makes', `${','.repeat(17)}"a"`],
    ['a star behind a comma', ', *'],
  ])('%s', (_, field) => {
    expect(parseEntityTags(field)).toBeUndefined();
  });
});

describe('a field of one tag', () => {
  test.each<[string, EntityTag | undefined]>([
    ['"a"', strong('a')],
    [' W/"a" ', weak('a')],
    ['""', strong('')],
    ['"a,b"', strong('a,b')],
    ['*', undefined],
    ['"a",', undefined],
    [', "a"', undefined],
    ['"a", "b"', undefined],
    ['a', undefined],
    ['', undefined],
  ])('%j', (field, expected) => {
    expect(parseEntityTag(field)).toEqual(expected);
  });
});

test('any text is unreadable, `*`, or a list of tags that print back to readable ones', () => {
  const tokens = fc
    .array(fc.constantFrom('"', 'W/', ',', ' ', '*', 'a', '\\', '\u00ff', '\n'), { maxLength: 14 })
    .map((parts) => parts.join(''));
  fc.assert(
    fc.property(fc.oneof(tokens, anyText()), (text) => {
      const tags = parseEntityTags(text);
      if (tags === undefined || tags === 'any') return;
      expect(tags.length).toBeGreaterThan(0);
      expect(parseEntityTags(tags.map(printEntityTag).join(', '))).toEqual(tags);
    }),
    { numRuns: 1000 },
  );
});
