import type { IncomingMessage } from 'node:http';
import { S3Error } from './errors.ts';

/** A request taken apart, before anybody asks whether it makes sense. */
export interface S3Request {
  readonly method: string;
  readonly url: string;
  /** As it was sent: the signature covers it. */
  readonly path: string;
  /** Empty for a request about no bucket. */
  readonly bucket: string;
  /** Empty for a request about a bucket. */
  readonly key: string;
  readonly query: ReadonlyMap<string, string>;
  /**
   * By lower-case name; several of one name joined by a comma. One character for each byte, as Node reads them, so
   * that nothing is lost of a value that is not US-ASCII.
   */
  readonly headers: ReadonlyMap<string, string>;
}

export const parseRequest = (incoming: IncomingMessage): S3Request => {
  const url = incoming.url ?? '';
  const mark = url.indexOf('?');
  const path = mark === -1 ? url : url.slice(0, mark);
  if (!path.startsWith('/')) throw new S3Error('InvalidURI');
  const slash = path.indexOf('/', 1);
  const bucket = decode(slash === -1 ? path.slice(1) : path.slice(1, slash));
  const key = slash === -1 ? '' : decode(path.slice(slash + 1));
  return {
    method: incoming.method ?? '',
    url,
    path,
    bucket,
    key,
    query: parseQuery(mark === -1 ? '' : url.slice(mark + 1)),
    headers: parseHeaders(incoming.rawHeaders),
  };
};

/** Percent-encoded UTF-8, and nothing else. */
export const decode = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new S3Error('InvalidURI');
  }
};

const parseQuery = (text: string): ReadonlyMap<string, string> => {
  const query = new Map<string, string>();
  for (const pair of text.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = decode((equals === -1 ? pair : pair.slice(0, equals)).replaceAll('+', ' '));
    if (query.has(name)) throw new S3Error('InvalidArgument', `The parameter ${name} is there twice`);
    query.set(name, equals === -1 ? '' : decode(pair.slice(equals + 1).replaceAll('+', ' ')));
  }
  return query;
};

const parseHeaders = (raw: readonly string[]): ReadonlyMap<string, string> => {
  const headers = new Map<string, string>();
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase();
    const earlier = headers.get(name);
    headers.set(name, earlier === undefined ? raw[i + 1]! : `${earlier},${raw[i + 1]}`);
  }
  return headers;
};

/** As RFC 3986, where `encodeURIComponent` leaves five characters as they are. */
export const uriEncode = (text: string): string =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );

/** A whole number from the query, at least 0. */
export const integerOf = (request: S3Request, name: string): number | undefined => {
  const text = request.query.get(name);
  if (text === undefined) return undefined;
  if (!/^\d{1,10}$/.test(text) || Number(text) > 2147483647) {
    throw new S3Error('InvalidArgument', `Argument ${name} must be an integer between 0 and 2147483647`, {
      ArgumentName: name,
      ArgumentValue: text,
    });
  }
  return Number(text);
};
