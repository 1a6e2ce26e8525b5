import { once } from 'node:events';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { setImmediate as tick } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type Cut, cuttingProxy } from '../../bench/lib/cutting-proxy.ts';
import { openStream } from '../../src/client/content.ts';
import { type UploadOptions, type UploadSource, upload } from '../../src/client/index.ts';
import { ReplaySource } from '../../src/client/replay.ts';
import { content, sha256 } from '../support/requests.ts';
import {
  afterwards,
  answer,
  done,
  failure,
  named,
  type Reply,
  ranges,
  scripted,
} from '../support/scripted-server.ts';
import { startService } from '../support/service.ts';

const quick: UploadOptions = { retry: { minMs: 2, maxMs: 10 }, stallTimeoutMs: 5_000 };
const bytes = content(1_500_000);
const webStream = (parts: readonly Uint8Array[]): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  });
const pieces = (size: number): Buffer[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));

const folder = async (): Promise<string> => {
  const path = await mkdtemp(join(tmpdir(), 'resumable-client-'));
  afterwards(() => rm(path, { recursive: true, force: true }));
  return path;
};

describe('every kind of source arrives as it is, through cuts', () => {
  const file = async (part: Uint8Array): Promise<string> => {
    const path = join(await folder(), 'part');
    await writeFile(path, part);
    return path;
  };
  const view = new Uint8Array(bytes);
  const third = Math.floor(bytes.length / 3);
  const kinds: [string, () => UploadSource | Promise<UploadSource>][] = [
    ['a path', () => file(bytes)],
    ['a Buffer', () => bytes],
    ['an ArrayBuffer', () => view.buffer],
    ['a Blob', () => new Blob([view])],
    ['a File', () => new File([view], 'film.mp4')],
    ['a Readable', () => Readable.from(pieces(10_000))],
    [
      'a Readable of single bytes',
      () => Readable.from(Array.from(bytes.subarray(0, 3_000), (byte) => Buffer.of(byte))),
    ],
    ['a ReadableStream', () => webStream(pieces(100_000))],
    [
      'an array of a path, a Buffer and a Blob',
      async () => [
        await file(bytes.subarray(0, third)),
        bytes.subarray(third, 2 * third),
        new Blob([view.subarray(2 * third)]),
      ],
    ],
    [
      'an array with a stream in it',
      async () => [
        bytes.subarray(0, third),
        Readable.from([bytes.subarray(third, 2 * third)]),
        await file(bytes.subarray(2 * third)),
      ],
    ],
    ['an array of nothing but one part', () => [bytes]],
  ];
  test.each(kinds)('%s', async (name, make) => {
    const service = await startService('memory');
    const cuts: Cut[] = [
      { afterBytes: 100_000, means: 'rst' },
      { afterBytes: 700_000, means: 'fin' },
    ];
    const proxy = await cuttingProxy({ target: service.port, cuts });
    afterwards(() => proxy.close());
    const url = `http://127.0.0.1:${proxy.port}/upload`;
    const { status, body } = await upload(url, await make(), { ...quick, replayBufferBytes: 300_000 }).result;
    expect(status).toBe(201);
    const part = name.includes('single') ? bytes.subarray(0, 3_000) : bytes;
    expect(JSON.parse(String(body))).toEqual({ size: part.length, sha256: sha256(part) });
    if (part === bytes) expect(proxy.stats.cuts).toBe(2);
    expect(service.calls).toHaveLength(1);
  });

  test('an empty array, an empty stream and an array of empty parts are empty uploads', async () => {
    const service = await startService('memory');
    for (const source of [[], Readable.from([]), [Buffer.alloc(0), Readable.from([])], webStream([])]) {
      const url = `http://127.0.0.1:${service.port}/upload`;
      const { body } = await upload(url, source as UploadSource, quick).result;
      expect(JSON.parse(String(body))).toEqual({ size: 0, sha256: sha256(Buffer.alloc(0)) });
    }
  });
});

const readUpTo = (source: ReplaySource, end: number): Promise<void> =>
  new Promise((resolve) => {
    source.onChange = () => {
      if (source.end === end) resolve();
    };
    source.onChange();
  });

describe('a stream', () => {
  test('is sent in parts of unknown length, and the last one says how long it was', async () => {
    const { url, seen } = await scripted(
      named,
      answer(308, { Range: '0-131071' }),
      answer(308, { Range: '0-262143' }),
      done,
    );
    const source = Readable.from([bytes.subarray(0, 262_144), bytes.subarray(262_144, 300_000)]);
    await upload(url, source, { ...quick, replayBufferBytes: 262_144 }).result;
    expect(ranges(seen)).toEqual([
      'bytes */*',
      'bytes 0-131071/*',
      expect.stringMatching(/^bytes 131072-262143\/(\*|300000)$/),
      'bytes 262144-299999/300000',
    ]);
    expect(sha256(Buffer.concat(seen.map(({ body }) => body)))).toBe(sha256(bytes.subarray(0, 300_000)));
  });

  test('of which all was sent before its end was seen is completed by a query', async () => {
    const service = await startService('memory');
    const source = new PassThrough();
    const url = `http://127.0.0.1:${service.port}/upload`;
    const up = upload(url, source, quick);
    source.write(bytes.subarray(0, 1000));
    for await (const { committed } of up) {
      if (committed === 1000) break;
    }
    source.end();
    expect(JSON.parse(String((await up.result).body))).toMatchObject({ size: 1000 });
  });

  test('waits while its buffer is full: no more than that is ever held', async () => {
    const source = new ReplaySource(openStream(Readable.from(pieces(50_000))), 262_144);
    afterwards(() => source.close());
    await readUpTo(source, 262_144);
    for (let i = 0; i < 10; i++) await tick();
    expect(source.end).toBe(262_144);
    source.release(100_000);
    await readUpTo(source, 362_144);
    for (let i = 0; i < 10; i++) await tick();
    expect(source.end).toBe(362_144);
    const kept: Uint8Array[] = [];
    for await (const chunk of source.chunks(100_000, 362_144)) kept.push(chunk);
    expect(sha256(Buffer.concat(kept))).toBe(sha256(bytes.subarray(100_000, 362_144)));
    await expect(source.chunks(65_000, 70_000).next()).rejects.toMatchObject({ code: 'not_supported' });
  });

  test('whose server loses what it had said to hold fails with the reason', async () => {
    const { url } = await scripted(
      named,
      answer(308, { Range: '0-131071' }),
      answer(308, { Range: '0-99' }),
      answer(308, { Range: '0-99' }),
      answer(308, { Range: '0-99' }),
    );
    const source = Readable.from(pieces(10_000));
    const error = await failure(upload(url, source, { ...quick, replayBufferBytes: 262_144 }).result);
    expect(error).toMatchObject({ code: 'not_supported', cause: { offset: 100 } });
    expect(source.destroyed).toBe(true);
  });

  test('that fails fails the upload, with its own error', async () => {
    const { url } = await scripted(named);
    const source = new PassThrough();
    const { result } = upload(url, source, quick);
    source.destroy(new RangeError('tape torn'));
    await expect(result).rejects.toThrow('tape torn');
  });

  test('that gives objects is refused', async () => {
    const { url } = await scripted(named);
    const { result } = upload(url, Readable.from([{ a: 1 }]) as never, quick);
    expect(await failure(result)).toMatchObject({ code: 'invalid_argument' });
  });

  test('that has nothing to give is let go of when its upload ends', async () => {
    const { url } = await scripted(named, answer(308));
    const hanging = new PassThrough();
    const abort = new AbortController();
    const up = upload(url, hanging, { ...quick, signal: abort.signal });
    for await (const { state } of up) if (state === 'connecting') break;
    const closed = once(hanging, 'close');
    abort.abort(new Error('enough'));
    await expect(up.result).rejects.toThrow('enough');
    await closed;
  });

  test('whose first part is missing from an array is refused, and the others are closed', async () => {
    const { url } = await scripted();
    const { result } = upload(url, [join(await folder(), 'no such file'), bytes], quick);
    expect(await result.catch((error: unknown) => error)).toMatchObject({ code: 'invalid_argument' });
  });
});

test('a file that is written in place during a request is not spliced together: its end is never sent', async () => {
  const path = join(await folder(), 'part');
  const size = 32 * 2 ** 20; // more than is on its way at any time
  await writeFile(path, Buffer.alloc(size));
  let arrived = 0;
  const slow = async (...[request, response]: Parameters<Reply>): Promise<void> => {
    await once(request, 'readable');
    const file = await open(path, 'r+');
    await file.write('another', size - 100);
    await file.close();
    for await (const chunk of request) arrived += (chunk as Buffer).length;
    response.end();
  };
  const { url } = await scripted(named, async (...exchange) => slow(...exchange).catch(() => undefined));
  expect((await failure(upload(url, path, quick).result)).code).toBe('digest_conflict');
  expect(arrived).toBeLessThan(size);
});
