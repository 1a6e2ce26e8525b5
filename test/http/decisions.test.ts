import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import {
  ask,
  chunked,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  open,
  part,
  query,
  send,
  state,
  untilStored,
} from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

// What the proposal leaves open, and what was decided: 1 to 7.

const whole = content(100);
const identify = (req: { url?: string | undefined }) => /^\/named\/(\w+)$/.exec(req.url ?? '')?.[1];

describe.each(storeKinds)('decisions (%s)', (kind) => {
  test('D1 Range has its unit by default, and none where the option says bare', async () => {
    const forms = [];
    for (const rangeForm of ['bytes', 'bare'] as const) {
      const service = await startService(kind, { rangeForm });
      const name = await handshake(service, 100);
      await send(service, name, whole, [0, 43]);
      forms.push((await send(service, name, whole, [50, 60])).headers.range);
    }
    expect(forms).toEqual(['bytes=0-42,50-59', '0-42,50-59']);
  });

  test.each([
    ['bytes 43-99/100', undefined],
    ['bytes 43-/100', undefined],
    ['bytes 43-*/100', undefined],
    ['bytes 43-/*', 10],
    ['bytes 43-*/*', 10],
    ['bytes=43-99/100', undefined],
    ['43-99/100', undefined],
    ['BYTES 43-99/100', undefined],
  ])('D2 "%s" is taken', async (range, chunk) => {
    const service = await startService(kind);
    const name = await handshake(service, '*');
    await send(service, name, whole, [0, 43], '*');
    const framing = chunk === undefined ? {} : { chunk };
    const headers = { 'Content-Range': range };
    expectProcessed(await ask(service, { ...name, headers, body: whole.subarray(43), ...framing }), whole);
  });

  test.each([
    ['bytes 0--1/0', undefined],
    ['bytes 0-*/0', undefined],
    ['bytes 0-*/0', 10],
    ['bytes 0-*/*', 10],
    ['bytes */0', undefined],
  ])('D2 "%s" ends an empty upload', async (range, chunk) => {
    const service = await startService(kind);
    const name = await handshake(service, '*');
    const framing = chunk === undefined ? {} : { chunk };
    const reply = await ask(service, { ...name, headers: { 'Content-Range': range }, body: '', ...framing });
    expectProcessed(reply, Buffer.alloc(0));
    expectProcessed(await query(service, name, 0), Buffer.alloc(0));
    expect(service.calls).toHaveLength(1);
  });

  test('D3 `a-*/*` completes at the clean end of its body, and at no other', async () => {
    const service = await startService(kind);
    const name = await handshake(service, '*');
    const headers = { 'Content-Range': 'bytes 0-*/*' };
    const client = await open(service, { ...name, headers, body: whole.subarray(0, 43) });
    await untilStored(service, name, 'bytes=0-42');
    client.finish();
    await client.closed;
    expect((await query(service, name)).headers.range).toBe('bytes=0-42');
    expect(service.calls).toEqual([]);
    const rest = {
      ...name,
      headers: { 'Content-Range': 'bytes 43-*/*' },
      body: whole.subarray(43),
      chunk: 5,
    };
    expectProcessed(await ask(service, rest), whole);
  });

  test('D3 `a-b/*` never completes', async () => {
    const service = await startService(kind);
    const name = await handshake(service, '*');
    expect((await send(service, name, whole, [0, 100], '*')).status).toBe(308);
    expect((await query(service, name)).headers.range).toBe('bytes=0-99');
    expect(service.calls).toEqual([]);
    expectProcessed(await query(service, name, 100), whole); // the length is all that was missing
  });

  test('D3 `/L` completes when exactly L bytes are stored', async () => {
    const service = await startService(kind);
    const name = await handshake(service, '*');
    expect((await send(service, name, whole, [1, 100], 100)).status).toBe(308);
    expectProcessed(await send(service, name, whole, [0, 1], 100), whole);
  });

  test.each([undefined, 7])('D3 no Content-Range is the whole content (chunk %s)', async (chunk) => {
    const service = await startService(kind);
    const name = await handshake(service, '*');
    const framing = chunk === undefined ? {} : { chunk };
    expectProcessed(await ask(service, { ...name, body: whole, ...framing }), whole);
  });

  test('D4 `bytes */*` queries a known upload and is the handshake at a start URL', async () => {
    const service = await startService(kind);
    const begun = await ask(service, { headers: { 'Content-Range': 'bytes */*' } });
    expect(begun.status).toBe(308);
    const name = { target: begun.headers.location ?? '', headers: {} };
    await send(service, name, whole, [0, 43], '*');
    expect(state(await query(service, name, '*'))).toMatchObject({ status: 308, range: 'bytes=0-42' });
  });

  test.each(['bytes */*', 'bytes */100'])(
    'D4 %s at a unique URL never seen is a 308 without Range',
    async (range) => {
      const service = await startService(kind, { identify });
      const reply = await ask(service, {
        method: 'PUT',
        target: '/named/a',
        headers: { 'Content-Range': range },
      });
      expect(state(reply)).toEqual({ status: 308, range: undefined, etag: undefined, location: undefined });
      expect(await service.ids()).toEqual([]);
    },
  );

  test('D4 `bytes */0` at a start URL creates and completes an empty upload', async () => {
    const service = await startService(kind);
    expectProcessed(await ask(service, { headers: { 'Content-Range': 'bytes */0' } }), Buffer.alloc(0));
    expect(service.calls).toHaveLength(1);
  });

  test('D5 an unknown session is 404, an unknown If-Match of ours 412', async () => {
    const service = await startService(kind);
    const unknown = 'AAAAAAAAAAAAAAAAAAAAAA';
    for (const token of [unknown, 'short', '', '%2e%2e%2f']) {
      const name = { target: `/upload?upload_id=${token}`, headers: {} };
      expectProblem(await query(service, name), 404, 'not_found');
      expectProblem(await send(service, name, whole), 404, 'not_found');
    }
    for (const token of [unknown, 'short']) {
      const name = { target: '/upload', headers: { 'If-Match': `"resumable-${token}"` } };
      expectProblem(await query(service, name), 412, 'unknown_operation');
      expectProblem(await send(service, name, whole), 412, 'unknown_operation');
    }
    expect(await service.ids()).toEqual([]);
  });

  test('D5 what has expired is 410 as long as its tombstone lasts, then 404', async () => {
    const service = await startService(kind, { expiresAfterMs: 0, tombstoneMs: 1 });
    const name = await handshake(service, 100);
    expectProblem(await query(service, name), 410, 'gone');
    expect(await service.listener.expire()).toEqual({ expired: 1, purged: 0, unanswered: 0 });
    expectProblem(await query(service, name), 410, 'gone');
    expectProblem(await send(service, name, whole), 410, 'gone');
    await vi.waitFor(async () =>
      expect(await service.listener.expire()).toEqual({ expired: 0, purged: 1, unanswered: 0 }),
    );
    expectProblem(await query(service, name), 404, 'not_found');
    expect(service.calls).toEqual([]);
  });

  test('D6 stored bytes win over repeated ones', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    const other = content(100, 2);
    await send(service, name, whole, [0, 43]);
    const expected = Buffer.concat([whole.subarray(0, 43), other.subarray(43)]);
    expectProcessed(await send(service, name, other), expected);
  });

  test('D6 a gap is stored', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    expect((await send(service, name, whole, [60, 100])).headers.range).toBe('bytes=60-99');
    expectProcessed(await send(service, name, whole, [0, 60]), whole);
  });

  test('D7 a range past the length is refused by its head, and changes nothing', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    await send(service, name, whole, [0, 43]);
    const before = await query(service, name);
    for (const range of ['bytes 90-109/100', 'bytes 90-109/*', 'bytes 100-119/*']) {
      const [first = 0, last = 0] = (/\d+-\d+/.exec(range)?.[0] ?? '').split('-').map(Number);
      const body = content(last - first + 1);
      expectProblem(
        await ask(service, { ...name, headers: { 'Content-Range': range }, body }),
        400,
        'range_past_length',
      );
    }
    expect(state(await query(service, name))).toEqual(state(before));
  });

  test('D7 of a body longer than its range nothing past the range is kept, and it waits for its clean end', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    const headers = { 'Content-Range': part(0, 43, 100), 'Transfer-Encoding': 'chunked' };
    const client = await open(service, { ...name, headers, body: whole.subarray(0, 60) });
    await untilStored(service, name, 'bytes=0-42');
    await client.write(chunked(whole.subarray(60), 40));
    expectProblem(await client.response(), 400, 'body_past_range');
    expect((await query(service, name)).headers.range).toBe('bytes=0-42');
    expectProcessed(await send(service, name, whole, [43, 100]), whole);
  });

  test('D7 a complete range in a body that goes on completes with the next query', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    const body = Buffer.concat([whole, content(50, 3)]);
    const reply = await ask(service, {
      ...name,
      headers: { 'Content-Range': 'bytes 0-99/100' },
      body,
      chunk: 30,
    });
    expectProblem(reply, 400, 'body_past_range');
    expect(service.calls).toEqual([]);
    expectProcessed(await query(service, name, 100), whole);
  });
});

test('D5 stored bytes that are lost are 410, never a silent restart', async () => {
  const service = await startService('fs');
  const name = await handshake(service, 100);
  await send(service, name, whole, [0, 43]);
  const [id = ''] = await service.ids();
  await rm(join(service.folder, 'store', 'uploads', id.slice(0, 2), id, 'content'));
  expectProblem(await query(service, name), 410, 'gone');
  expectProblem(await send(service, name, whole), 410, 'gone');
  expect(service.calls).toEqual([]);
});
