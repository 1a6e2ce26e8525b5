import { UploadError } from '../errors.ts';

// `Content-Range` as a request sends it (RFC 9110 section 14.4 with the proposal's two liberties: the last
// position may be missing, and `*` in place of the range asks for the status).
//
//     bytes 43-99/100   range, both ends and the length known
//     bytes 43-99/*     range, length not yet known
//     bytes 43-*/100    end of this body not known   (also `43-/100`)
//     bytes 43-*/*      neither known                (also `43-/*`)
//     bytes 0--1/0      the empty range of an empty upload, as Google's clients write it
//     bytes */100       query; the length is 100
//     bytes */*         query; length not known
export type ContentRange =
  | { readonly kind: 'query'; readonly length: number | undefined }
  | {
      readonly kind: 'range';
      readonly start: number;
      /** Exclusive; undefined when the sender does not say where this body ends. */
      readonly end: number | undefined;
      readonly length: number | undefined;
    };

const grammar = /^(?:bytes[ \t]*[ \t=][ \t]*)?(?:(\*)|(\d{1,16})-(-1|\d{1,16}|\*)?)\/(\d{1,16}|\*)$/i;

/** Longer than any value can be with a blank or two; bounds the time a hostile one can take. */
const maxText = 128;

/** Rejects with `malformed_content_range` or `range_past_length`. */
export const parseContentRange = (value: string): ContentRange => {
  const match = value.length > maxText ? null : grammar.exec(value.trim());
  if (match === null) throw malformed(value);
  const [, star, first, last, instance] = match;
  const length = instance === '*' ? undefined : integer(instance, value);
  if (star !== undefined) return { kind: 'query', length };

  const start = integer(first, value);
  if (last === '-1') {
    if (start !== 0 || (length !== undefined && length !== 0)) throw malformed(value);
    return { kind: 'range', start: 0, end: 0, length };
  }
  const end = last === undefined || last === '*' ? undefined : integer(last, value) + 1;
  if (end !== undefined && (end <= start || !Number.isSafeInteger(end))) throw malformed(value);
  if (length !== undefined && (end ?? start) > length) {
    throw new UploadError('range_past_length', 'the range ends past the length', {
      expected: length,
      actual: end ?? start,
    });
  }
  return { kind: 'range', start, end, length };
};

/** The canonical form; `parseContentRange(printContentRange(x))` is `x`. */
export const printContentRange = (value: ContentRange): string => {
  const length = value.length ?? '*';
  if (value.kind === 'query') return `bytes */${length}`;
  if (value.end === undefined) return `bytes ${value.start}-*/${length}`;
  return `bytes ${value.start}-${value.end - 1}/${length}`;
};

const integer = (digits: string | undefined, value: string): number => {
  const number = Number(digits);
  if (!Number.isSafeInteger(number)) throw malformed(value);
  return number;
};

const malformed = (value: string): UploadError =>
  new UploadError('malformed_content_range', 'Content-Range cannot be read', {
    expected: 'bytes FIRST-LAST/LENGTH',
    actual: value,
  });
