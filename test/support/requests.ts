import { createHash } from 'node:crypto';
import { expect, vi } from 'vitest';
import { RawClient, type RawResponse } from './raw-client.ts';
import type { Digested } from './service.ts';

/** A request in parts. Without a body and a Content-Length of its own it gets `Content-Length: 0`, or none for GET and the like. */
export interface Request {
  readonly method?: string;
  readonly target?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Sends the body with chunked coding, in chunks of that many bytes. */
  readonly chunk?: number;
  readonly version?: '1.0' | '1.1';
}

/** How later requests name an upload: the target and fields they all share. */
export interface Name {
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Reply extends RawResponse {
  readonly interim: readonly RawResponse[];
}

interface Port {
  readonly port: number;
}

export const encode = ({
  method = 'POST',
  target = '/upload',
  headers = {},
  body,
  chunk,
  version = '1.1',
}: Request): Buffer => {
  const bytes = Buffer.from(body ?? '');
  const own = Object.keys(headers).some((name) => /^(content-length|transfer-encoding)$/i.test(name));
  const framing: Record<string, string> = {};
  if (chunk !== undefined) framing['Transfer-Encoding'] = 'chunked';
  else if (!own && (body !== undefined || /^(POST|PUT|PATCH)$/.test(method))) {
    framing['Content-Length'] = String(bytes.byteLength);
  }
  const fields = Object.entries({ Host: 'example.com', ...framing, ...headers });
  const lines = [
    `${method} ${target} HTTP/${version}`,
    ...fields.map(([name, value]) => `${name}: ${value}`),
  ];
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  return Buffer.concat([head, chunk === undefined ? bytes : chunked(bytes, chunk)]);
};

export const chunked = (bytes: Uint8Array, size: number, last = true): Buffer => {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.byteLength; at += size) {
    const part = bytes.subarray(at, at + size);
    parts.push(Buffer.from(`${part.byteLength.toString(16)}\r\n`), part, Buffer.from('\r\n'));
  }
  return Buffer.concat([...parts, Buffer.from(last ? '0\r\n\r\n' : '')]);
};

/** One request on a connection of its own, and its final response. */
export const ask = async (service: Port, request: Request): Promise<Reply> => {
  const client = await RawClient.connect(service.port);
  client.bodiless = request.method === 'HEAD';
  await client.write(encode(request));
  const response = await client.response();
  await client.close();
  return { ...response, interim: client.interim };
};

/** A connection on which a request has begun and goes on as the test likes. */
export const open = async (
  service: Port,
  { body = '', ...request }: Request & { readonly length?: number },
): Promise<RawClient> => {
  const client = await RawClient.connect(service.port);
  const { length } = request;
  const framing: Record<string, string> =
    length === undefined ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': String(length) };
  await client.write(encode({ ...request, headers: { ...framing, ...request.headers } }));
  if (body.length > 0)
    await client.write(length === undefined ? chunked(Buffer.from(body), 4096, false) : body);
  return client;
};

/** The handshake, and how it tells to go on. */
export const handshake = async (service: Port, length: number | '*', target = '/upload'): Promise<Name> => {
  const reply = await ask(service, { target, headers: { 'Content-Range': `bytes */${length}` } });
  expect(reply.status).toBe(308);
  const { location, etag } = reply.headers;
  if (location !== undefined) return { target: location, headers: {} };
  return { target, headers: { 'If-Match': etag ?? 'no identity was given' } };
};

export const query = (service: Port, name: Name, length: number | '*' = '*'): Promise<Reply> =>
  ask(service, { ...name, headers: { ...name.headers, 'Content-Range': `bytes */${length}` } });

/** The bytes of `content` from `start` to `end` (exclusive), as `a-b/L`. */
export const part = (start: number, end: number, length: number | '*'): string =>
  `bytes ${start}-${end - 1}/${length}`;

/** Sends `content[start, end)` to its place. */
export const send = (
  service: Port,
  name: Name,
  content: Uint8Array,
  [start, end]: readonly [number, number] = [0, content.byteLength],
  length: number | '*' = content.byteLength,
): Promise<Reply> =>
  ask(service, {
    ...name,
    headers: { ...name.headers, 'Content-Range': part(start, end, length) },
    body: content.subarray(start, end),
  });

/** Resolves when the server says it has stored this. There is no event for it in another's process. */
export const untilStored = (service: Port, name: Name, range: string): Promise<void> =>
  vi.waitFor(
    async () => {
      expect((await query(service, name)).headers.range).toBe(range);
    },
    { timeout: 10_000, interval: 5 },
  );

/** What is the same for everybody who asks. */
export const state = ({ status, headers }: RawResponse) => ({
  status,
  range: headers.range,
  etag: headers.etag,
  location: headers.location,
});

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** What `digestHandler` answered. */
export const digested = (reply: RawResponse): Digested => JSON.parse(reply.body.toString()) as Digested;

/** The same bytes for the same seed, and others for others. */
export const content = (length: number, seed = 1): Buffer => {
  const bytes = Buffer.alloc(length);
  let word = seed * 2654435761;
  for (let i = 0; i < length; i++) {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    bytes[i] = word;
  }
  return bytes;
};

/** Checks that a whole upload was processed and is this content. */
export const expectProcessed = (reply: RawResponse, expected: Uint8Array): void => {
  expect(reply.status).toBe(201);
  expect(digested(reply)).toEqual({ size: expected.byteLength, sha256: sha256(expected) });
};

/** Checks that a response is a problem with this code. */
export const expectProblem = (reply: RawResponse, status: number, code: string): void => {
  expect(reply.headers['content-type']).toBe('application/problem+json');
  expect(JSON.parse(reply.body.toString())).toMatchObject({ status, code });
  expect(reply.status).toBe(status);
};
