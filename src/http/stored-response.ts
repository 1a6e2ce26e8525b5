import type { OutgoingHttpHeaders } from 'node:http';
import type { ResponseHead } from '../protocol/dialect.ts';

// The one response of an upload, kept as text with its record and given to everybody who asks afterwards.

export interface StoredResponse {
  readonly status: number;
  readonly reason: string;
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** Base64; undefined when the body was longer than the cap, and only status and headers are replayed. */
  readonly body?: string;
}

/** Of one connection, of one moment, or of one client. */
const notStored = new Set([
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'proxy-authenticate',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** They describe a body, and would be untrue of none. */
const ofBody = new Set([
  'content-encoding',
  'content-range',
  'digest',
  'content-digest',
  'repr-digest',
  'etag',
]);

export const encodeResponse = (
  status: number,
  reason: string,
  headers: OutgoingHttpHeaders,
  body: Buffer | undefined,
): string => {
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || notStored.has(name.toLowerCase())) continue;
    if (body === undefined && ofBody.has(name.toLowerCase())) continue;
    kept[name] = Array.isArray(value) ? value : String(value);
  }
  const stored: StoredResponse = {
    status,
    reason,
    headers: kept,
    ...(body === undefined ? {} : { body: body.toString('base64') }),
  };
  return JSON.stringify(stored);
};

export const decodeResponse = (
  text: string,
): { status: number; reason: string; headers: Record<string, string | string[]>; body: Buffer } => {
  const { status, reason, headers, body = '' } = JSON.parse(text) as StoredResponse;
  const bytes = Buffer.from(body, 'base64');
  const hasBody = status !== 204 && status !== 304;
  const length = hasBody ? { 'content-length': String(bytes.byteLength) } : {};
  return { status, reason, headers: { ...headers, ...length }, body: bytes };
};

/** A response of our own as the one that is kept. */
export const encodeHead = ({ status, reason, headers, body }: ResponseHead): string =>
  encodeResponse(status, reason, headers, Buffer.from(body ?? ''));
