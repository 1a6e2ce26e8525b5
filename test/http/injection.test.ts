import { describe, expect, test } from 'vitest';
import { RawClient } from '../support/raw-client.ts';
import { ask, content, encode, expectProcessed, handshake, query, send } from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

const whole = content(100);

describe.each(storeKinds)('nothing a client sends becomes a header or a host (%s)', (kind) => {
  test.each([
    '/upload%0d%0aX:%20y',
    '/upload%0aX:y?a=%0d%0a%0d%0a<html>',
    '/upload%00',
    '/upload?%0d%0aSet-Cookie:a=b',
    '/upload"quoted"',
  ])('the session URL of %j is one field', async (target) => {
    const service = await startService(kind, { checkpoints: 'always' });
    const begun = await ask(service, { target, headers: { 'Content-Range': 'bytes */100' } });
    expect(begun.status).toBe(308);
    expect(begun.head.split('\r\n').length).toBe(
      begun.head.split(/\r|\n/).filter((line) => line !== '').length,
    );
    expect(Object.keys(begun.headers).sort()).toEqual(
      ['cache-control', 'connection', 'content-length', 'date', 'keep-alive', 'location'].sort(),
    );
    const name = { target: begun.headers.location ?? '', headers: {} };
    const pushed = await send(service, name, whole);
    expectProcessed(pushed, whole);
    for (const { headers } of pushed.interim) expect(headers).not.toHaveProperty('x');
  });

  test.each([
    '//evil.example/upload',
    '///evil.example/upload',
    '/\\evil.example/upload',
    '\\\\evil.example\\upload',
    '/\\/evil.example/upload',
    'http://evil.example/upload',
    'http://evil.example//evil.example/upload',
    'http://evil.example/\\evil.example/upload',
    'HTTPS://evil.example/upload',
    'http://user@evil.example:80/upload',
    '//evil.example',
    'http://evil.example?x=1',
    '/upload#//evil.example',
    'javascript:alert(1)',
  ])('%s never yields a Location at another host', async (target) => {
    const service = await startService(kind);
    const client = await RawClient.connect(service.port);
    await client.write(encode({ target, headers: { 'Content-Range': 'bytes */100', Prefer: 'checkpoint' } }));
    const { status, headers } = await client.response();
    if (headers.location === undefined)
      expect(status).toBe(400); // refused is as good
    else {
      const base = `http://127.0.0.1:${service.port}/`;
      expect(new URL(headers.location, base).origin).toBe(new URL(base).origin);
    }
  });

  test.each(['//evil.example/upload', '/\\evil.example/upload'])('nor does the 103 to %s', async (target) => {
    const service = await startService(kind, { checkpoints: 'always' });
    const client = await RawClient.connect(service.port);
    await client.write(encode({ target, headers: { 'Content-Length': '100' } }));
    const { location = '' } = (await client.nextInterim()).headers;
    const base = `http://127.0.0.1:${service.port}/`;
    expect(new URL(location, base).origin).toBe(new URL(base).origin);
  });

  test('a start URL with two slashes at its beginning is resumed and seen as it was', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 100, '//evil.example/upload');
    expectProcessed(await send(service, name, whole), whole);
  });

  test.each(['\r\nX: y', '%0d%0aX: y', '\0', 'AAAAAAAAAAAAAAAAAAAAAA\nX: y', '../../../../etc/passwd'])(
    'an id like %j is unknown, and not said again',
    async (token) => {
      const service = await startService(kind);
      for (const encoded of [encodeURIComponent(token), token.replace(/[^\x21-\x7e]/g, '')]) {
        const reply = await query(service, { target: `/upload?upload_id=${encoded}`, headers: {} });
        expect(reply.status).toBe(404);
        expect(reply.headers).not.toHaveProperty('x');
        expect(reply.head).not.toContain('passwd');
        const tagged = await query(service, {
          target: '/upload',
          headers: { 'If-Match': `"resumable-${encoded}"` },
        });
        expect(tagged.status).toBe(412);
        expect(tagged.headers).not.toHaveProperty('x');
      }
      expect(await service.ids()).toEqual([]);
    },
  );

  test('what is bad in a request is told only inside of JSON', async () => {
    const service = await startService(kind);
    const reply = await ask(service, { headers: { 'Content-Range': 'bytes "},{<b>' } });
    expect(reply.headers['content-type']).toBe('application/problem+json');
    expect(JSON.parse(reply.body.toString())).toMatchObject({ actual: 'bytes "},{<b>' });
  });

  test.each(['header', 'reason'] as const)('CR, LF and NUL of a handler reach no %s', async (where) => {
    for (const evil of ['a\r\nX: y', 'a\nX: y', 'a\0b']) {
      const service = await startService(kind, { completeWaitMs: 1000 }, (_req, res) => {
        if (where === 'header') res.writeHead(200, { 'X-Name': evil }).end();
        else res.writeHead(200, evil).end();
      });
      const name = await handshake(service, 100);
      for (const reply of [await send(service, name, whole), await query(service, name)]) {
        expect(reply.status).toBe(500);
        expect(reply.headers).not.toHaveProperty('x');
        expect(reply.head).not.toContain('\0');
      }
      // The handler failed, so it may run again, as it would after any other error of its own.
      expect(service.calls.map(({ attempt }) => attempt)).toEqual([1, 2]);
      await service.stop();
    }
  });
});
