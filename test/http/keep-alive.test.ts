import { describe, expect, test, vi } from 'vitest';
import { memoryStore } from '../../stores/memory.ts';
import { faultyStore } from '../support/faulty-store.ts';
import { gate } from '../support/gate.ts';
import { turn } from '../support/model.ts';
import { RawClient } from '../support/raw-client.ts';
import { content, encode, expectProblem, expectProcessed, part, type Request } from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

const whole = content(1000);
const identify = (req: { url?: string | undefined }) => /^\/named\/(\w+)$/.exec(req.url ?? '')?.[1];

describe.each(storeKinds)('one connection (%s)', (kind) => {
  test('carries one upload after another', async () => {
    const service = await startService(kind);
    const client = await RawClient.connect(service.port);
    const exchange = async (request: Request) => {
      await client.write(encode(request));
      return client.response();
    };
    for (let i = 0; i < 5; i++) {
      const bytes = content(1000, i + 1);
      const begun = await exchange({ headers: { 'Content-Range': 'bytes */1000' } });
      const target = begun.headers.location ?? '';
      const headers = (start: number, end: number) => ({ 'Content-Range': part(start, end, 1000) });
      const first = await exchange({ target, headers: headers(0, 400), body: bytes.subarray(0, 400) });
      expect(first.headers.range).toBe('bytes=0-399');
      expectProcessed(
        await exchange({ target, headers: headers(400, 1000), body: bytes.subarray(400) }),
        bytes,
      );
      expectProcessed(await exchange({ body: bytes, chunk: 100 }), bytes);
      const passed = await exchange({ method: 'GET' });
      expect(passed.status).toBe(201);
    }
  });

  test('goes on after a refusal without a body', async () => {
    const service = await startService(kind);
    const client = await RawClient.connect(service.port);
    await client.write(encode({ headers: { 'Content-Range': 'rubbish' } }));
    expectProblem(await client.response(), 400, 'malformed_content_range');
    await client.write(encode({ body: whole }));
    expectProcessed(await client.response(), whole);
  });

  test('a body that follows the head in one write is kept whole', async () => {
    const service = await startService(kind);
    const client = await RawClient.connect(service.port);
    await client.write(Buffer.concat([encode({ body: whole }), encode({ body: content(7) })]));
    expectProcessed(await client.response(), whole);
    expectProcessed(await client.response(), content(7));
  });

  test('pipelined requests are answered in order', async () => {
    const service = await startService(kind, { identify });
    const client = await RawClient.connect(service.port);
    const put = (name: string, bytes: Buffer, start = 0, end = bytes.byteLength): Request => ({
      method: 'PUT',
      target: `/named/${name}`,
      headers: { 'Content-Range': part(start, end, bytes.byteLength) },
      body: bytes.subarray(start, end),
    });
    const [a, b, c] = [content(1000, 1), content(2000, 2), content(3000, 3)];
    const requests: Request[] = [
      put('a', a, 0, 500),
      put('b', b),
      { headers: { 'Content-Range': 'rubbish' } },
      put('c', c, 1000, 3000),
      { method: 'PUT', target: '/named/e', headers: { 'Content-Range': 'bytes */2000' } },
      put('d', a),
    ];
    await client.write(Buffer.concat(requests.map(encode)));
    const replies = [];
    for (const _ of requests) replies.push(await client.response());
    expect(replies.map(({ status }) => status)).toEqual([308, 201, 400, 308, 308, 201]);
    expect(replies[0]?.headers.range).toBe('bytes=0-499');
    expect(replies[3]?.headers.range).toBe('bytes=1000-2999');
    for (const [index, bytes] of [
      [1, b],
      [5, a],
    ] as const) {
      expectProcessed(replies[index] as NonNullable<(typeof replies)[number]>, bytes);
    }
  });

  test('pipelined parts of one upload make the whole', async () => {
    const service = await startService(kind, { identify });
    const client = await RawClient.connect(service.port);
    const requests = Array.from({ length: 10 }, (_, i) =>
      encode({
        method: 'PUT',
        target: '/named/a',
        headers: { 'Content-Range': part(i * 100, i * 100 + 100, 1000) },
        body: whole.subarray(i * 100, i * 100 + 100),
      }),
    );
    await client.write(
      Buffer.concat([
        ...requests,
        encode({ target: '/named/a', headers: { 'Content-Range': 'bytes */1000' } }),
      ]),
    );
    const replies = [];
    for (let i = 0; i < 11; i++) replies.push(await client.response());
    for (const { status } of replies) expect([201, 308]).toContain(status);
    await client.write(encode({ target: '/named/a', headers: { 'Content-Range': 'bytes */1000' } }));
    expectProcessed(await client.response(), whole);
    expect(service.calls).toHaveLength(1);
  });

  test('a whole body and its repetition, pipelined over a store that takes its time', async () => {
    const opening = gate();
    const store = faultyStore(memoryStore(), ({ op, when }) =>
      op === 'load' && when === 'after' ? opening.opened : undefined,
    );
    const service = await startService(kind, { identify, store });
    const client = await RawClient.connect(service.port);
    const request = encode({ method: 'PUT', target: '/named/a', body: whole });
    const requests = vi.fn();
    service.server.on('request', requests);
    await client.write(Buffer.concat([request, request]));
    await expect.poll(() => requests.mock.calls.length).toBe(2);
    await turn();
    opening.open();
    expectProcessed(await client.response(), whole);
    expectProcessed(await client.response(), whole);
    expect(service.calls).toHaveLength(1);
  });

  test.each([undefined, 100])('a whole body and its repetition, pipelined (chunk %s)', async (chunk) => {
    const service = await startService(kind, { identify });
    const client = await RawClient.connect(service.port);
    const framing = chunk === undefined ? {} : { chunk };
    const request = encode({ method: 'PUT', target: '/named/a', body: whole, ...framing });
    await client.write(Buffer.concat([request, request]));
    expectProcessed(await client.response(), whole);
    expectProcessed(await client.response(), whole);
    expect(service.calls).toHaveLength(1);
  });
});
