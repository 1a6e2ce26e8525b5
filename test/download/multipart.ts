/** A part of a multipart/byteranges body. */
export interface RangePart {
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** As stated: a number, or `*`. */
  readonly length: string;
  readonly body: Buffer;
}

/**
 * Reads a body by its boundaries alone (RFC 2046 section 5.1.1), with no help from Content-Range, and then holds each
 * part against that. Throws on anything out of place.
 */
export const parseMultipart = (contentType: string | undefined, body: Buffer): RangePart[] => {
  const boundary = /^multipart\/byteranges; boundary=([0-9A-Za-z]{1,70})$/.exec(contentType ?? '')?.[1];
  if (boundary === undefined) throw new Error(`no boundary in ${contentType}`);
  const delimiter = Buffer.from(`\r\n--${boundary}`);
  const text = Buffer.concat([Buffer.from('\r\n'), body]); // the first delimiter may do without its line break
  const parts: RangePart[] = [];
  let at = text.indexOf(delimiter);
  if (at !== 0) throw new Error('something before the first part');
  for (;;) {
    at += delimiter.byteLength;
    const next = text.toString('latin1', at, at + 2);
    if (next === '--') break;
    if (next !== '\r\n') throw new Error(`${JSON.stringify(next)} behind a boundary`);
    const end = text.indexOf(delimiter, at);
    const headEnd = text.indexOf('\r\n\r\n', at);
    if (end === -1 || headEnd === -1 || headEnd > end) throw new Error('a part without an end');
    parts.push(readPart(text.toString('latin1', at + 2, headEnd), text.subarray(headEnd + 4, end)));
    at = end;
  }
  if (text.byteLength !== at + 4 || text.toString('latin1', at + 2) !== '\r\n') {
    throw new Error('something behind the last boundary');
  }
  return parts;
};

const readPart = (head: string, body: Buffer): RangePart => {
  const headers: Record<string, string> = {};
  for (const line of head.split('\r\n')) {
    const colon = line.indexOf(': ');
    if (colon < 1) throw new Error(`not a field: ${line}`);
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 2);
  }
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers['content-range'] ?? '');
  if (match === null) throw new Error(`no range: ${headers['content-range']}`);
  const [, first, last, length = ''] = match;
  const [start, end] = [Number(first), Number(last) + 1];
  if (body.byteLength !== end - start) throw new Error(`${body.byteLength} bytes for ${start}-${end}`);
  return { headers, start, end, length, body };
};
