import { describe, expect, test } from 'vitest';
import { type Cut, cuttingProxy } from '../../bench/lib/cutting-proxy.ts';
import { upload } from '../../src/client/index.ts';
import { parseContentRange } from '../../src/headers/content-range.ts';
import { printRange } from '../../src/headers/range.ts';
import { IntervalSet } from '../../src/intervals.ts';
import { content, sha256 } from '../support/requests.ts';
import {
  afterwards,
  answer,
  done,
  named,
  type Reply,
  ranges,
  scripted,
  serverOf,
  take,
} from '../support/scripted-server.ts';
import { startService } from '../support/service.ts';

const quick = { retry: { minMs: 2, maxMs: 10 } };
const bytes = content(8_000_000);

interface Span {
  readonly start: number;
  readonly end: number;
}
const spans = (values: readonly (string | undefined)[]): Span[] =>
  values.flatMap((value) => {
    const range = value === undefined ? undefined : parseContentRange(value);
    return range?.kind === 'range' ? [{ start: range.start, end: range.end ?? 0 }] : [];
  });

describe('parallel ranges', () => {
  test('are disjoint, of falling size, on as many connections at once, the earliest first', async () => {
    let now = 0;
    let most = 0;
    const held: (() => void)[] = [];
    const stored = new IntervalSet();
    const reply: Reply = async (request, response, seen) => {
      most = Math.max(most, ++now);
      await take(request, seen);
      // Nobody is answered before all have come.
      if (held.length < 3 && most < 4) await new Promise<void>((resolve) => held.push(resolve));
      else for (const resolve of held.splice(0)) resolve();
      now--;
      for (const { start, end } of spans(ranges([seen]))) stored.add(start, end);
      if (stored.size === bytes.length) response.writeHead(201).end();
      else response.writeHead(308, { Range: printRange(stored.ranges(), 'bytes') }).end();
    };
    const { url, seen } = await serverOf((number) => (number === 0 ? named : reply));
    await upload(url, bytes, { ...quick, parallel: 4 }).result;
    expect(most).toBe(4);
    const sorted = spans(ranges(seen)).toSorted((a, b) => a.start - b.start);
    expect(spans(ranges(seen))[0]).toEqual({ start: 0, end: 2_000_000 });
    expect(sorted.every(({ start }, i) => start === (i === 0 ? 0 : sorted[i - 1]?.end))).toBe(true);
    expect(sorted.at(-1)?.end).toBe(bytes.length);
  });

  test('go only to a server that is known to resume: at a URL of its own it asks first', async () => {
    const { url, seen } = await scripted(answer(308), done);
    await upload(url, bytes.subarray(0, 100), { ...quick, parallel: 4, handshake: false }).result;
    expect(ranges(seen)).toEqual(['bytes */100', 'bytes 0-99/100']);
  });

  test.each([
    ['a Buffer', () => bytes],
    ['a stream', () => new Blob([new Uint8Array(bytes)]).stream()],
  ])('%s is whole after cuts of all of them, and the handler ran once', async (_name, source) => {
    const service = await startService('fs');
    const cuts: Cut[] = Array.from({ length: 8 }, (_, i) => ({
      afterBytes: 500_000 + i * 900_000,
      means: i % 2 === 0 ? 'rst' : 'fin',
    }));
    const proxy = await cuttingProxy({ target: service.port, cuts });
    afterwards(() => proxy.close());
    const url = `http://127.0.0.1:${proxy.port}/upload`;
    const options = { ...quick, parallel: 4, maxRequestBytes: 1_000_000, replayBufferBytes: 2_000_000 };
    const { body, bytesResent } = await upload(url, source(), options).result;
    expect(JSON.parse(String(body))).toEqual({ size: bytes.length, sha256: sha256(bytes) });
    expect(service.calls).toHaveLength(1);
    expect(proxy.stats.cuts).toBe(8);
    // No more than what was in the buffers of a connection when it was cut.
    expect(bytesResent).toBeLessThan(8 * 1_000_000);
  });

  test('connections that are lost together are one failure', async () => {
    let cuts = 0;
    const gone: Reply = async (request, response, seen) => {
      await take(request, seen, 1);
      cuts++;
      // All four go at the same moment.
      if (cuts < 4) await new Promise<void>((resolve) => waiting.push(resolve));
      else for (const resolve of waiting.splice(0)) resolve();
      response.socket?.destroy();
    };
    const waiting: (() => void)[] = [];
    const { url } = await serverOf((number) => {
      if (number === 0) return named;
      if (number <= 4) return gone;
      return number === 5 ? answer(308, { Range: '0-7999999' }) : done;
    });
    await upload(url, bytes, { retry: { minMs: 1, maxMs: 1, maxCount: 1 }, parallel: 4 }).result;
    expect(cuts).toBe(4);
  });

  test('an answer that was overtaken by a later one takes nothing back', async () => {
    const part = bytes.subarray(0, 524_288);
    let overtake = (): void => {};
    const overtaken = new Promise<void>((resolve) => {
      overtake = resolve;
    });
    const first: Reply = async (request, response, seen) => {
      await take(request, seen);
      await overtaken;
      response.writeHead(308, { Range: '0-262143' }).end();
    };
    const second: Reply = async (request, response, seen) => {
      await answer(308, { Range: '262144-524287' })(request, response, seen);
      response.once('close', overtake);
    };
    const { url, seen } = await scripted(named, first, second, done);
    await upload(url, part, { ...quick, parallel: 2 }).result;
    expect(ranges(seen).slice(1).sort()).toEqual([
      'bytes */524288',
      'bytes 0-262143/524288',
      'bytes 262144-524287/524288',
    ]);
  });

  test('one refusal ends them all', async () => {
    const silent: Reply = () => {};
    const { url } = await serverOf((number) => [named, silent, answer(403)][number] ?? silent);
    const { result } = upload(url, bytes, { ...quick, parallel: 3 });
    await expect(result).rejects.toMatchObject({ status: 403 });
  });
});
