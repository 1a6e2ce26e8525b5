import { parseContentDisposition } from '../headers/content-disposition.ts';

/** Beside the name there is room for `.partial.json.new`, within the 255 bytes of most file systems. */
const mostBytes = 200;

/** Names that Windows has for devices, whatever their extension. */
const devices = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/**
 * What a server proposes, made a name in the folder it is saved to and nowhere else, on any system: never a path, never
 * hidden, nothing that steers a terminal. Undefined when nothing is left of it.
 */
export const safeName = (proposed: string): string | undefined => {
  const last = proposed.toWellFormed().split(/[/\\]/).at(-1) ?? '';
  const plain = last
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '')
    .replace(/[<>:"|?*]/g, '_')
    .replace(/^[. ]+|[. ]+$/g, '');
  const name = devices.test(plain) ? `_${plain}` : plain;
  return name === '' ? undefined : shorten(name);
};

/** Of what the server says (`Content-Disposition`), else of the URL. */
export const nameOf = (disposition: string | undefined, url: URL): string => {
  const said = disposition === undefined ? undefined : parseContentDisposition(disposition)?.filename;
  const named = said === undefined ? undefined : safeName(said);
  return named ?? safeName(decode(url.pathname.replace(/\/+$/, ''))) ?? 'download';
};

const decode = (path: string): string => {
  const last = path.split('/').at(-1) ?? '';
  try {
    return decodeURIComponent(last);
  } catch {
    return last; // not UTF-8: as it is
  }
};

/** Keeps the extension. */
const shorten = (name: string): string => {
  if (Buffer.byteLength(name) <= mostBytes) return name;
  const extension = /\.[^.]{1,16}$/.exec(name)?.[0] ?? '';
  let stem = '';
  for (const char of name.slice(0, name.length - extension.length)) {
    if (Buffer.byteLength(stem + char + extension) > mostBytes) break;
    stem += char;
  }
  return stem + extension;
};
