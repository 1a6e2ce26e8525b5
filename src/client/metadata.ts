import { UploadError } from '../errors.ts';

/** `name base64(UTF-8),…`, which any header can hold whatever the values are. */
export const printMetadata = (metadata: Readonly<Record<string, string>>): string | undefined => {
  const entries = Object.entries(metadata).map(([name, value]) => {
    if (!/^[\x21-\x2b\x2d-\x7e]+$/.test(name)) {
      throw new UploadError('invalid_argument', 'not a name for metadata', { actual: name });
    }
    return `${name} ${base64(value)}`;
  });
  return entries.length === 0 ? undefined : entries.join(',');
};

const base64 = (text: string): string =>
  btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(''));
