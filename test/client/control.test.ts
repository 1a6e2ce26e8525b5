import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { type SavedUpload, type UploadProgress, upload } from '../../src/client/index.ts';
import { Latest, RateMeter } from '../../src/client/progress.ts';
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
  take,
} from '../support/scripted-server.ts';
import { startService } from '../support/service.ts';

const run = promisify(execFile);
const quick = { retry: { minMs: 2, maxMs: 10, maxCount: 5 } };
const ten = Buffer.from('0123456789');
const bytes = content(3_000_000);
const never: Reply = (request, _response, seen) => take(request, seen);

const fileOf = async (part: Uint8Array): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'resumable-client-'));
  afterwards(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'content');
  await writeFile(path, part);
  return path;
};

interface Finished {
  readonly body: string;
  readonly bytesSent: number;
  readonly sent: readonly number[];
}

describe('pause and resume', () => {
  test('a pause ends the request under way; afterwards it asks what is there and goes on', async () => {
    const { url, seen } = await scripted(named, never, answer(308, { Range: '0-3' }), done);
    const up = upload(url, ten, quick);
    const states: string[] = [];
    for await (const { state, sent } of up) {
      if (states.at(-1) !== state) states.push(state);
      if (sent === 10 && state !== 'paused') up.pause();
      if (state === 'paused') break;
    }
    await sleep(50); // nothing may happen, which no event tells of
    expect(seen).toHaveLength(2);
    up.resume();
    await expect(up.result).resolves.toMatchObject({ status: 201, attempts: 4 });
    expect(ranges(seen)).toEqual(['bytes */10', 'bytes 0-9/10', 'bytes */10', 'bytes 4-9/10']);
    expect(states.at(-1)).toBe('paused');
  });

  test('paused before it began, it begins when resumed', async () => {
    const { url, seen } = await scripted(named, done);
    const up = upload(url, ten, quick);
    up.pause();
    await sleep(30);
    expect(seen).toHaveLength(0);
    up.resume();
    await expect(up.result).resolves.toMatchObject({ status: 201 });
  });
});

describe('abort', () => {
  test('takes the upload from the server, and rejects with the reason', async () => {
    const service = await startService('memory');
    const up = upload(`http://127.0.0.1:${service.port}/upload`, hanging(), quick);
    for await (const { committed } of up) if (committed > 0) break;
    expect(await service.ids()).toHaveLength(1);
    const reason = new Error('changed my mind');
    const aborted = up.abort(reason);
    await expect(up.result).rejects.toBe(reason);
    await aborted;
    const { location = '' } = up.state() ?? {};
    const again = await fetch(location, { method: 'POST', headers: { 'Content-Range': 'bytes */*' } });
    expect(again.status).toBe(410);
    await up.abort('twice is once');
  });

  test('sends DELETE to the session, with the tag, and tries again where that is lost', async () => {
    const session = answer(308, { Location: '/s', ETag: '"a"' });
    const { url, seen, sockets } = await scripted(session, never, cut(0), answer(204));
    const up = upload(url, ten, quick);
    const events = expect(drain(up)).rejects.toMatchObject({ name: 'AbortError' });
    for await (const { sent } of up) {
      if (sent === 10) break;
    }
    await up.abort();
    await events;
    await expect(up.result).rejects.toMatchObject({ name: 'AbortError' });
    expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'POST /upload',
      'POST /s',
      'DELETE /s',
      'DELETE /s',
    ]);
    expect(seen[3]?.headers).toMatchObject({ 'if-match': '"a"' });
    for (const socket of sockets) await once(socket, 'close');
  });

  test('of an upload that has no name yet tells nobody', async () => {
    const { url, seen } = await scripted(never);
    const up = upload(url, ten, quick);
    for await (const { state } of up) if (state === 'connecting') break;
    await up.abort();
    await expect(up.result).rejects.toMatchObject({ name: 'AbortError' });
    expect(seen.every(({ method }) => method === 'POST')).toBe(true);
  });

  test('before it began sends nothing', async () => {
    const { url, seen } = await scripted();
    const up = upload(url, ten, quick);
    const aborted = up.abort();
    await expect(up.result).rejects.toMatchObject({ name: 'AbortError' });
    await aborted;
    expect(seen).toHaveLength(0);
  });
});

describe('state', () => {
  test('leads another process on to the end, with nothing sent twice', async () => {
    const service = await startService('fs');
    const path = await fileOf(bytes);
    const script = (state: SavedUpload | undefined, stopAt: number): string[] => [
      '--import',
      'tsx',
      join(import.meta.dirname, '../support/uploading-process.ts'),
      JSON.stringify({ url: `http://127.0.0.1:${service.port}/upload`, path, state, stopAt }),
    ];
    const first = await run(process.execPath, script(undefined, 1_000_000));
    const told = JSON.parse(first.stdout) as { state: SavedUpload };
    expect(told.state).toMatchObject({ version: 1, length: bytes.length, begun: true });
    const second = await run(process.execPath, script(told.state, Number.MAX_SAFE_INTEGER));
    const { body, bytesSent, sent } = JSON.parse(second.stdout) as Finished;
    expect(JSON.parse(body)).toEqual({ size: bytes.length, sha256: sha256(bytes) });
    expect(bytesSent).toBeLessThan(bytes.length);
    // What the first process has sent counts, and rises from there.
    expect(sent.find((value) => value > 0)).toBeGreaterThanOrEqual(bytes.length - bytesSent);
    expect(sent).toEqual(sent.toSorted((a, b) => a - b));
    expect(service.calls).toHaveLength(1);
  });

  test('of a stream skips what the server has', async () => {
    const state: SavedUpload = { version: 1, url: '', location: '/s', begun: true };
    const { url, seen } = await scripted(answer(308, { Range: '0-3' }), done);
    const source = Readable.from([ten.subarray(0, 2), ten.subarray(2)]);
    await upload(url, source, { ...quick, state: { ...state, url, location: new URL('/s', url).href } })
      .result;
    expect(seen.map(({ url, body }) => [url, String(body)])).toEqual([
      ['/s', ''],
      ['/s', '456789'],
    ]);
  });

  test('of a stream that is shorter now is refused', async () => {
    const { url } = await scripted(answer(308, { Range: '0-13' }));
    const state: SavedUpload = { version: 1, url, etag: '"a"', begun: true };
    const { result } = upload(url, Readable.from([ten]), { ...quick, state });
    expect(await failure(result)).toMatchObject({ code: expect.stringMatching(/length_changed|unexpected/) });
  });

  test('of another upload, or of content that was changed, is refused before anything is sent', async () => {
    const path = await fileOf(ten);
    const { url, seen } = await scripted(named, cut(2), answer(400));
    const up = upload(url, path, quick);
    await failure(up.result);
    const state = up.state();
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
    const requests = seen.length;
    const other = upload(`${url}/other`, path, { state });
    await expect(other.result).rejects.toMatchObject({ code: 'invalid_argument' });
    const longer = upload(url, Buffer.concat([ten, ten]), { state });
    await expect(longer.result).rejects.toMatchObject({ code: 'length_changed' });
    await utimes(path, 0, 0);
    await expect(upload(url, path, { state }).result).rejects.toMatchObject({ code: 'digest_conflict' });
    expect(seen).toHaveLength(requests);
  });

  test('remembers what a 413 has taught', async () => {
    const big = bytes.subarray(0, 100_000);
    const { url } = await scripted(named, answer(413), answer(400));
    const up = upload(url, big, quick);
    await failure(up.result);
    expect(up.state()).toMatchObject({ maxRequestBytes: 50_000, etag: '"a"' });
  });
});

describe('progress', () => {
  test('every reader gets the newest, the last and the end', async () => {
    const service = await startService('memory');
    const up = upload(`http://127.0.0.1:${service.port}/upload`, bytes, quick);
    const [first, second] = await Promise.all([drain(up), drain(up)]);
    for (const events of [first, second]) {
      const { rate, ...last } = events.at(-1) ?? {};
      expect(last).toEqual({ sent: 3e6, committed: 3e6, total: 3e6, etaMs: 0, state: 'done' });
      expect(rate).toBeGreaterThan(0);
      const committed = events.map((event) => event.committed);
      expect(committed).toEqual(committed.toSorted((a, b) => a - b));
      const sent = events.map((event) => event.sent);
      expect(sent).toEqual(sent.toSorted((a, b) => a - b));
    }
  });

  test('goes through its states', async () => {
    const { url } = await scripted(
      named,
      cut(3),
      answer(308, { Range: '0-2' }),
      answer(308, { Range: '0-9' }),
      done,
    );
    const states: string[] = [];
    const onProgress = ({ state }: UploadProgress): void => {
      if (states.at(-1) !== state) states.push(state);
    };
    await upload(url, ten, { ...quick, onProgress }).result;
    expect(states.filter((state, i) => states.indexOf(state) === i)).toEqual([
      'connecting',
      'sending',
      'processing',
      'reconnecting',
      'done',
    ]);
  });

  test('a slow reader holds up nothing and is given few events', async () => {
    const service = await startService('memory');
    const up = upload(`http://127.0.0.1:${service.port}/upload`, bytes, quick);
    let ended = false;
    void up.result.then(() => {
      ended = true;
    });
    let events = 0;
    for await (const _ of up) {
      events++;
      await up.result; // as slow as can be
    }
    expect(ended).toBe(true);
    expect(events).toBeLessThanOrEqual(2);
  });

  test('leaving the loop leaves the upload alone, and a failure is thrown in the loop', async () => {
    const first = await scripted(named, done);
    const up = upload(first.url, ten, quick);
    for await (const _ of up) break;
    await expect(up.result).resolves.toMatchObject({ status: 201 });
    const { url } = await scripted(answer(400));
    const error = await drain(upload(url, ten, quick)).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'unexpected_response', status: 400 });
  });

  test('the rate is that of the last seconds', () => {
    const meter = new RateMeter();
    expect(meter.rate(0, 0)).toBe(0);
    for (let at = 1; at <= 20; at++) meter.rate(at * 1_000, at * 1_000);
    expect(meter.rate(20_000, 20_000)).toBe(1_000);
    for (let at = 21; at <= 40; at++) meter.rate(20_000, at * 1_000);
    expect(meter.rate(20_000, 40_000)).toBe(0);
  });

  test('of what happened between two reads there is the newest', async () => {
    const latest = new Latest<number>();
    latest.publish(1);
    const events = latest.read();
    expect((await events.next()).value).toBe(1);
    for (const event of [2, 3, 4]) latest.publish(event);
    expect((await events.next()).value).toBe(4);
    latest.end();
    expect((await events.next()).done).toBe(true);
  });

  test('events that nobody reads take no room', () => {
    const latest = new Latest<number>();
    for (let i = 0; i < 1_000; i++) latest.publish(i);
    latest.end();
    return expect(drainEvents(latest.read())).resolves.toEqual([999]);
  });
});

/** Gives some bytes, and then nothing more. */
const hanging = (): Readable => {
  const stream = new PassThrough();
  stream.write(bytes.subarray(0, 65_536));
  return stream;
};

const drainEvents = async <T>(events: AsyncIterable<T>): Promise<T[]> => {
  const out: T[] = [];
  for await (const event of events) out.push(event);
  return out;
};

const drain = (events: AsyncIterable<UploadProgress>): Promise<UploadProgress[]> => drainEvents(events);
