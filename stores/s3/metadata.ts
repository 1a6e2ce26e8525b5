import { UploadError } from '../../src/errors.ts';

// What an application says of an object (`x-amz-meta-…`) travels in HTTP headers, which take printable US-ASCII. Other
// values are written as encoded words (RFC 2047, UTF-8): that is the form in which S3 itself returns what it cannot put
// into a header, so that other programs read them too.

/** Of all names and values together, as they are sent, in bytes. */
export const maxMetadataBytes = 2048;

/** RFC 2047 allows an encoded word so many characters. */
const maxWord = 75;
const [wordB, wordQ, wordEnd] = ['=?UTF-8?B?', '=?UTF-8?Q?', '?='];
const maxText = maxWord - wordB.length - wordEnd.length;

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** As it is: printable, no space that anybody on the way might drop, and nothing that looks like an encoded word. */
const plain = /^(?:[\x21-\x7e]+(?: [\x21-\x7e]+)*)?$/;
const word = /^=\?utf-8\?(?:b\?([A-Za-z0-9+/]*={0,2})|q\?([\x21-\x3e\x40-\x7e]*))\?=$/i;
/** What RFC 2047 lets stand in a Q word wherever it is. */
const plainInQ = /^[0-9A-Za-z!*+/-]$/;

/**
 * Metadata as S3 takes it: values with anything but printable US-ASCII become encoded words, names become lower case, as
 * S3 makes them. What is encoded already would be encoded once more.
 *
 * Throws `invalid_argument` for a name that is no header name (or twice there, but for its case), for a value that is no
 * text (lone surrogates), and for more than 2048 bytes (2 KB) in all.
 */
export const encodeMetadata = (metadata: Readonly<Record<string, string>>): Record<string, string> => {
  const encoded = new Map<string, string>();
  let bytes = 0;
  for (const [given, value] of Object.entries(metadata)) {
    const name = given.toLowerCase();
    if (!token.test(given)) throw unusable('a name of metadata can only be one of an HTTP header', given);
    if (encoded.has(name)) throw unusable('names of metadata that differ only in their case are one', given);
    if (typeof value !== 'string' || !value.isWellFormed()) {
      throw unusable('a value of metadata can only be Unicode text', given);
    }
    const text = plain.test(value) && !value.includes('=?') ? value : encodedWords(value);
    encoded.set(name, text);
    bytes += name.length + text.length;
  }
  if (bytes > maxMetadataBytes) {
    throw new UploadError('invalid_argument', `metadata is limited to ${maxMetadataBytes} bytes (2 KB)`, {
      expected: maxMetadataBytes,
      actual: bytes,
    });
  }
  return Object.fromEntries(encoded);
};

/**
 * The metadata of an object as it was given: to call with the `Metadata` of a HeadObject or GetObject. A value that is
 * not made of encoded words in UTF-8 stays what it is.
 */
export const decodeMetadata = (
  metadata: Readonly<Record<string, string>> | undefined,
): Record<string, string> =>
  Object.fromEntries(Object.entries(metadata ?? {}).map(([name, value]) => [name, decoded(value)]));

const unusable = (message: string, name: string): UploadError =>
  new UploadError('invalid_argument', message, { actual: name });

/** In whichever of the two ways is shorter. */
const encodedWords = (value: string): string => {
  const b = words(value, wordB, (text) => Buffer.from(text).toString('base64'));
  const q = words(value, wordQ, textOfQ);
  return q.length <= b.length ? q : b;
};

/** As many characters in each as there is room for, and never a part of one. */
const words = (value: string, begin: string, encode: (text: string) => string): string => {
  const done: string[] = [];
  let text = '';
  for (const character of value) {
    if (text !== '' && encode(text + character).length > maxText) {
      done.push(text);
      text = '';
    }
    text += character;
  }
  return [...done, text].map((each) => `${begin}${encode(each)}${wordEnd}`).join(' ');
};

const textOfQ = (text: string): string => {
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const character = String.fromCharCode(byte);
    if (character === ' ') encoded += '_';
    else if (plainInQ.test(character)) encoded += character;
    else encoded += `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
};

const decoded = (value: string): string => {
  if (!value.startsWith('=?')) return value;
  const pieces: Uint8Array[] = [];
  for (const each of value.split(/[ \t]+/)) {
    const bytes = bytesOf(each);
    if (bytes === undefined) return value;
    pieces.push(bytes);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(pieces));
  } catch {
    return value;
  }
};

/** Undefined for what is no encoded word in UTF-8. */
const bytesOf = (text: string): Uint8Array | undefined => {
  const found = word.exec(text);
  if (found === null) return undefined;
  const [, b, q = ''] = found;
  if (b !== undefined) return Buffer.from(b, 'base64');
  if (/=(?![0-9A-Fa-f]{2})/.test(q)) return undefined;
  const bytes = q
    .replaceAll('_', ' ')
    .replaceAll(/=(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1');
};
