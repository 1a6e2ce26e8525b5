import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { RawClient } from '../support/raw-client.ts';
import {
  ask,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  open,
  query,
  type Request,
  send,
  state,
} from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

const whole = content(100);
const rest = whole.subarray(43);
const ranged = (range: string, more: Request = {}): Request => ({
  ...more,
  headers: { ...more.headers, 'Content-Range': range },
});

describe.each(storeKinds)('bad input (%s)', (kind) => {
  // Each at the session URL of an upload of 100 bytes of which 43 are stored.
  test.each<[string, number, string, Request]>([
    ['another unit', 400, 'malformed_content_range', ranged('lines 43-99/100', { body: rest })],
    ['no numbers', 400, 'malformed_content_range', ranged('bytes a-b/c', { body: rest })],
    ['no length', 400, 'malformed_content_range', ranged('bytes 43-99', { body: rest })],
    ['nothing', 400, 'malformed_content_range', ranged('', { body: rest })],
    ['backwards', 400, 'malformed_content_range', ranged('bytes 99-43/100', { body: rest })],
    ['negative', 400, 'malformed_content_range', ranged('bytes -1-99/100', { body: rest })],
    ['two ranges', 400, 'malformed_content_range', ranged('bytes 43-50,60-99/100', { body: rest })],
    ['2^53', 400, 'malformed_content_range', ranged('bytes 43-99/9007199254740992', { body: rest })],
    ['17 digits', 400, 'malformed_content_range', ranged('bytes */99999999999999999')],
    ['a suffix', 400, 'malformed_content_range', ranged('bytes 43-99/100 or so', { body: rest })],
    ['an empty range elsewhere', 400, 'malformed_content_range', ranged('bytes 1--1/0', { body: '' })],
    ['a query with a body', 400, 'malformed_content_range', ranged('bytes */100', { body: rest })],
    [
      'Content-Length below the range',
      400,
      'range_length_mismatch',
      ranged('bytes 43-98/100', { body: rest }),
    ],
    [
      'Content-Length above the range',
      400,
      'range_length_mismatch',
      ranged('bytes 42-99/100', { body: rest }),
    ],
    ['a range without a body', 400, 'range_length_mismatch', ranged('bytes 43-99/100')],
    ['a range past its length', 400, 'range_past_length', ranged('bytes 90-146/100', { body: rest })],
    [
      'a range past the length stated before',
      400,
      'range_past_length',
      ranged('bytes 90-146/*', { body: rest }),
    ],
    ['a start past its length', 400, 'range_past_length', ranged('bytes 101-*/100', { body: rest })],
    ['a length implied past the length', 400, 'range_past_length', ranged('bytes 50-*/100', { body: rest })],
    ['another length in a part', 400, 'length_changed', ranged('bytes 43-99/101', { body: rest })],
    ['another length in a query', 400, 'length_changed', ranged('bytes */99')],
    ['a length below what is stored', 400, 'length_changed', ranged('bytes */42')],
    ['a length of nothing', 400, 'length_changed', ranged('bytes 0--1/0', { body: '' })],
    ['another length as a whole body', 400, 'length_changed', { body: rest }],
    [
      'a digest of the wrong size',
      400,
      'malformed_digest',
      { headers: { 'Repr-Digest': 'sha-256=:AA==:' }, body: whole },
    ],
    ['too large', 413, 'too_large', ranged('bytes 43-99/100001', { body: rest })],
  ])('%s is %i %s and changes nothing', async (_what, status, code, request) => {
    const service = await startService(kind, { maxLength: 100_000 });
    const name = await handshake(service, 100);
    await send(service, name, whole, [0, 43]);
    const before = await query(service, name);
    expect(before.headers.range).toBe('bytes=0-42');
    const reply = await ask(service, { ...request, ...name, headers: { ...request.headers } });
    expectProblem(reply, status, code);
    expect(reply.headers['cache-control']).toBe('no-store');
    expect(state(await query(service, name))).toEqual(state(before));
    expect(service.calls).toEqual([]);
    expect(service.errors).toEqual([]);
    expectProcessed(await send(service, name, whole, [43, 100]), whole);
  });

  test('Content-Range twice is 400', async () => {
    const service = await startService(kind);
    const client = await RawClient.connect(service.port);
    const head = 'POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n';
    await client.write(`${head}Content-Range: bytes */100\r\nContent-Range: bytes */200\r\n\r\n`);
    const reply = await client.response();
    // Node keeps the first of some fields and joins others; a list is no Content-Range.
    expectProblem(reply, 400, 'malformed_content_range');
    expect(await service.ids()).toEqual([]);
  });

  test('bad input at a start URL makes no upload', async () => {
    const service = await startService(kind);
    const requests = [ranged('bytes 0-1/x', { body: 'ab' }), ranged('bytes 0-5/10', { body: 'ab' })];
    for (const request of requests) expect((await ask(service, request)).status).toBe(400);
    expect(await service.ids()).toEqual([]);
  });

  test('a name the application refuses is 400', async () => {
    const { UploadError } = await import('../../src/index.ts');
    const service = await startService(kind, {
      identify: () => {
        throw new UploadError('malformed_name', 'not such a name');
      },
    });
    expectProblem(await ask(service, { body: whole }), 400, 'malformed_name');
    expect(service.calls).toEqual([]);
  });

  test('an error of the application in `identify` is a bare 500', async () => {
    const service = await startService(kind, {
      identify: () => {
        throw new Error('the password is swordfish');
      },
    });
    const reply = await ask(service, { body: whole });
    expect(reply.status).toBe(500);
    expect(reply.body.toString()).not.toContain('swordfish');
    expect(service.errors).toHaveLength(1);
  });

  test('an error of the application in `origin` is one too, and ends nothing else', async () => {
    const service = await startService(kind, {
      origin: () => {
        throw new Error('the password is swordfish');
      },
    });
    const begun = await ask(service, { headers: { 'Content-Range': 'bytes */1000' } });
    expect([begun.status, begun.body.toString().includes('swordfish')]).toEqual([500, false]);
    expectProblem(
      await ask(service, { headers: { 'Content-Range': 'rubbish' } }),
      400,
      'malformed_content_range',
    );
    expectProcessed(await ask(service, { body: whole }), whole);
    expect(service.errors).toHaveLength(1);
  });

  test('an `onError` that fails itself, at once or later, is told to the console and ends nothing', async () => {
    const said = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    onTestFinished(() => said.mockRestore());
    const failure = new Error('nobody listens');
    const fail = (): never => {
      throw failure;
    };
    for (const onError of [fail, async () => fail()]) {
      const service = await startService(kind, { identify: fail, onError });
      expect((await ask(service, { body: whole })).status).toBe(500);
      expect((await ask(service, { body: whole })).status).toBe(500);
    }
    expect(said.mock.calls).toEqual(Array(4).fill([failure]));
  });

  test('too large is 413 before the body is sent, where the client waits for 100', async () => {
    const service = await startService(kind, { maxLength: 1000 });
    const client = await open(service, { headers: { Expect: '100-continue' }, length: 8 * 1024 * 1024 });
    expectProblem(await client.response(), 413, 'too_large');
    expect(client.interim).toEqual([]);
    await client.closed;
    expect(await service.ids()).toEqual([]);
  });

  test('what is wanted is answered with 100 (Continue) first', async () => {
    const service = await startService(kind, { maxLength: 1000 });
    const client = await open(service, { headers: { Expect: '100-continue' }, length: 100 });
    expect((await client.nextInterim()).status).toBe(100);
    await client.write(whole);
    expectProcessed(await client.response(), whole);
  });

  test('a request that only passes through gets its 100 too', async () => {
    const service = await startService(kind, { isUpload: () => false });
    const client = await open(service, { headers: { Expect: '100-continue' }, length: 100 });
    expect((await client.nextInterim()).status).toBe(100);
    await client.write(whole);
    expectProcessed(await client.response(), whole);
  });

  test('of a plain body of 8 MiB that is too large the sender still reads the 413', async () => {
    const service = await startService(kind, { maxLength: 1000 });
    const reply = await ask(service, { body: content(8 * 1024 * 1024) });
    expectProblem(reply, 413, 'too_large');
    expect(reply.headers.connection).toBe('close');
    expect(await service.ids()).toEqual([]);
  });

  test('a chunked body that grows too large is 413, and nothing of it stays', async () => {
    const service = await startService(kind, { maxLength: 1000 });
    expectProblem(await ask(service, { body: content(100_000), chunk: 900 }), 413, 'too_large');
    await expect.poll(() => service.ids()).toEqual([]);
    expect(service.calls).toEqual([]);
  });

  test('a body beyond drainBytes is not read to its end', async () => {
    const service = await startService(kind, { maxLength: 1000, drainBytes: 100_000 });
    const client = await open(service, { length: 1e9 });
    expectProblem(await client.response(), 413, 'too_large');
    const block = content(50_000);
    await expect(
      (async () => {
        for (let sent = 0; sent < 1e9; sent += block.byteLength) await client.write(block);
      })(),
    ).rejects.toThrow();
    await client.closed;
  });
});
