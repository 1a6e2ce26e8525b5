import { describe, expect, test } from 'vitest';
import {
  ask,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  part,
  query,
  send,
  state,
} from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

// What the proposal asks of a client, as far as a server must enforce or tolerate it.

const whole = content(100);

describe.each(storeKinds)('client rules (%s)', (kind) => {
  test('C1 a first request without Content-Range is the whole upload', async () => {
    const service = await startService(kind);
    expectProcessed(await ask(service, { body: whole }), whole);
  });

  test('C2 without Content-Range a request at the session URL is the whole content, not a part', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    await send(service, name, whole, [0, 43]);
    const before = await query(service, name);
    expectProblem(await ask(service, { ...name, body: whole.subarray(43) }), 400, 'length_changed');
    expect(state(await query(service, name))).toEqual(state(before));
    expectProcessed(await ask(service, { ...name, body: whole }), whole);
  });

  test.each(['bytes 43-/100', 'bytes 43-*/100'])('C3 the last position may be omitted: %s', async (range) => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    await send(service, name, whole, [0, 43]);
    const reply = await ask(service, {
      ...name,
      headers: { 'Content-Range': range },
      body: whole.subarray(43),
    });
    expectProcessed(reply, whole);
  });

  test('C3 the last position may be omitted from a chunked part', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    const sendChunked = (start: number, end: number) =>
      ask(service, {
        ...name,
        headers: { 'Content-Range': `bytes ${start}-*/100` },
        body: whole.subarray(start, end),
        chunk: 7,
      });
    expect((await sendChunked(0, 43)).headers.range).toBe('bytes=0-42');
    expectProcessed(await sendChunked(43, 100), whole);
  });

  test('C4 an unknown length ends with chunked coding', async () => {
    const service = await startService(kind);
    const name = await handshake(service, '*');
    await send(service, name, whole, [0, 43], '*');
    const reply = await ask(service, {
      ...name,
      headers: { 'Content-Range': 'bytes 43-*/*' },
      body: whole.subarray(43),
      chunk: 10,
    });
    expectProcessed(reply, whole);
  });

  test('C4 an unknown length ends with the part that states it', async () => {
    const service = await startService(kind);
    const name = await handshake(service, '*');
    expect((await send(service, name, whole, [0, 43], '*')).status).toBe(308);
    expect((await send(service, name, whole, [43, 80], '*')).status).toBe(308);
    expectProcessed(await send(service, name, whole, [80, 100], 100), whole);
  });

  test('C5 a length once stated does not change', async () => {
    const service = await startService(kind);
    const name = await handshake(service, '*');
    await send(service, name, whole, [0, 43], 100);
    const before = await query(service, name);
    expectProblem(await send(service, name, whole, [43, 100], 101), 400, 'length_changed');
    expectProblem(await query(service, name, 99), 400, 'length_changed');
    expect(state(await query(service, name))).toEqual(state(before));
    expectProcessed(await send(service, name, whole, [43, 100]), whole);
  });

  test('C6 a resume may begin before, at or behind the first missing byte', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    await send(service, name, whole, [0, 43]);
    expect((await send(service, name, whole, [20, 50])).headers.range).toBe('bytes=0-49');
    expect((await send(service, name, whole, [50, 60])).headers.range).toBe('bytes=0-59');
    expect((await send(service, name, whole, [80, 100])).headers.range).toBe('bytes=0-59,80-99');
    expectProcessed(await send(service, name, whole, [60, 80]), whole);
  });

  test('C7 the entity tag, not the URL, names the operation', async () => {
    const service = await startService(kind, { handshake: 'etag' });
    const [one, two] = [await handshake(service, 100), await handshake(service, 100)];
    await send(service, one, whole, [0, 43]);
    expect((await query(service, two)).headers).not.toHaveProperty('range');
    // Without it, the same URL is another operation.
    const other = await ask(service, {
      headers: { 'Content-Range': part(43, 100, 100) },
      body: whole.subarray(43),
    });
    expect(other.headers.range).toBe('bytes=43-99');
    expect(other.headers.etag).not.toBe(one.headers['If-Match']);
    expect((await query(service, one)).headers.range).toBe('bytes=0-42');
    expectProcessed(await send(service, one, whole, [43, 100]), whole);
  });

  test('C7 the entity tag may stand in a list', async () => {
    const service = await startService(kind, { handshake: 'etag' });
    const name = await handshake(service, 100);
    const listed = { ...name, headers: { 'If-Match': `"something", ${name.headers['If-Match']}` } };
    expectProcessed(await send(service, listed, whole), whole);
  });

  test('C8 only what is missing needs to be sent', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    await send(service, name, whole, [0, 20]);
    await send(service, name, whole, [40, 100]);
    expectProcessed(await send(service, name, whole, [20, 40]), whole);
  });

  test.each(['bytes */100', 'bytes */*'])('C10 a query has no body: %s', async (range) => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    await send(service, name, whole, [0, 43]);
    const before = await query(service, name);
    expect(before.headers.range).toBe('bytes=0-42');
    for (const chunk of [undefined, 10]) {
      const framing = chunk === undefined ? {} : { chunk };
      const reply = await ask(service, {
        ...name,
        headers: { 'Content-Range': range },
        body: whole.subarray(43),
        ...framing,
      });
      expectProblem(reply, 400, 'malformed_content_range');
    }
    expect(state(await query(service, name))).toEqual(state(before));
    expectProcessed(await send(service, name, whole, [43, 100]), whole);
  });

  test('C10 a query may come with any of the methods of an upload', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    for (const method of ['POST', 'PUT', 'PATCH']) {
      const reply = await ask(service, { ...name, method, headers: { 'Content-Range': 'bytes */100' } });
      expect(reply.status).toBe(308);
    }
  });

  test('C12 every request may be repeated without harm', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    for (const [start, end] of [
      [0, 43],
      [0, 43],
      [30, 60],
      [30, 60],
    ] as const) {
      await send(service, name, whole, [start, end]);
    }
    expect((await query(service, name)).headers.range).toBe('bytes=0-59');
    for (let i = 0; i < 3; i++) expectProcessed(await send(service, name, whole, [60, 100]), whole);
    expect(service.calls).toHaveLength(1);
  });
});
