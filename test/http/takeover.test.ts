import { describe, expect, test } from 'vitest';
import {
  content,
  expectProcessed,
  handshake,
  open,
  part,
  query,
  send,
  untilStored,
} from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

const whole = content(100_000);
const other = content(100_000, 2);

describe.each(storeKinds)('a newer request for the same bytes (%s)', (kind) => {
  const range = (start: number) => ({ 'Content-Range': part(start, 100_000, 100_000) });

  test('ends the hanging one, keeps all it delivered, and completes', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100_000);
    const hanging = await open(service, {
      ...name,
      headers: range(0),
      length: 100_000,
      body: whole.subarray(0, 40_000),
    });
    await untilStored(service, name, 'bytes=0-39999');
    const newer = await open(service, { ...name, headers: range(0), length: 100_000 });
    await hanging.closed;
    expect((await query(service, name)).headers.range).toBe('bytes=0-39999');
    await newer.write(other); // the repeated bytes are skipped, so the first ones stay
    expectProcessed(
      await newer.response(),
      Buffer.concat([whole.subarray(0, 40_000), other.subarray(40_000)]),
    );
    await expect(hanging.response()).rejects.toThrow('closed before a response');
    expect(service.errors).toEqual([]);
  });

  test('goes on from where the hanging one was', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100_000);
    const hanging = await open(service, {
      ...name,
      headers: range(0),
      length: 100_000,
      body: whole.subarray(0, 40_000),
    });
    await untilStored(service, name, 'bytes=0-39999');
    expectProcessed(await send(service, name, whole, [40_000, 100_000]), whole);
    await hanging.closed;
    expect(service.calls).toHaveLength(1);
  });

  test('leaves alone who brings other bytes', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100_000);
    const first = await open(service, {
      ...name,
      headers: { 'Content-Range': part(0, 50_000, 100_000) },
      length: 50_000,
      body: whole.subarray(0, 10_000),
    });
    await untilStored(service, name, 'bytes=0-9999');
    expect((await send(service, name, whole, [50_000, 100_000])).status).toBe(308);
    await first.write(whole.subarray(10_000, 50_000));
    expectProcessed(await first.response(), whole);
  });

  test('a query ends nobody', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100_000);
    const client = await open(service, { ...name, headers: range(0), length: 100_000 });
    for (let at = 0; at < 100_000; at += 20_000) {
      await client.write(whole.subarray(at, at + 20_000));
      if (at < 80_000) await untilStored(service, name, `bytes=0-${at + 19_999}`);
    }
    expectProcessed(await client.response(), whole);
  });

  test.each([100_000, undefined])(
    'the whole body again at a unique URL (Content-Length %s)',
    async (length) => {
      const service = await startService(kind, { identify: (req) => req.url });
      const name = { target: '/one', headers: {} };
      const framing = length === undefined ? {} : { length };
      const hanging = await open(service, {
        ...name,
        method: 'PUT',
        body: whole.subarray(0, 40_000),
        ...framing,
      });
      await untilStored(service, name, 'bytes=0-39999');
      const newer = await open(service, { ...name, method: 'PUT', length: 100_000 });
      await hanging.closed;
      await newer.write(other);
      expectProcessed(
        await newer.response(),
        Buffer.concat([whole.subarray(0, 40_000), other.subarray(40_000)]),
      );
      expect(service.calls).toHaveLength(1);
    },
  );

  test('ten of them, one after another, each bringing a little more', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100_000);
    const clients = [];
    for (let i = 0; i < 10; i++) {
      const end = (i + 1) * 5000;
      clients.push(
        await open(service, {
          ...name,
          headers: range(0),
          length: 100_000,
          body: (i % 2 === 0 ? whole : other).subarray(0, end),
        }),
      );
      await untilStored(service, name, `bytes=0-${end - 1}`);
    }
    const last = clients.pop();
    await Promise.all(clients.map(({ closed }) => closed));
    await last?.write(other.subarray(50_000));
    const expected = Buffer.from(other);
    for (let i = 0; i < 10; i += 2) whole.copy(expected, i * 5000, i * 5000, (i + 1) * 5000);
    expectProcessed(await query(service, name), expected);
    await last?.response();
    expect(service.calls).toHaveLength(1);
  });
});
