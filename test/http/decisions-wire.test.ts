import { describe, expect, test } from 'vitest';
import { RawClient } from '../support/raw-client.ts';
import {
  ask,
  chunked,
  content,
  encode,
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

// What was decided, 8 to 14: entity tags, Location, 103, limits of clients, and how connections end.

const whole = content(100);

describe.each(storeKinds)('decisions on the wire (%s)', (kind) => {
  test.each(['"theirs"', '*', 'W/"resumable-AAAAAAAAAAAAAAAAAAAAAA"', 'not even a tag', '"a", "b"'])(
    'D8 the If-Match of the application is none of ours: %s',
    async (tag) => {
      const service = await startService(kind);
      expectProcessed(await ask(service, { headers: { 'If-Match': tag }, body: whole }), whole);
      expect(service.calls[0]?.headers['if-match']).toBe(tag);
    },
  );

  test('D8 our own entity tag is not shown to the application', async () => {
    const service = await startService(kind, { handshake: 'etag' });
    const name = await handshake(service, 100);
    expectProcessed(await send(service, name, whole), whole);
    expect(service.calls[0]?.headers).not.toHaveProperty('if-match');
  });

  test('D9 the bodiless handshake is answered with Location', async () => {
    const service = await startService(kind);
    const reply = await ask(service, { headers: { 'Content-Range': 'bytes */100' } });
    expect(reply.headers.location).toMatch(/^\/upload\?upload_id=[\w-]{22}$/);
    expect(reply.headers).not.toHaveProperty('etag');
  });

  test('D9 a 308 to a request with a body carries no Location', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    const replies = [
      await send(service, name, whole, [0, 10]),
      await ask(service, { headers: { 'Content-Range': part(0, 10, 100) }, body: whole.subarray(0, 10) }),
      await ask(service, {
        headers: { 'Content-Range': 'bytes 0-*/100' },
        body: whole.subarray(0, 10),
        chunk: 3,
      }),
    ];
    for (const reply of replies) {
      expect(reply.status).toBe(308);
      expect(reply.headers).not.toHaveProperty('location');
    }
  });

  test('D9 a 308 at the session URL carries no Location', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    const reply = await query(service, name, 100);
    expect(reply.status).toBe(308);
    expect(reply.headers).not.toHaveProperty('location');
  });

  test('D9 a client that follows 308 by itself ends at a 308 of the session URL', async () => {
    const service = await startService(kind);
    const url = `http://127.0.0.1:${service.port}/upload`;
    const response = await fetch(url, { method: 'POST', headers: { 'Content-Range': 'bytes */100' } });
    expect(response.status).toBe(308);
    expect(response.redirected).toBe(true);
    expect(response.headers.get('location')).toBeNull();
    const { pathname, search } = new URL(response.url);
    expectProcessed(await send(service, { target: `${pathname}${search}`, headers: {} }, whole), whole);
  });

  test('D9 a partial first body without identity gets an ETag, with which it goes on', async () => {
    const service = await startService(kind);
    const headers = { 'Content-Range': part(0, 43, 100) };
    const reply = await ask(service, { headers, body: whole.subarray(0, 43) });
    expect(reply.status).toBe(308);
    expect(reply.headers.range).toBe('bytes=0-42');
    const name = { target: '/upload', headers: { 'If-Match': reply.headers.etag ?? '' } };
    expect((await query(service, name)).headers.range).toBe('bytes=0-42');
    expectProcessed(await send(service, name, whole, [43, 100]), whole);
  });

  test("D9 a final 201 carries the resource's own Location", async () => {
    const service = await startService(kind, {}, (_req, res) => {
      res.writeHead(201, { Location: '/files/1' }).end();
    });
    const name = await handshake(service, 100);
    expect((await send(service, name, whole)).headers.location).toBe('/files/1');
    expect((await query(service, name)).headers.location).toBe('/files/1');
  });

  test('D11 every 308 forbids caching', async () => {
    const service = await startService(kind);
    const begun = await ask(service, { headers: { 'Content-Range': 'bytes */100' } });
    const name = { target: begun.headers.location ?? '', headers: {} };
    for (const reply of [begun, await query(service, name), await send(service, name, whole, [0, 10])]) {
      expect(reply.status).toBe(308);
      expect(reply.headers['cache-control']).toBe('no-store');
    }
  });

  test('D11 a 308 lists the lowest 64 ranges at most', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100 * 2);
    const long = content(200);
    for (let i = 99; i >= 30; i--) await send(service, name, long, [i * 2, i * 2 + 1]);
    const { range = '' } = (await query(service, name)).headers;
    const expected = Array.from({ length: 64 }, (_, i) => `${60 + i * 2}-${60 + i * 2}`);
    expect(range).toBe(`bytes=${expected.join(',')}`);
    expectProcessed(await send(service, name, long), long);
  });

  test('D12 an HTTP/1.0 client uploads, resumes and gets the answer again', async () => {
    const service = await startService(kind, { checkpoints: 'always' });
    const version = '1.0' as const;
    const begun = await ask(service, { version, headers: { 'Content-Range': 'bytes */100' } });
    const target = begun.headers.location ?? '';
    const client = await RawClient.connect(service.port);
    const headers = { 'Content-Range': part(0, 100, 100), 'Content-Length': '100' };
    await client.write(encode({ version, target, headers }));
    await client.write(whole.subarray(0, 43));
    await untilStored(service, { target, headers: {} }, 'bytes=0-42');
    client.reset();
    await client.closed;
    const resumed = await ask(service, {
      version,
      target,
      headers: { 'Content-Range': part(43, 100, 100) },
      body: whole.subarray(43),
    });
    expectProcessed(resumed, whole);
    const again = await ask(service, { version, target, headers: { 'Content-Range': 'bytes */100' } });
    expect(again.body).toEqual(resumed.body);
    expect([...client.interim, ...resumed.interim, ...again.interim]).toEqual([]);
  });

  test('D13 ranges may be sent in parallel', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    const replies = await Promise.all([0, 25, 50, 75].map((at) => send(service, name, whole, [at, at + 25])));
    expect(replies.some(({ status }) => status === 201)).toBe(true);
    expectProcessed(await query(service, name), whole);
    expect(service.calls).toHaveLength(1);
  });

  test.each(['reset', 'finish'] as const)(
    'D14 a body cut off (%s) is kept, never taken for whole',
    async (cut) => {
      const service = await startService(kind);
      for (const length of [100, undefined]) {
        const name = await handshake(service, '*');
        const framing = length === undefined ? {} : { length };
        // Chunked, without Content-Range: only the last chunk would say that this is all.
        const client = await open(service, { ...name, body: whole.subarray(0, 43), ...framing });
        await untilStored(service, name, 'bytes=0-42');
        client[cut]();
        await client.closed;
        expect((await query(service, name)).headers.range).toBe('bytes=0-42');
        expect(service.calls).toEqual([]);
      }
    },
  );

  test('D14 a chunked body cut before its last chunk line is not whole', async () => {
    const service = await startService(kind);
    const name = await handshake(service, '*');
    const client = await open(service, { ...name });
    await client.write(chunked(whole, 50, false));
    await client.write('0\r\n'); // all of the end but the empty line
    await untilStored(service, name, 'bytes=0-99');
    client.finish();
    await client.closed;
    expect((await query(service, name)).status).toBe(308);
    expect(service.calls).toEqual([]);
    expectProcessed(await query(service, name, 100), whole);
  });

  test('D10 103 is off unless asked for', async () => {
    const service = await startService(kind, { checkpointMs: 1, flushMs: 1, checkpointPushMs: 0 });
    const name = await handshake(service, 100);
    const headers = { 'Content-Range': part(0, 100, 100) };
    const client = await open(service, { ...name, headers, length: 100, body: whole.subarray(0, 43) });
    await untilStored(service, name, 'bytes=0-42');
    await client.write(whole.subarray(43));
    expectProcessed(await client.response(), whole);
    expect(client.interim).toEqual([]);
    expect(state(await query(service, name)).status).toBe(201);
  });
});
