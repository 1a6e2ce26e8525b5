import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
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
  send,
  sha256,
  untilStored,
} from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

const whole = content(100);
const digest = (bytes: Uint8Array, hash = 'sha256'): string =>
  `${hash === 'sha256' ? 'sha-256' : 'sha-512'}=:${createHash(hash).update(bytes).digest('base64')}:`;

describe.each(storeKinds)('the identity of an upload (%s)', (kind) => {
  const named = {
    identify: (req: { url?: string | undefined }) => /^\/named\/(\w+)$/.exec(req.url ?? '')?.[1],
    owner: (req: { headers: Record<string, unknown> }) => String(req.headers['x-user'] ?? ''),
  };

  test('the session URL keeps the query of the route, and the handler sees the original URL', async () => {
    const service = await startService(kind);
    const targets = ['/upload?a=1&b=%20x', '/upload?', '/upload?a=1&&b', '/a%2Fb?x=?y'];
    for (const target of targets) {
      const name = await handshake(service, 100, target);
      expect(name.target.startsWith(target)).toBe(true);
      expectProcessed(await send(service, name, whole), whole);
    }
    expect(service.calls.map(({ url }) => url)).toEqual(targets);
  });

  test('the session parameter may stand anywhere in the query', async () => {
    const service = await startService(kind);
    const { target } = await handshake(service, 100);
    const token = target.split('?')[1];
    const moved = { target: `/upload?a=1&${token}&b=2`, headers: {} };
    expectProcessed(await send(service, moved, whole), whole);
    expect(service.calls[0]?.url).toBe('/upload?a=1&b=2');
  });

  test('the session parameter has the name the option gives', async () => {
    const service = await startService(kind, { sessionParameter: 'resume' });
    const name = await handshake(service, 100, '/upload?upload_id=7');
    expect(name.target).toMatch(/^\/upload\?upload_id=7&resume=/);
    expectProcessed(await send(service, name, whole), whole);
    expect(service.calls[0]?.url).toBe('/upload?upload_id=7');
  });

  test('the secret of a session is not the id of its content', async () => {
    const service = await startService(kind);
    const { target } = await handshake(service, 100);
    const [id = ''] = await service.ids();
    expect(target).not.toContain(id);
    expectProblem(await query(service, { target: `/upload?upload_id=${id}`, headers: {} }), 404, 'not_found');
  });

  test('a unique URL of the client needs no handshake', async () => {
    const service = await startService(kind, named);
    const name = { target: '/named/one', headers: {} };
    const client = await open(service, { ...name, method: 'PUT', length: 100, body: whole.subarray(0, 43) });
    await untilStored(service, name, 'bytes=0-42');
    client.reset();
    await client.closed;
    expect((await query(service, name, 100)).headers.range).toBe('bytes=0-42');
    const headers = { 'Content-Range': part(43, 100, 100) };
    const reply = await ask(service, { ...name, method: 'PUT', headers, body: whole.subarray(43) });
    expectProcessed(reply, whole);
    expect(service.calls).toMatchObject([{ method: 'PUT', url: '/named/one' }]);
  });

  test('one name is one operation', async () => {
    const service = await startService(kind, named);
    const request = { method: 'PUT', target: '/named/one', body: whole };
    expectProcessed(await ask(service, request), whole);
    expectProcessed(await ask(service, request), whole);
    expect(service.calls).toHaveLength(1);
    expectProcessed(await ask(service, { ...request, target: '/named/two' }), whole);
    expect(service.calls).toHaveLength(2);
  });

  test('two callers with one name have two uploads', async () => {
    const service = await startService(kind, named);
    const other = content(100, 2);
    for (const [user, bytes] of [
      ['ann', whole],
      ['bob', other],
    ] as const) {
      const headers = { 'X-User': user };
      expectProcessed(
        await ask(service, { method: 'PUT', target: '/named/one', headers, body: bytes }),
        bytes,
      );
    }
    expect(await service.ids()).toHaveLength(2);
  });

  test('a session that somebody else has got hold of is unknown to him', async () => {
    const service = await startService(kind, named);
    const begun = await ask(service, { headers: { 'Content-Range': 'bytes */100', 'X-User': 'ann' } });
    const target = begun.headers.location ?? '';
    const ann: Name = { target, headers: { 'X-User': 'ann' } };
    const bob: Name = { target, headers: { 'X-User': 'bob' } };
    expect((await send(service, ann, whole, [0, 43], 100)).status).toBe(308);
    expectProblem(await query(service, bob), 404, 'not_found');
    expectProblem(await send(service, bob, whole), 404, 'not_found');
    expectProblem(await ask(service, { ...bob, method: 'DELETE' }), 404, 'not_found');
    expect((await query(service, ann)).headers.range).toBe('bytes=0-42');
    expectProcessed(await send(service, ann, whole, [43, 100]), whole);
    expectProblem(await query(service, bob), 404, 'not_found');
  });

  describe('the same name with another Repr-Digest', () => {
    const target = '/named/one';
    const start = async () => {
      const service = await startService(kind, named);
      const put = (bytes: Buffer, end: number) =>
        ask(service, {
          method: 'PUT',
          target,
          headers: { 'Content-Range': part(0, end, 100), 'Repr-Digest': digest(bytes) },
          body: bytes.subarray(0, end),
        });
      return { service, put };
    };

    test('is 409 while the upload is open', async () => {
      const { service, put } = await start();
      expect((await put(whole, 43)).status).toBe(308);
      expectProblem(await put(content(100, 2), 43), 409, 'digest_conflict');
      expect((await query(service, { target, headers: {} })).headers.range).toBe('bytes=0-42');
      expectProcessed(await put(whole, 100), whole);
    });

    test('is 409 when the upload is finished, not the answer to other content', async () => {
      const { put } = await start();
      expectProcessed(await put(whole, 100), whole);
      expectProcessed(await put(whole, 100), whole);
      expectProblem(await put(content(100, 2), 100), 409, 'digest_conflict');
    });
  });

  test.each(['sha256', 'sha512'])('Repr-Digest is verified over the whole content: %s', async (hash) => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    const headers = { ...name.headers, 'Repr-Digest': digest(whole, hash) };
    await send(service, { ...name, headers }, whole, [0, 43]);
    expectProcessed(await send(service, name, whole, [43, 100]), whole);
  });

  test('content that is not what Repr-Digest announced is a final 400, and is not processed', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100);
    const headers = { ...name.headers, 'Repr-Digest': digest(content(100, 2)) };
    expectProblem(await send(service, { ...name, headers }, whole), 400, 'digest_mismatch');
    expectProblem(await query(service, name), 400, 'digest_mismatch');
    expect(service.calls).toEqual([]);
  });

  test('a Repr-Digest of a plain request is verified too', async () => {
    const service = await startService(kind);
    const good = await ask(service, { headers: { 'Repr-Digest': digest(whole) }, body: whole });
    expectProcessed(good, whole);
    const bad = await ask(service, { headers: { 'Repr-Digest': digest(content(9)) }, body: whole });
    expectProblem(bad, 400, 'digest_mismatch');
    expect(service.calls).toHaveLength(1);
  });

  test('a Repr-Digest of unknown algorithms is passed on, one that cannot be read is 400', async () => {
    const service = await startService(kind);
    const unknown = { 'Repr-Digest': 'md5=:AAAAAAAAAAAAAAAAAAAAAA==:' };
    expectProcessed(await ask(service, { headers: unknown, body: whole }), whole);
    const bad = { 'Repr-Digest': 'sha-256=:AAAA:' };
    expectProblem(await ask(service, { headers: bad, body: whole }), 400, 'malformed_digest');
  });

  test('an upload that was never told an identity goes with its connection', async () => {
    const service = await startService(kind);
    for (const cut of ['reset', 'finish'] as const) {
      const client = await open(service, { length: 100, body: whole.subarray(0, 43) });
      client[cut]();
      await client.closed;
    }
    const survivor = await ask(service, { body: whole });
    expect(JSON.parse(survivor.body.toString()).sha256).toBe(sha256(whole));
    await expect.poll(() => service.ids()).toHaveLength(1);
    await expect.poll(() => service.listener.usage().liveUploads).toBe(0);
    expect(service.calls).toHaveLength(1);
  });
});
