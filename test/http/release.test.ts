import { readdir } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { RawClient } from '../support/raw-client.ts';
import {
  ask,
  content,
  encode,
  handshake,
  type Name,
  open,
  query,
  send,
  untilStored,
} from '../support/requests.ts';
import { type Options, type Service, startService, storeKinds } from '../support/service.ts';

const whole = content(1_000_000);
const half = whole.subarray(0, 500_000);
const nothing = { heldBytes: 0, liveUploads: 0, completions: 0 };

/** Descriptors of this process: files, and both ends of every connection. */
const descriptors = async (): Promise<number> => (await readdir('/proc/self/fd')).length;

/** Sends the first half of a body of unknown end, and waits until it is stored. */
const begun = async (service: Service, name: Name): Promise<RawClient> => {
  const client = await open(service, {
    ...name,
    headers: { ...name.headers, 'Content-Range': 'bytes 0-999999/1000000' },
    length: 1_000_000,
    body: half,
  });
  await untilStored(service, name, 'bytes=0-499999');
  return client;
};

const ends: [string, (service: Service, name: Name) => Promise<void>, Options?][] = [
  ['a complete upload', async (service, name) => void (await send(service, name, whole))],
  ['a complete upload in one request', async (service) => void (await ask(service, { body: whole }))],
  ['a small upload in one request', async (service) => void (await ask(service, { body: 'small' }))],
  [
    'an empty upload',
    async (service) => void (await ask(service, { headers: { 'Content-Range': 'bytes */0' } })),
  ],
  [
    'a replay with its body',
    async (service, name) => {
      await send(service, name, whole);
      await send(service, name, whole);
    },
  ],
  ['RST in the middle of a body', async (service, name) => (await begun(service, name)).reset()],
  [
    'FIN in the middle of a body',
    async (service, name) => {
      const client = await begun(service, name);
      client.finish();
      await client.closed;
    },
  ],
  [
    'RST in the middle of a chunked body',
    async (service, name) => {
      const client = await open(service, {
        ...name,
        headers: { 'Content-Range': 'bytes 0-*/*' },
        body: half,
      });
      await untilStored(service, name, 'bytes=0-499999');
      client.reset();
    },
  ],
  [
    'RST of an upload nobody can resume',
    async (service) => {
      const client = await open(service, { length: 1_000_000, body: half });
      await expect.poll(() => service.listener.usage().liveUploads).toBe(1);
      client.reset();
    },
  ],
  [
    'RST of an upload that is told of by 103',
    async (service) => {
      const client = await open(service, {
        length: 1_000_000,
        headers: { Prefer: 'checkpoint' },
        body: half,
      });
      await client.nextInterim();
      client.reset();
    },
  ],
  [
    'RST right behind the head',
    async (service, name) => {
      const client = await open(service, { ...name, length: 1_000_000 });
      client.reset();
    },
  ],
  [
    'RST in the middle of the head',
    async (service) => {
      const client = await RawClient.connect(service.port);
      await client.write(encode({ body: whole }).subarray(0, 20));
      client.reset();
    },
  ],
  [
    '400 by the head',
    async (service, name) => {
      await ask(service, { ...name, headers: { 'Content-Range': 'bytes 0-1/3' }, body: whole });
    },
  ],
  [
    '400 while the body is read',
    async (service, name) => {
      const headers = { 'Content-Range': 'bytes 0-499999/1000000' };
      await ask(service, { ...name, headers, body: whole, chunk: 10_000 });
    },
  ],
  [
    '413 by the head',
    async (service) => void (await ask(service, { body: content(1_000_001) })),
    { maxLength: 1_000_000 },
  ],
  [
    '413 while the body is read',
    async (service) => void (await ask(service, { body: content(1_500_000), chunk: 60_000 })),
    { maxLength: 1_000_000 },
  ],
  [
    'a request that a newer one ended',
    async (service, name) => {
      const older = await begun(service, name);
      await send(service, name, whole);
      await older.closed;
    },
  ],
  [
    'silence',
    async (service, name) => {
      const client = await open(service, {
        ...name,
        headers: { 'Content-Range': 'bytes 0-999999/1000000' },
        length: 1_000_000,
        body: half,
      });
      await client.closed;
    },
    { idleTimeoutMs: 100 },
  ],
  [
    'DELETE while the body is coming',
    async (service, name) => {
      const client = await begun(service, name);
      await ask(service, { ...name, method: 'DELETE' });
      await client.response();
      await client.close();
    },
  ],
  [
    'a query',
    async (service, name) => {
      await send(service, name, whole, [0, 10]);
      await query(service, name);
    },
  ],
];

describe.each(storeKinds)('nothing is left at work (%s)', (kind) => {
  test.each(ends)('after %s', async (_what, end, options = {}) => {
    const service = await startService(kind, options);
    await ask(service, { body: 'the first use of everything' });
    await ask(service, { method: 'GET' });
    const name = await handshake(service, 1_000_000);
    await expect.poll(() => service.listener.usage()).toEqual(nothing);
    // Connections of before are gone: `ask` closed its own ends.
    await expect.poll(() => connections(service)).toBe(0);
    const before = await descriptors();

    await end(service, name);

    await expect.poll(() => service.listener.usage(), { timeout: 10_000 }).toEqual(nothing);
    await expect.poll(() => connections(service), { timeout: 10_000 }).toBe(0);
    await expect.poll(descriptors, { timeout: 10_000 }).toBe(before);
  });

  test.each(['throws', 'reads half of its body', 'reads nothing'])(
    'after a handler that %s',
    async (what) => {
      const service = await startService(kind, {}, async (req, res) => {
        if (what === 'reads half of its body') for await (const _ of req) break;
        if (what === 'throws') {
          req.resume();
          throw new Error('the handler');
        }
        if (!res.headersSent) res.end();
      });
      await ask(service, { body: 'the first use of everything' });
      await expect.poll(() => connections(service)).toBe(0);
      const before = await descriptors();
      await ask(service, { body: whole });
      await expect.poll(() => service.listener.usage()).toEqual(nothing);
      await expect.poll(descriptors, { timeout: 10_000 }).toBe(before);
    },
  );

  test('after many at once, of which half are cut', async () => {
    const service = await startService(kind);
    await ask(service, { body: 'the first use of everything' });
    const names = await Promise.all(Array.from({ length: 20 }, () => handshake(service, 1_000_000)));
    await expect.poll(() => connections(service)).toBe(0);
    const before = await descriptors();
    await Promise.all(
      names.map(async (name, index) => {
        if (index % 2 === 0) return send(service, name, whole);
        return (await begun(service, name)).reset();
      }),
    );
    await expect.poll(() => service.listener.usage(), { timeout: 10_000 }).toEqual(nothing);
    await expect.poll(descriptors, { timeout: 10_000 }).toBe(before);
  });
});

const connections = (service: Service): Promise<number> =>
  new Promise((resolve, reject) => {
    service.server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
