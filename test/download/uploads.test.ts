import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { serve, type UploadEntityOptions, uploadEntity } from '../../src/download.ts';
import type { Handler, ResumableOptions } from '../../src/index.ts';
import { RawClient } from '../support/raw-client.ts';
import { ask, content, encode, handshake, query, send, sha256 } from '../support/requests.ts';
import { doubleWorld } from '../support/s3-world.ts';
import { type Options, type Service, type StoreKind, startService, storeKinds } from '../support/service.ts';
import { parseMultipart } from './multipart.ts';

const kinds = [...storeKinds, 's3'] as const;
const whole = content(300_000);
const errors: unknown[] = [];

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  expect(errors.splice(0)).toEqual([]);
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** Takes uploads, and gives them back under `/files/ID`. */
const start = async (
  kind: StoreKind | 's3',
  options: UploadEntityOptions = {},
  uploaded: Handler = async (req, res) => {
    const sum = createHash('sha256');
    for await (const chunk of req as AsyncIterable<Buffer>) sum.update(chunk);
    res.writeHead(201).end(`${req.upload?.id} ${sum.digest('hex')}`);
  },
  more: Options = {},
): Promise<Service> => {
  const world = kind === 's3' ? await doubleWorld() : undefined;
  if (world !== undefined) cleanups.push(() => world.dispose());
  const store = await world?.open();
  const service: Service = await startService(
    kind === 's3' ? 'memory' : kind,
    store === undefined ? more : { ...more, store },
    async (req, res) => {
      const id = /^\/files\/([\w-]+)$/.exec(req.url ?? '')?.[1];
      if (id === undefined) return uploaded(req, res);
      await serve(req, res, uploadEntity(service.store, id, options), {
        onError: (error) => errors.push(error),
      });
    },
  );
  // Its store is closed before its world is disposed of.
  cleanups.unshift(() => service.stop());
  return service;
};

const upload = async (
  service: Service,
  bytes: Uint8Array = whole,
  type = 'image/x-test',
): Promise<string> => {
  const reply = await ask(service, { headers: { 'Content-Type': type }, body: bytes });
  expect(reply.status).toBe(201);
  const [id = '', sum] = String(reply.body).split(' ');
  expect(sum).toBe(sha256(bytes));
  return `/files/${id}`;
};

const get = (target: string, headers: Record<string, string> = {}) => ({ method: 'GET', target, headers });

describe.each(kinds)('an upload in %s', (kind) => {
  test('is given back whole and in ranges', async () => {
    const service = await start(kind);
    const target = await upload(service);
    const all = await ask(service, get(target));
    expect(all.status).toBe(200);
    expect(all.headers).toMatchObject({
      'content-length': '300000',
      'content-type': 'image/x-test',
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringContaining('sandbox'),
      etag: `"${target.slice('/files/'.length)}"`,
    });
    expect(sha256(all.body)).toBe(sha256(whole));
    const slices: [string, number, number][] = [
      ['bytes=0-0', 0, 1],
      ['bytes=-1', 299_999, 300_000],
      ['bytes=4095-4096', 4095, 4097],
      ['bytes=100000-', 100_000, 300_000],
    ];
    for (const [Range, first, last] of slices) {
      const reply = await ask(service, get(target, { Range }));
      expect(reply.status).toBe(206);
      expect(sha256(reply.body)).toBe(sha256(whole.subarray(first, last)));
    }
    const several = await ask(service, get(target, { Range: 'bytes=200000-280000,5-9,-1' }));
    expect(several.headers['content-length']).toBe(String(several.body.byteLength));
    const parts = parseMultipart(several.headers['content-type'], several.body);
    expect(parts.map(({ start: first, end }) => [first, end])).toEqual([
      [200_000, 280_001],
      [5, 10],
      [299_999, 300_000],
    ]);
    for (const { start: first, end, body } of parts) {
      expect(sha256(body)).toBe(sha256(whole.subarray(first, end)));
    }
    expect((await ask(service, get(target, { Range: 'bytes=300000-' }))).status).toBe(416);
  });

  test('is the same for ever: its tag holds, in conditions too', async () => {
    const service = await start(kind);
    const target = await upload(service);
    const { etag = '' } = (await ask(service, get(target))).headers;
    const rest = await ask(service, get(target, { Range: 'bytes=1000-', 'If-Range': etag }));
    expect(rest.status).toBe(206);
    expect((await ask(service, get(target, { 'If-None-Match': etag }))).status).toBe(304);
    expect((await ask(service, get(target, { 'If-Match': etag }))).status).toBe(200);
    expect((await ask(service, get(target, { 'If-Match': '"other"' }))).status).toBe(412);
  });

  test('is there while empty, and no more once it was removed', async () => {
    const service = await start(kind);
    const empty = await ask(service, { headers: { 'Content-Range': 'bytes 0--1/0' }, body: '' });
    const nothing = await ask(service, get(`/files/${String(empty.body).split(' ')[0]}`));
    expect([nothing.status, nothing.headers['content-length']]).toEqual([200, '0']);
    const other = await upload(service);
    await service.listener.remove(other.slice('/files/'.length));
    expect((await ask(service, get(other))).status).toBe(410);
    for (const id of ['AAAAAAAAAAAAAAAAAAAAAA', 'a', 'A'.repeat(65)]) {
      expect((await ask(service, get(`/files/${id}`))).status).toBe(404);
    }
    for (const id of ['', '..', '../secret/../secret', 'A/../A/../A/../A/../A'])
      expect(await uploadEntity(service.store, id)).toBeUndefined();
  });

  test('is nobody’s to have before it is complete, where that was not asked for', async () => {
    const service = await start(kind);
    const name = await handshake(service, whole.byteLength);
    await send(service, name, whole, [0, 200_000]);
    const [id = ''] = await service.ids();
    expect((await ask(service, get(`/files/${id}`))).status).toBe(404);
    await send(service, name, whole, [200_000, 300_000]);
    expect(sha256((await ask(service, get(`/files/${id}`))).body)).toBe(sha256(whole));
  });
});

describe('an upload', () => {
  test('that its handler refused is not given out', async () => {
    const service = await start('fs', {}, (req, res) => {
      req.resume().once('end', () => res.writeHead(422).end());
    });
    expect((await ask(service, { body: whole })).status).toBe(422);
    const [id = ''] = await service.ids();
    expect((await ask(service, get(`/files/${id}`))).status).toBe(404);
  });

  test('that its handler refused meanwhile is not given to whoever waited for it', async () => {
    const service = await start('fs', {}, (req, res) => {
      req.resume().once('end', () => res.writeHead(422).end());
    });
    const name = await handshake(service, whole.byteLength);
    await send(service, name, whole, [0, 100_000]);
    const [id = ''] = await service.ids();
    const entity = await uploadEntity(service.store, id, { open: true, wait: true });
    expect((await send(service, name, whole, [100_000, 300_000])).status).toBe(422);
    await expect(entity?.read(0, 300_000).toArray()).rejects.toMatchObject({ code: 'gone' });
  });

  test('whose content was moved is not given out', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'resumable-moved-'));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    const service = await start('fs', {}, async (req, res) => {
      await req.upload?.moveTo(join(folder, 'moved'));
      res.writeHead(201).end();
    });
    expect((await ask(service, { body: whole })).status).toBe(201);
    const [id = ''] = await service.ids();
    expect((await ask(service, get(`/files/${id}`))).status).toBe(404);
  });

  test('has the type that the application gives it, and then no sandbox', async () => {
    const service = await start('memory', {
      contentType: 'text/plain',
      headers: { 'Cache-Control': 'private' },
    });
    const { headers } = await ask(service, get(await upload(service, whole, 'text/html')));
    expect(headers['content-type']).toBe('text/plain');
    expect(headers['cache-control']).toBe('private');
    expect(headers).not.toHaveProperty('content-security-policy');
  });

  test('is named by what the application knows of it', async () => {
    const options: UploadEntityOptions = {
      disposition: ({ filename }) =>
        filename === undefined ? undefined : { type: 'attachment', filename: `${filename}.bin` },
    };
    const metadata: ResumableOptions['metadata'] = ({ headers }): Record<string, string> =>
      headers['content-type'] === 'x/named' ? { filename: 'füm' } : {};
    const service = await start('memory', options, undefined, { metadata });
    const named = await ask(service, get(await upload(service, whole, 'x/named')));
    expect(named.headers['content-disposition']).toContain("filename*=UTF-8''f%C3%BCm.bin");
    const other = await ask(service, get(await upload(service)));
    expect(other.headers).not.toHaveProperty('content-disposition');
  });

  test('of no stated type is application/octet-stream', async () => {
    const service = await start('memory');
    const reply = await ask(service, { body: 'x' });
    const { headers } = await ask(service, get(`/files/${String(reply.body).split(' ')[0]}`));
    expect(headers['content-type']).toBe('application/octet-stream');
  });
});

/** `Repr-Digest` of these bytes. */
const digestOf = (bytes: Uint8Array): string =>
  `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;

describe.each(kinds)('the digest that an upload was begun with, in %s', (kind) => {
  test('is sent with the whole and every part of it', async () => {
    const service = await start(kind);
    const { body } = await ask(service, { headers: { 'Repr-Digest': digestOf(whole) }, body: whole });
    const target = `/files/${String(body).split(' ')[0]}`;
    for (const method of ['GET', 'HEAD']) {
      const reply = await ask(service, { ...get(target), method });
      expect([reply.status, reply.headers['repr-digest']]).toEqual([200, digestOf(whole)]);
    }
    const part = await ask(service, get(target, { Range: 'bytes=5-9' }));
    expect([part.status, part.headers['repr-digest']]).toEqual([206, digestOf(whole)]);
    const { etag = '' } = part.headers;
    const same = await ask(service, get(target, { 'If-None-Match': etag }));
    expect([same.status, same.headers['repr-digest']]).toEqual([304, undefined]);
  });
});

test('an upload without a digest has the one that the application knows, or none', async () => {
  for (const digest of [digestOf(whole), undefined]) {
    const service = await start('memory', digest === undefined ? {} : { digest });
    const { headers } = await ask(service, get(await upload(service)));
    expect(headers['repr-digest']).toBe(digest);
  }
});

describe.each(storeKinds)('an upload whose time is over, in %s', (kind) => {
  const lifetimes = { expiresAfterMs: 60_000, keepCompletedMs: 120_000 };

  /** Later, by the clock that the lifetimes are measured with. */
  const later = (ms: number): void => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });
    cleanups.push(async () => void vi.useRealTimers());
  };

  test.each([
    ['what is stored', {}],
    ['what will be', { wait: true }],
  ])('is a 410 on both sides, and a 404 once nothing of it is left: %s', async (_, options) => {
    const service = await start(kind, { open: true, ...lifetimes, ...options }, undefined, lifetimes);
    const name = await handshake(service, whole.byteLength);
    await send(service, name, whole, [0, 200_000]);
    const [id = ''] = await service.ids();
    const statuses = async () => [
      (await ask(service, { ...get(`/files/${id}`), method: 'HEAD' })).status,
      (await query(service, name)).status,
    ];
    expect(await statuses()).toEqual([200, 308]);
    later(59_000);
    expect((await statuses())[0]).toBe(200);
    later(61_000);
    expect(await statuses()).toEqual([410, 410]);
    expect((await service.listener.expire()).expired).toBe(1);
    expect(await statuses()).toEqual([410, 410]);
    later(8 * 24 * 60 * 60 * 1000);
    expect((await service.listener.expire()).purged).toBe(1);
    expect(await statuses()).toEqual([404, 404]);
  });

  test('is a 410 when it was complete, and that long ago', async () => {
    const service = await start(kind, lifetimes, undefined, lifetimes);
    const target = await upload(service);
    later(119_000);
    expect((await ask(service, get(target))).status).toBe(200);
    later(2_000);
    expect((await ask(service, get(target))).status).toBe(410);
  });

  test('may have said itself how long it has', async () => {
    const onCreate: ResumableOptions['onCreate'] = () => ({ expiresAfterMs: 300_000 });
    const service = await start(kind, { open: true }, undefined, { ...lifetimes, onCreate });
    await send(service, await handshake(service, whole.byteLength), whole, [0, 200_000]);
    const [id = ''] = await service.ids();
    later(299_000);
    expect((await ask(service, get(`/files/${id}`))).status).toBe(200);
    later(2_000);
    expect((await ask(service, get(`/files/${id}`))).status).toBe(410);
  });

  test('ends the connection of whoever waits for the rest', async () => {
    const waiting = { open: true, wait: { pollMs: 10 }, expiresAfterMs: 60_000 };
    const service = await start(kind, waiting);
    await send(service, await handshake(service, whole.byteLength), whole, [0, 200_000]);
    const [id = ''] = await service.ids();
    const client = await RawClient.connect(service.port);
    client.socket.once('data', () => later(61_000));
    await client.write(encode(get(`/files/${id}`)));
    await expect(client.response()).rejects.toThrow('closed before a response');
    expect(errors.splice(0)).toMatchObject([{ code: 'gone' }]);
  });
});

describe.each(storeKinds)('an upload that is still coming, in %s', (kind) => {
  /** 200,000 of 300,000 bytes, of which one is missing at 150,000 where there may be gaps. */
  const begin = async (options: UploadEntityOptions, length: number | '*' = whole.byteLength) => {
    const service = await start(kind, { open: true, ...options });
    const name = await handshake(service, length);
    await send(service, name, whole, [0, 150_000], length);
    if (service.store.supports.sparse) await send(service, name, whole, [150_001, 200_000], length);
    const [id = ''] = await service.ids();
    return { service, name, target: `/files/${id}` };
  };

  test('is what is stored from its start without a gap, and 416 past that', async () => {
    const { service, name, target } = await begin({});
    const all = await ask(service, get(target));
    expect([all.status, all.headers['content-length']]).toEqual([200, '150000']);
    expect(sha256(all.body)).toBe(sha256(whole.subarray(0, 150_000)));
    const range = await ask(service, get(target, { Range: 'bytes=100000-' }));
    expect(range.headers['content-range']).toBe('bytes 100000-149999/*');
    expect(sha256(range.body)).toBe(sha256(whole.subarray(100_000, 150_000)));
    for (const past of ['bytes=150000-', 'bytes=160000-170000', 'bytes=299999-']) {
      const reply = await ask(service, get(target, { Range: past }));
      expect([reply.status, reply.headers['content-range']]).toEqual([416, 'bytes */150000']);
    }
    // More is another content: a client that goes on under the old tag gets all of it.
    await send(service, name, whole, [150_000, 160_000]);
    const { etag = '' } = all.headers;
    const rest = await ask(service, get(target, { Range: 'bytes=150000-', 'If-Range': etag }));
    expect(rest.status).toBe(200);
    await send(service, name, whole, [160_000, 300_000]);
    const done = await ask(service, get(target, { Range: 'bytes=150000-' }));
    expect(done.headers['content-range']).toBe('bytes 150000-299999/300000');
    expect(sha256(done.body)).toBe(sha256(whole.subarray(150_000)));
  });

  test.each([
    ['from its start', undefined, 0],
    ['in a range that nobody has sent yet', 'bytes=250000-', 250_000],
  ])('is waited for %s, where that is asked for', async (_, range, first) => {
    const { service, name, target } = await begin({ wait: { pollMs: 10 } });
    const client = await RawClient.connect(service.port);
    await client.write(encode(get(target, range === undefined ? {} : { Range: range })));
    for (let at = 150_000; at < 300_000; at += 50_000) await send(service, name, whole, [at, at + 50_000]);
    const reply = await client.response();
    expect(reply.status).toBe(range === undefined ? 200 : 206);
    expect(reply.headers['content-length']).toBe(String(300_000 - first));
    expect(sha256(reply.body)).toBe(sha256(whole.subarray(first)));
  });

  test('is waited for to its end, whenever its length is told', async () => {
    const { service, name, target } = await begin({ wait: { pollMs: 10 } }, '*');
    const client = await RawClient.connect(service.port);
    await client.write(encode(get(target, { Range: 'bytes=5-' })));
    await send(service, name, whole, [150_000, 300_000], '*');
    await query(service, name, 300_000);
    const reply = await client.response();
    expect([reply.status, reply.headers['transfer-encoding']]).toEqual([200, 'chunked']);
    expect(sha256(reply.body)).toBe(sha256(whole));
  });

  test('ends the connection when nothing comes in time, and when it is removed', async () => {
    for (const timeoutMs of [100, 60_000]) {
      const { service, target } = await begin({ wait: { pollMs: 10, timeoutMs } });
      const client = await RawClient.connect(service.port);
      let received = 0;
      client.socket.on('data', (chunk: Buffer) => {
        received += chunk.byteLength;
        if (timeoutMs > 1000)
          void service.listener.remove(target.slice('/files/'.length)).catch(() => undefined);
      });
      await client.write(encode(get(target)));
      await expect(client.response()).rejects.toThrow('closed before a response');
      expect(received).toBeGreaterThan(100_000);
    }
    expect(errors.splice(0)).toMatchObject([{ code: 'interrupted', offset: 150_000 }, { code: 'gone' }]);
  });
});

test('an upload that is still coming cannot be read from a store that cannot do that', async () => {
  const service = await start('s3');
  const name = await handshake(service, whole.byteLength);
  await send(service, name, whole, [0, 100_000]);
  const [id = ''] = await service.ids();
  await expect(uploadEntity(service.store, id, { open: true })).rejects.toMatchObject({
    code: 'not_supported',
  });
});
