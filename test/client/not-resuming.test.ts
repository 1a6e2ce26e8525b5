import { describe, expect, test } from 'vitest';
import { type UploadOptions, upload } from '../../src/client/index.ts';
import { gate } from '../support/gate.ts';
import { answer, cut, done, failure, ranges, scripted } from '../support/scripted-server.ts';
import { digestHandler, startService } from '../support/service.ts';

const content = Buffer.from('0123456789');
const direct: UploadOptions = {
  handshake: false,
  retry: { minMs: 1, maxMs: 5, maxCount: 5 },
};

describe('a server that knows nothing of ranges and takes every request for all there is', () => {
  test('is sent all again when its question was taken for an empty upload', async () => {
    const { url, seen } = await scripted(cut(3), answer(200), done);
    const { status } = await upload(url, content, direct).result;
    expect(status).toBe(201);
    expect(ranges(seen)).toEqual([undefined, 'bytes */10', undefined]);
    expect(String(seen[2]?.body)).toBe('0123456789');
  });

  test('… a stream too, of which all is still there', async () => {
    const stream = (async function* () {
      yield content;
    })();
    const { url, seen } = await scripted(cut(3), answer(200), done);
    expect((await upload(url, stream, direct).result).status).toBe(201);
    expect(ranges(seen)).toEqual(['bytes 0-9/10', 'bytes */10', 'bytes 0-9/10']);
  });

  test('… but not for ever', async () => {
    const { url, seen } = await scripted(
      ...Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? cut(3) : answer(200))),
    );
    expect((await failure(upload(url, content, direct).result)).code).toBe('interrupted');
    expect(seen.length).toBeLessThan(10);
  });

  test('is sent all in one request where several were wanted at once', async () => {
    const { url, seen } = await scripted(answer(200), done);
    const { status } = await upload(url, content, { ...direct, parallel: 4 }).result;
    expect(status).toBe(201);
    expect(ranges(seen)).toEqual(['bytes */10', undefined]);
    expect(String(seen[1]?.body)).toBe('0123456789');
  });

  test('is not believed that a part was the whole', async () => {
    const { url, seen } = await scripted(done);
    const error = await failure(upload(url, content, { ...direct, maxRequestBytes: 4 }).result);
    expect(error).toMatchObject({ code: 'unexpected_response', status: 201 });
    expect(error.message).toMatch(/took a part for a complete request/);
    expect(ranges(seen)).toEqual(['bytes 0-3/10']);
  });

  test('is believed where it was sent everything', async () => {
    const stream = (async function* () {
      yield content;
    })();
    const { url, seen } = await scripted(done);
    expect((await upload(url, stream, direct).result).status).toBe(201);
    expect(ranges(seen)).toEqual(['bytes 0-9/10']);
  });
});

describe('a server that resumes is believed whatever it answers', () => {
  test('once it has spoken of ranges', async () => {
    const { url } = await scripted(cut(3), answer(308, { Range: '0-2' }), cut(2), done);
    expect((await upload(url, content, direct).result).status).toBe(201);
  });

  test('… be it to another process', async () => {
    const { url } = await scripted(answer(308, { Range: '0-3' }), cut(2), done);
    const parts = { ...direct, maxRequestBytes: 4 };
    const first = upload(url, content, { ...parts, retry: { maxCount: 0 } });
    await failure(first.result);
    const state = JSON.parse(JSON.stringify(first.state()));
    expect((await upload(url, content, { ...parts, state }).result).status).toBe(201);
  });

  test('… or has asked for patience: nothing is sent again', async () => {
    const asked = gate();
    const service = await startService(
      'memory',
      { identify: (req) => req.url?.slice(1), completeWaitMs: 30 },
      async (req, res) => {
        await asked.opened;
        await digestHandler(req, res);
      },
    );
    const url = `http://127.0.0.1:${service.port}/film`;
    const bytes = Buffer.alloc(3_000_000, 7);
    const up = upload(url, bytes, { ...direct, retry: { minMs: 1, maxMs: 5, maxCount: 100 } });
    for await (const { state } of up) if (state === 'reconnecting') break; // the server has asked for it
    setImmediate(asked.open);
    const { status, attempts, bytesResent } = await up.result;
    expect([status, bytesResent]).toEqual([201, 0]);
    expect(attempts).toBeGreaterThan(1);
  });
});
