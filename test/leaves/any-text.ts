import fc from 'fast-check';

const codeUnit = fc.oneof(fc.nat(0x7f), fc.nat(0xff), fc.nat(0xffff));

/**
 * Text of any UTF-16 code units, single surrogates too. Built of numbers: `fc.string` with such a unit spends more than a second
 * on looking for the texts it treats specially.
 */
export const anyText = ({ minLength = 0, maxLength = 40 } = {}): fc.Arbitrary<string> =>
  fc.array(codeUnit, { minLength, maxLength }).map((units) => String.fromCharCode(...units));
