import { describe, expect, test } from 'vitest';
import { type UploadOptions, upload } from '../../src/client/index.ts';
import { learnedLimits } from '../../src/client/limits.ts';
import { forward } from '../support/limiting-proxy.ts';
import { content, sha256 } from '../support/requests.ts';
import {
  afterwards,
  answer,
  cut,
  done,
  failure,
  named,
  type Reply,
  ranges,
  scripted,
  serverOf,
} from '../support/scripted-server.ts';
import { startService } from '../support/service.ts';

const quick: UploadOptions = { retry: { minMs: 2, maxMs: 10, maxCount: 5 } };
const bytes = content(400_000);
const ten = Buffer.from('0123456789');

describe('a limit on the size of a request', () => {
  test('maxRequestBytes: no request brings more', async () => {
    const { url, seen } = await scripted(
      named,
      answer(308, { Range: '0-3' }),
      answer(308, { Range: '0-7' }),
      done,
    );
    await upload(url, ten, { ...quick, maxRequestBytes: 4 }).result;
    expect(ranges(seen)).toEqual(['bytes */10', 'bytes 0-3/10', 'bytes 4-7/10', 'bytes 8-9/10']);
  });

  test('… nor does the first one to a URL that is its own', async () => {
    const { url, seen } = await scripted(answer(308, { Range: '0-5' }), done);
    await upload(url, ten, { ...quick, handshake: false, maxRequestBytes: 6 }).result;
    expect(ranges(seen)).toEqual(['bytes 0-5/10', 'bytes 6-9/10']);
  });

  test.each([true, false])(
    'a 413 of a proxy halves it until it passes (handshake: %s)',
    async (handshake) => {
      const service = await startService('memory', { identify: (req) => (handshake ? undefined : req.url) });
      const proxy = await forward(service.port, 70_000);
      const up = upload(`${proxy.url}/${handshake}`, bytes, { ...quick, handshake });
      const { body } = await up.result;
      expect(JSON.parse(String(body))).toMatchObject({ sha256: sha256(bytes) });
      // 400,000, 200,000, 100,000, and then 50,000 eight times.
      expect(proxy.sizes.filter((size) => size > 0)).toEqual([
        400_000,
        200_000,
        100_000,
        ...Array(8).fill(50_000),
      ]);
      expect(up.state()).toMatchObject({ maxRequestBytes: 50_000 });
      // The next one to the same origin knows.
      proxy.sizes.length = 0;
      await upload(`${proxy.url}/second`, bytes, { ...quick, handshake }).result;
      expect(proxy.sizes.filter((size) => size > 0)).toEqual(Array(8).fill(50_000));
      afterwards(() => learnedLimits.clear());
    },
  );

  test('a server that says it is the upload that is too large is believed', async () => {
    const service = await startService('memory', { maxLength: 300_000, identify: (req) => req.url });
    const { result } = upload(`http://127.0.0.1:${service.port}/x`, bytes, { ...quick, handshake: false });
    const error = await failure(result);
    expect(error).toMatchObject({ code: 'too_large', status: 413 });
    expect(error.attempts).toHaveLength(0);
  });

  test('where nothing is small enough, the upload fails, with every attempt', async () => {
    const { url, seen } = await serverOf((number) => (number === 0 ? named : answer(413)));
    const error = await failure(upload(url, bytes, quick).result);
    expect(error).toMatchObject({ code: 'too_large', status: 413 });
    expect(seen.map(({ body }) => body.length)).toEqual([
      0, 400_000, 200_000, 100_000, 50_000, 25_000, 16_384,
    ]);
    expect(error.attempts).toHaveLength(5);
  });
});

describe('retrying', () => {
  test.each([408, 429, 502, 503, 504])('%i is retried, after what Retry-After says', async (status) => {
    const { url, seen } = await scripted(
      answer(status),
      named,
      answer(status, { 'Retry-After': '1' }),
      answer(308, { Range: '0-4' }),
      done,
    );
    const start = performance.now();
    const { attempts } = await upload(url, ten, quick).result;
    expect(performance.now() - start).toBeGreaterThanOrEqual(990);
    expect(attempts).toBe(5);
    expect(ranges(seen)).toEqual(['bytes */10', 'bytes */10', 'bytes 0-9/10', 'bytes */10', 'bytes 5-9/10']);
  });

  test('is bounded by the time without progress', async () => {
    const { url } = await serverOf((number) => (number === 0 ? named : cut(0)));
    const retry = { minMs: 20, maxMs: 20, maxCount: 1_000, maxTimeMs: 150 };
    const start = performance.now();
    const error = await failure(upload(url, ten, { retry }).result);
    expect(performance.now() - start).toBeLessThan(1_000);
    expect(error).toMatchObject({ code: 'interrupted', message: expect.stringContaining('150 ms') });
    expect(error.attempts.length).toBeGreaterThan(1);
  });

  test('… and a Retry-After beyond it fails at once', async () => {
    const { url } = await scripted(named, answer(503, { 'Retry-After': '60' }));
    const start = performance.now();
    const error = await failure(upload(url, ten, { retry: { maxTimeMs: 5_000 } }).result);
    expect(error).toMatchObject({ code: 'interrupted', status: 503 });
    expect(performance.now() - start).toBeLessThan(1_000);
  });

  test('a server that asks for patience gets it, however often', async () => {
    const busy = answer(503, { 'Retry-After': '1' });
    const { url } = await scripted(named, answer(308, { Range: '0-9' }), busy, busy, done);
    const retry = { minMs: 1, maxMs: 1, maxCount: 1 };
    await expect(upload(url, ten, { retry }).result).resolves.toMatchObject({ status: 201 });
  });
});

describe('headers as a function', () => {
  test('is asked before each request', async () => {
    let token = 0;
    const { url, seen } = await scripted(named, cut(3), answer(308, { Range: '0-2' }), done);
    const headers = async () => ({ Authorization: `Bearer ${++token}` });
    await upload(url, ten, { ...quick, headers }).result;
    expect(seen.map((request) => request.headers.authorization)).toEqual(
      [1, 2, 3, 4].map((number) => `Bearer ${number}`),
    );
  });

  test('a 401 is tried once more with a fresh one, and not twice', async () => {
    const expired = answer(401, {}, 'expired');
    const first = await scripted(named, expired, answer(308, { Range: '0-4' }), done);
    await upload(first.url, ten, { ...quick, headers: () => ({}) }).result;
    expect(ranges(first.seen)).toEqual(['bytes */10', 'bytes 0-9/10', 'bytes */10', 'bytes 5-9/10']);
    const second = await scripted(named, expired, expired);
    expect(await failure(upload(second.url, ten, { ...quick, headers: () => ({}) }).result)).toMatchObject({
      status: 401,
    });
    const fixed = await scripted(named, expired);
    expect(await failure(upload(fixed.url, ten, quick).result)).toMatchObject({ status: 401 });
  });

  test('what it throws, and what it says wrongly, ends the upload', async () => {
    const { url } = await scripted();
    const thrown = upload(url, ten, { headers: () => Promise.reject(new RangeError('no token')) });
    await expect(thrown.result).rejects.toThrow('no token');
    const wrong = upload(url, ten, { headers: () => ({ 'Content-Range': 'bytes */1' }) });
    expect(await failure(wrong.result)).toMatchObject({ code: 'invalid_argument' });
  });
});

test('metadata goes with what starts the upload, in a form that takes any text', async () => {
  const { url, seen } = await scripted(named, done);
  await upload(url, ten, { ...quick, metadata: { name: 'film 日本.mp4', empty: '' } }).result;
  const printed = `name ${Buffer.from('film 日本.mp4').toString('base64')},empty `;
  expect(seen.map(({ headers }) => headers['upload-metadata'])).toEqual([printed.trim(), undefined]);
  const bad = { metadata: { 'a b': 'c' } };
  expect(() => upload(url, ten, bad)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
});

const silent: Reply = () => {};
test('nothing moves for stallTimeoutMs: the connection is given up, and the upload goes on', async () => {
  const { url, seen } = await scripted(named, silent, answer(308, { Range: '0-4' }), done);
  await upload(url, ten, { ...quick, stallTimeoutMs: 50 }).result;
  expect(ranges(seen)).toEqual(['bytes */10', 'bytes 0-9/10', 'bytes */10', 'bytes 5-9/10']);
});
