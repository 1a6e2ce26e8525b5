import { describe, expect, test } from 'vitest';
import type { Refusal, UploadStatus } from '../../src/http/hooks.ts';
import { gate } from '../support/gate.ts';
import {
  ask,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  type Name,
  open,
  part,
  query,
  type Reply,
  type Request,
  send,
  untilStored,
} from '../support/requests.ts';
import { type Options, type Service, startService, storeKinds } from '../support/service.ts';

// The other hooks: hooks-create, hooks-checkpoint and hooks-told.test.ts.

const whole = content(1000);
const unknown: Name = { target: '/upload?upload_id=AAAAAAAAAAAAAAAAAAAAAA', headers: {} };
const bothModes = storeKinds.flatMap((kind) => [[kind, 'hold'] as const, [kind, 'stream'] as const]);

/** By a header of the request, so that a test says for each what becomes of it. */
const byHeader: Options = {
  authorize: (req) => {
    const status = req.headers['x-refuse'];
    return status === undefined ? undefined : Number(status);
  },
};

const refused = (name: Name, status = 403): Name => ({
  ...name,
  headers: { ...name.headers, 'X-Refuse': String(status) },
});

/** Everything that was sent, but the moment. */
const wire = ({ head, body }: Reply): string => `${head.replace(/^Date: .*$/m, 'Date: …')}\r\n\r\n${body}`;

const onlyUpload = async (service: Service): Promise<UploadStatus | undefined> => {
  const [id = ''] = await service.ids();
  return service.listener.find(id);
};

describe.each(storeKinds)('authorize (%s)', (kind) => {
  test.each([401, 403, 404, 429, 503])('a status alone is a problem of that status: %i', async (status) => {
    const service = await startService(kind, { authorize: () => status });
    const reply = await ask(service, { body: whole });
    expectProblem(reply, status, status === 404 ? 'not_found' : 'refused');
    expect(reply.headers['cache-control']).toBe('no-store');
    expect(await service.ids()).toEqual([]);
  });

  test.each<[string, Refusal, object, string | undefined]>([
    [
      'header fields',
      { status: 401, headers: { 'WWW-Authenticate': 'Bearer realm="films"' } },
      { 'www-authenticate': 'Bearer realm="films"', 'content-type': 'application/problem+json' },
      undefined,
    ],
    [
      'a body',
      { status: 403, body: 'nöt you' },
      { 'content-type': 'text/plain; charset=utf-8', 'content-length': '8' },
      'nöt you',
    ],
    [
      'a body of its own type, written as the application likes',
      { status: 402, headers: { 'content-type': 'text/html', 'CACHE-CONTROL': 'private' }, body: '<p>pay' },
      { 'content-type': 'text/html', 'cache-control': 'private' },
      '<p>pay',
    ],
    [
      'header fields of its own beside those of a 404',
      { status: 404, headers: { 'content-type': 'text/html', 'X-Own': '1' } },
      { 'content-type': 'text/html', 'x-own': '1' },
      undefined,
    ],
  ])('a refusal with %s is sent as it is', async (_what, refusal, fields, body) => {
    const service = await startService(kind, { authorize: async () => refusal });
    for (const request of [{ body: whole }, { headers: { 'Content-Range': 'bytes */1000' } }]) {
      const reply = await ask(service, request);
      expect(reply.status).toBe(typeof refusal === 'number' ? refusal : refusal.status);
      expect(reply.headers).toMatchObject(fields);
      if (body !== undefined) expect(reply.body.toString()).toBe(body);
    }
    expect(service.calls).toEqual([]);
  });

  test.each(['location', 'etag'] as const)(
    'a 404 is to the byte what is said of an upload that never was (%s)',
    async (form) => {
      // Refused only where there is something: nobody is to find out where that is.
      const service = await startService(kind, {
        handshake: form,
        authorize: (_req, upload) => (upload === undefined ? undefined : 404),
      });
      const name = await handshake(service, 1000);
      const never =
        form === 'location'
          ? unknown
          : { target: '/upload', headers: { 'If-Match': '"resumable-AAAAAAAAAAAAAAAAAAAAAA"' } };
      const requests: ((name: Name) => Request)[] = [
        ({ target, headers }) => ({ target, headers: { ...headers, 'Content-Range': 'bytes */1000' } }),
        ({ target, headers }) => ({ target, headers: { ...headers, 'Content-Range': 'bytes */*' } }),
        ({ target, headers }) => ({ target, headers, method: 'DELETE' }),
        ({ target, headers }) => ({ target, headers, body: whole }),
        ({ target, headers }) => ({ target, headers, body: whole, chunk: 100 }),
        ({ target, headers }) => ({
          target,
          headers: { ...headers, 'Content-Range': part(0, 500, 1000) },
          body: whole.subarray(0, 500),
        }),
        ({ target, headers }) => ({
          target,
          headers: { ...headers, 'Content-Range': part(0, 500, 1000) },
          body: whole.subarray(0, 500),
          version: '1.0',
        }),
      ];
      for (const request of requests) {
        const [hidden, absent] = [await ask(service, request(name)), await ask(service, request(never))];
        expect(wire(hidden)).toBe(wire(absent));
        expect(hidden.status).toBe(form === 'location' ? 404 : 412);
      }
      expect((await onlyUpload(service))?.received).toEqual([]);
    },
  );

  test('is asked for every request that has to do with uploads, and told which upload it is', async () => {
    const asked: unknown[] = [];
    const service = await startService(kind, {
      metadata: () => ({ by: 'ann' }),
      authorize: (req, upload) => {
        asked.push([req.method, req.headers['content-range'], upload?.state, upload?.received, upload?.id]);
      },
    });
    const name = await handshake(service, 1000);
    const [id] = await service.ids();
    const half = [{ start: 0, end: 500 }];
    const all = [{ start: 0, end: 1000 }];
    await send(service, name, whole, [0, 500]);
    await query(service, name);
    await send(service, name, whole, [500, 1000]);
    await query(service, name);
    await send(service, name, whole);
    await ask(service, { ...name, method: 'DELETE' });
    await query(service, unknown);
    await ask(service, { body: whole });
    await ask(service, { method: 'GET', target: '/files' });
    expect(asked).toEqual([
      ['POST', 'bytes */1000', undefined, undefined, undefined],
      ['POST', 'bytes 0-499/1000', 'open', [], id],
      ['POST', 'bytes */*', 'open', half, id],
      ['POST', 'bytes 500-999/1000', 'open', half, id],
      ['POST', 'bytes */*', 'finished', all, id],
      ['POST', 'bytes 0-999/1000', 'finished', all, id],
      ['DELETE', undefined, 'finished', all, id],
      ['POST', 'bytes */*', undefined, undefined, undefined],
      ['POST', undefined, undefined, undefined, undefined],
    ]);
  });

  test('of an upload that is no more nothing is told', async () => {
    const seen: unknown[] = [];
    const service = await startService(kind, { authorize: (_req, upload) => void seen.push(upload) });
    const name = await handshake(service, 1000);
    await ask(service, { ...name, method: 'DELETE' });
    seen.length = 0;
    expectProblem(await query(service, name), 410, 'gone');
    expect(seen).toEqual([undefined]);
  });

  test('a refused request reveals and changes nothing', async () => {
    const service = await startService(kind, byHeader);
    const name = await handshake(service, 1000);
    await send(service, name, whole, [0, 300]);
    const before = await onlyUpload(service);
    for (const reply of [
      await query(service, refused(name)),
      await query(service, refused(name), 999), // would be told that the length is another
      await send(service, refused(name), whole),
      await ask(service, { ...refused(name), method: 'DELETE' }),
      await ask(service, { ...refused({ target: '/upload', headers: {} }), body: whole }),
      await ask(service, { headers: { 'X-Refuse': '403', 'Content-Range': 'bytes */1000' } }),
      await ask(service, { headers: { 'X-Refuse': '403', 'Content-Range': 'bytes */0' } }),
    ]) {
      expectProblem(reply, 403, 'refused');
      expect(Object.keys(reply.headers)).not.toEqual(
        expect.arrayContaining([expect.stringMatching(/range|location|etag/)]),
      );
    }
    expect(await service.ids()).toHaveLength(1);
    expect(await onlyUpload(service)).toEqual(before);
    expect(service.calls).toEqual([]);
    expectProcessed(await send(service, name, whole, [300, 1000]), whole);
    expectProblem(await query(service, refused(name)), 403, 'refused'); // not the answer either
    expectProblem(await send(service, refused(name, 401), whole), 401, 'refused');
    expectProcessed(await query(service, name), whole);
    expect(service.calls).toHaveLength(1);
  });

  test('takes no connection away from who is sending', async () => {
    const service = await startService(kind, byHeader);
    const name = await handshake(service, 1000);
    const client = await open(service, {
      ...name,
      headers: { 'Content-Range': part(0, 1000, 1000) },
      length: 1000,
      body: whole.subarray(0, 300),
    });
    await untilStored(service, name, 'bytes=0-299');
    expectProblem(await send(service, refused(name), whole), 403, 'refused');
    await client.write(whole.subarray(300));
    expectProcessed(await client.response(), whole);
  });

  test('is awaited before anything is made', async () => {
    const entered = gate();
    const go = gate();
    const service = await startService(kind, {
      authorize: async () => {
        entered.open();
        await go.opened;
      },
    });
    const client = await open(service, { length: 1000, body: whole });
    await entered.opened;
    expect(await service.ids()).toEqual([]);
    expect(service.listener.usage().liveUploads).toBe(0);
    go.open();
    expectProcessed(await client.response(), whole);
  });

  test.each<[string, Options['authorize']]>([
    [
      'throws',
      () => {
        throw new Error('the password is swordfish');
      },
    ],
    ['rejects', () => Promise.reject(new Error('the password is swordfish'))],
    ['refuses with what is no refusal', () => 200],
  ])('one that %s: 500 without its message, reported, and nothing is stored', async (_how, authorize) => {
    const service = await startService(kind, authorize === undefined ? {} : { authorize });
    for (const request of [{ body: whole }, { headers: { 'Content-Range': 'bytes */1000' } }]) {
      const reply = await ask(service, request);
      expectProblem(reply, 500, 'invalid_argument');
      expect(reply.body.toString()).not.toContain('swordfish');
    }
    expect(service.errors).toHaveLength(2);
    expect(await service.ids()).toEqual([]);
    expect(service.calls).toEqual([]);
  });
});

describe.each(bothModes)('a refused body (%s, %s)', (kind, mode) => {
  test('is read while its sender reads the refusal: neither a reset nor a stall', async () => {
    const service = await startService(kind, { ...byHeader, mode });
    const name = await handshake(service, 4_000_000);
    for (const fields of [{ ...refused(name), headers: { 'X-Refuse': '401' } }, {}]) {
      const headers = { 'X-Refuse': '401' };
      const client = await open(service, { ...fields, headers, length: 4_000_000 });
      expectProblem(await client.response(), 401, 'refused');
      for (let i = 0; i < 40; i++) await client.write(content(100_000));
      await client.closed;
      expect(client.socket.errored).toBeNull();
    }
    expect(service.calls).toEqual([]);
    expect((await onlyUpload(service))?.received).toEqual([]);
    expect(service.listener.usage()).toEqual({ heldBytes: 0, liveUploads: 0, completions: 0 });
  });

  test('is not asked for with 100 (Continue)', async () => {
    const service = await startService(kind, { ...byHeader, mode });
    const client = await open(service, {
      headers: { 'X-Refuse': '403', Expect: '100-continue' },
      length: 10,
    });
    expectProblem(await client.response(), 403, 'refused');
    expect(client.interim).toEqual([]);
    await client.closed; // what would come next on it could be the body
  });

  test('of a connection with another request on it before leaves that one alone', async () => {
    const service = await startService(kind, { ...byHeader, mode });
    const client = await open(service, { length: 1000, body: whole });
    expectProcessed(await client.response(), whole);
    await client.write('POST /upload HTTP/1.1\r\nHost: a\r\nX-Refuse: 403\r\nContent-Length: 4\r\n\r\nbody');
    expectProblem(await client.response(), 403, 'refused');
    expect(service.calls).toHaveLength(1);
  });
});
