import type { IncomingHttpHeaders } from 'node:http';
import { UploadError } from '../errors.ts';

const maxEntries = 64;
const maxNameLength = 128;
const maxValueBytes = 4096;

/** Lists are joined with a comma, and space around it. */
const entryForm = /^[ \t]*([\x21-\x2b\x2d-\x7e]+)(?: ([^ \t]*))?[ \t]*$/;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads `Upload-Metadata`, as the client here and those of tus write it: `name base64(UTF-8),…`, a name alone for an
 * empty value. Throws an `UploadError` with `malformed_metadata` for what is not exactly that, for a name that comes
 * twice, and for more than 64 entries, 128 characters of a name or 4096 bytes of a value.
 */
export const parseUploadMetadata = (value: string): Record<string, string> => {
  const entries = value.split(',');
  if (/^[ \t]*$/.test(value)) return {};
  if (entries.length > maxEntries) throw malformed('so many entries', entries.length, maxEntries);
  const read = new Map<string, string>();
  for (const entry of entries) {
    const [, name, encoded = ''] = entryForm.exec(entry) ?? [];
    if (name === undefined) throw malformed('not a name and a value', entry);
    if (name.length > maxNameLength) throw malformed('so long a name', name, maxNameLength);
    if (read.has(name)) throw malformed('a name twice', name);
    read.set(name, decode(encoded, name));
  }
  // Defines each, whatever it is called: `__proto__` is a name like any other.
  return Object.fromEntries(read);
};

/**
 * For `ResumableOptions.metadata`: what the client sent with the upload, none if it sent nothing. It is the sender's
 * word: not to be taken for a path, a type or an owner.
 */
export const uploadMetadata = ({
  headers,
}: {
  readonly headers: IncomingHttpHeaders;
}): Record<string, string> => parseUploadMetadata([headers['upload-metadata'] ?? []].flat().join(','));

const decode = (encoded: string, name: string): string => {
  const bytes = Buffer.from(encoded, 'base64');
  // Whatever Node reads more generously would not be written so.
  if (bytes.toString('base64') !== encoded) throw malformed('not base64', name);
  if (bytes.byteLength > maxValueBytes) throw malformed('so long a value', name, maxValueBytes);
  try {
    return utf8.decode(bytes);
  } catch {
    throw malformed('not UTF-8', name);
  }
};

const malformed = (message: string, actual: string | number, expected?: number): UploadError =>
  new UploadError('malformed_metadata', message, {
    expected,
    actual: typeof actual === 'string' ? actual.slice(0, maxNameLength) : actual,
  });
