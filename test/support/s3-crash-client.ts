import http, { type IncomingHttpHeaders } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { exchange, type HttpResponse } from '../../src/client/exchange.ts';
import { Interruption } from '../../src/client/failure.ts';
import { upload } from '../../src/client/index.ts';
import { memorySource } from '../../src/client/source.ts';
import { printContentRange } from '../../src/headers/content-range.ts';
import { parseRange } from '../../src/headers/range.ts';
import { IntervalSet } from '../../src/intervals.ts';

export interface ClientTarget {
  readonly port: number;
  readonly name: string;
  readonly signal: AbortSignal;
}

/** Resolves with the body of the final answer. */
type Send = (target: ClientTarget, content: Uint8Array) => Promise<Buffer>;

/** The client of the library. What it is told to wait for is enough: it need not add much. */
const library =
  (path: (name: string) => string, handshake: boolean): Send =>
  async ({ port, name, signal }, content) => {
    const retry = { minMs: 1, maxMs: 20, maxCount: 30 };
    const url = `http://127.0.0.1:${port}${path(name)}`;
    const { status, body } = await upload(url, content, { handshake, retry, signal }).result;
    if (status !== 201) throw new Error(`answered ${status}: ${body}`);
    return body;
  };

const mostRequests = 60;

/** One that never tells how long its content is: that the body ends is all the server hears of it. */
const chunked: Send = async ({ port, name, signal }, content) => {
  const url = new URL(`http://127.0.0.1:${port}/upload/${name}`);
  const source = memorySource(content);
  const end = content.byteLength;
  const ask = async (headers: http.OutgoingHttpHeaders, body?: { start: number; end: number }) => {
    const request = { url, method: 'PUT', headers, agent: new http.Agent(), signal, stallTimeoutMs: 20_000 };
    try {
      return await exchange({ ...request, body: body && { source, ...body } });
    } catch (error) {
      if (!(error instanceof Interruption)) throw error;
      return undefined;
    }
  };
  const query = () =>
    ask({ 'Content-Range': printContentRange({ kind: 'query', length: undefined }), 'Content-Length': 0 });
  /** What is missing: the last of it with an open end, as in the first request. */
  const advance = (stored: IntervalSet): Promise<HttpResponse | undefined> => {
    const gap = stored.missing(0, end)[0] ?? { start: end, end };
    const isLast = gap.end === end;
    const range = {
      kind: 'range',
      start: gap.start,
      end: isLast ? undefined : gap.end,
      length: undefined,
    } as const;
    const framing = isLast ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': gap.end - gap.start };
    return ask({ 'Content-Range': printContentRange(range), ...framing }, gap);
  };
  let response = await ask({ 'Transfer-Encoding': 'chunked' }, { start: 0, end });
  for (let requests = 1; requests < mostRequests; requests += 2) {
    if (response?.status === 308) response = await advance(storedOf(response.headers));
    if (response?.status === 201) return response.body;
    if (response !== undefined && response.status !== 503 && response.status !== 308)
      throw new Error(`answered ${response.status}: ${response.body}`);
    if (response?.status !== 308) await sleep(20, undefined, { signal });
    response = await query();
  }
  throw new Error(`no answer after ${mostRequests} requests`);
};

const storedOf = ({ range }: IncomingHttpHeaders): IntervalSet => {
  const ranges = range === undefined ? [] : parseRange(range);
  if (ranges === undefined) throw new Error(`unreadable Range: ${range}`);
  return IntervalSet.from(ranges);
};

/**
 * `named`: at a URL of its own, and the whole body at once. `session`: asks for an identity first. `chunked`: at a URL of
 * its own, with an unknown length.
 */
export const clients = {
  named: library((name) => `/upload/${name}`, false),
  session: library(() => '/upload', true),
  chunked,
} as const satisfies Readonly<Record<string, Send>>;

export type Client = keyof typeof clients;
