import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { fileEntity, type Handler, type ResumableOptions, serve, uploadMetadata } from '../../src/index.ts';
import { askFrom, CorsError, type Page, preflight, readBy } from '../support/cross-origin.ts';
import { gate } from '../support/gate.ts';
import {
  ask,
  content,
  expectProblem,
  expectProcessed,
  open,
  part,
  type Request,
} from '../support/requests.ts';
import { digestHandler, type Service, startService } from '../support/service.ts';

const whole = content(100_000);
const app: Page = { origin: 'https://app.example.com' };
const other: Page = { origin: 'https://other.example.com' };
const range = { 'Content-Range': part(0, 100_000, 100_000) };

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

/** Begins an upload as a page would, and says where it goes on. */
const begin = async (page: Page, service: Service, length = whole.byteLength): Promise<string> => {
  const { status, headers } = await askFrom(page, service, {
    headers: {
      'Content-Range': `bytes */${length}`,
      Authorization: 'Bearer x',
      'Upload-Metadata': 'kind ZmlsbQ==',
    },
  });
  expect(status).toBe(308);
  if (headers.location === undefined) throw new Error('the page cannot see Location');
  return headers.location;
};

const policies: [string, ResumableOptions['cors'], Page][] = [
  ['any origin', true, app],
  ['a list', [app.origin], app],
  ['a function', (origin) => origin === app.origin, app],
  ['a list, with credentials', { origins: [app.origin], credentials: true }, { ...app, credentials: true }],
];

describe.each(policies)('a page of another origin, allowed by %s', (_what, cors, page) => {
  test.each(['hold', 'stream'] as const)(
    'uploads, is cut, asks, resumes, and reads every answer (%s)',
    async (mode) => {
      const service = await startService('fs', { cors, mode, metadata: uploadMetadata });
      const target = await begin(page, service);
      await preflight(page, service, { target, headers: range });
      const headers = { ...range, Origin: page.origin };
      const cut = await open(service, {
        target,
        headers,
        length: whole.byteLength,
        body: whole.subarray(0, 40_000),
      });
      const asks = () => askFrom(page, service, { target, headers: { 'Content-Range': 'bytes */*' } });
      await expect.poll(async () => (await asks()).headers.range).toBe('bytes=0-39999');
      cut.reset();
      const rest = {
        target,
        headers: { 'Content-Range': part(40_000, 100_000, 100_000) },
        body: whole.subarray(40_000),
      };
      expectProcessed((await askFrom(page, service, rest)).raw, whole);
      expectProcessed((await asks()).raw, whole); // a replay
      expect(service.calls).toHaveLength(1);
      const [id = ''] = await service.ids();
      expect((await service.listener.find(id))?.metadata).toEqual({ kind: 'film' });
    },
  );

  test('reads refusals and failures, ends an upload, and reads its end', async () => {
    const service = await startService('memory', {
      cors,
      metadata: uploadMetadata,
      authorize: ({ url }) => (url?.startsWith('/shut') ? 401 : undefined),
    });
    const problem = async (request: Request, status: number, code: string) =>
      expectProblem((await askFrom(page, service, request)).raw, status, code);
    await problem({ target: '/shut', headers: range, body: whole }, 401, 'refused');
    await problem({ headers: { 'Content-Range': 'rubbish' }, body: whole }, 400, 'malformed_content_range');
    await problem({ headers: { 'Upload-Metadata': 'a Y' }, body: whole }, 400, 'malformed_metadata');
    await problem(
      { target: '/upload?upload_id=AAAAAAAAAAAAAAAAAAAAAA', headers: range, body: whole },
      404,
      'not_found',
    );
    const target = await begin(page, service);
    expect((await askFrom(page, service, { method: 'DELETE', target })).status).toBe(204);
    await problem({ target, headers: { 'Content-Range': 'bytes */*' } }, 410, 'gone');
  });

  test('reads that an answer takes its time, when, and then the answer', async () => {
    const done = gate();
    const service = await startService('memory', { cors, completeWaitMs: 20 }, async (req, res) => {
      await done.opened;
      return digestHandler(req, res);
    });
    const target = await begin(page, service);
    const upload = { target, headers: range, body: whole };
    for (let asked = 0; asked < 2; asked++) {
      const { status, headers } = await askFrom(page, service, upload);
      expect([status, headers['retry-after']]).toEqual([503, '1']);
    }
    done.open();
    await expect.poll(async () => (await askFrom(page, service, upload)).status).toBe(201);
  });

  test('reads parts of what it downloads, and which they are', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'resumable-cors-'));
    folders.push(folder);
    await writeFile(join(folder, 'film'), whole);
    await utimes(join(folder, 'film'), 1, 1); // what has just been written has no strong tag yet
    const service = await startService('memory', { cors }, (req, res) =>
      serve(req, res, fileEntity(folder, req.url ?? '')),
    );
    const asks = (headers: Record<string, string>) =>
      askFrom(page, service, { method: 'GET', target: '/film', headers });
    const first = await asks({ Range: 'bytes=0-9' });
    expect([first.status, first.headers['content-range']]).toEqual([206, 'bytes 0-9/100000']);
    const { etag = '' } = first.headers;
    expect(etag).not.toBe('');
    expect((await asks({ Range: 'bytes=10-19', 'If-Range': etag })).status).toBe(206);
    expect((await asks({ 'If-None-Match': etag })).status).toBe(304);
    expect((await asks({ Range: 'bytes=100000-' })).status).toBe(416);
  });
});

describe('an origin that is not allowed', () => {
  const cors = [app.origin];

  test.each(['https://other.example.com', 'null', 'https://app.example.com:444'])(
    '%s may neither ask nor read',
    async (origin) => {
      const service = await startService('memory', { cors });
      await expect(askFrom({ origin }, service, { headers: range, body: whole })).rejects.toThrow(CorsError);
      expect(await service.ids()).toEqual([]);
      const simple = { body: whole, headers: { 'Content-Type': 'text/plain' } };
      await expect(askFrom({ origin }, service, simple)).rejects.toThrow(CorsError);
      const { headers } = await ask(service, { ...simple, headers: { Origin: origin } });
      expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
      expect(headers.vary).toBe('Origin');
    },
  );

  test('of a request without one nothing is said but that it depends on it', async () => {
    const service = await startService('memory', { cors });
    const reply = await ask(service, { body: whole });
    expectProcessed(reply, whole);
    expect(reply.headers).not.toHaveProperty('access-control-allow-origin');
    expect(reply.headers.vary).toBe('Origin');
  });
});

describe('a stored answer', () => {
  const cors = { origins: [app.origin, other.origin], credentials: true };

  test('is read by whoever asks now, and by nobody else', async () => {
    const service = await startService('fs', { cors });
    const target = await begin(app, service);
    const upload = { target, headers: range, body: whole };
    for (const page of [app, other, app]) expectProcessed((await askFrom(page, service, upload)).raw, whole);
    const again = await service.restart();
    expectProcessed((await askFrom(other, again, upload)).raw, whole);
    const stranger = await ask(again, { ...upload, headers: { ...range, Origin: 'https://x.example' } });
    expectProcessed(stranger, whole);
    expect(stranger.headers).not.toHaveProperty('access-control-allow-origin');
  });

  test('whose handler let everybody read it is read by whom the option says', async () => {
    const service = await startService('fs', { cors }, (req, res) => {
      res.setHeader('Access-Control-Allow-Origin', '*');
      res.setHeader('Access-Control-Expose-Headers', 'X-Own');
      res.setHeader('Vary', 'Accept');
      return digestHandler(req, res);
    });
    const target = await begin(app, service);
    const upload = { target, headers: range, body: whole };
    const own = await askFrom(app, service, upload);
    expect(own.raw.headers).toMatchObject({
      'access-control-allow-origin': '*',
      'access-control-expose-headers': 'X-Own',
      vary: 'Accept, Origin',
    });
    const replay = await askFrom({ ...other, credentials: true }, service, upload);
    expect(replay.raw.headers).toMatchObject({
      'access-control-allow-origin': other.origin,
      'access-control-expose-headers': 'X-Own',
      vary: 'Accept, Origin',
    });
    const stranger = await ask(service, { ...upload, headers: { ...range, Origin: 'https://x.example' } });
    expect(stranger.status).toBe(201);
    for (const name of ['origin', 'credentials']) {
      expect(stranger.headers).not.toHaveProperty(`access-control-allow-${name}`);
    }
  });

  test('that was too long to be stored flows to the page all the same', async () => {
    const service = await startService('fs', { cors, responseBytes: 10 }, (_req, res) => {
      res.write('a'.repeat(50));
      res.end('b'.repeat(50));
    });
    const target = await begin(app, service);
    const { body, raw } = await askFrom(app, service, { target, headers: range, body: whole });
    expect([body.byteLength, raw.headers.vary]).toEqual([100, 'Origin']);
    expect((await askFrom(other, service, { target, headers: range, body: whole })).status).toBe(200);
  });
});

describe('what a handler has set itself', () => {
  test.each<[string, Handler]>([
    ['before', (_req, res) => res.setHeader('Access-Control-Allow-Origin', 'https://own.example').end()],
    [
      'with its head',
      (_req, res) => res.writeHead(200, { 'access-control-allow-origin': 'https://own.example' }).end(),
    ],
    [
      'in a list',
      (_req, res) => res.writeHead(200, ['Access-Control-Allow-Origin', 'https://own.example']).end(),
    ],
  ])('%s wins, and comes once', async (_how, handler) => {
    const service = await startService('memory', { cors: true }, handler);
    for (const request of [{ body: whole }, { method: 'GET' }]) {
      const { headers } = await ask(service, request);
      expect(headers['access-control-allow-origin']).toBe('https://own.example');
    }
  });

  test('for a download is kept, and its Vary is added to', async () => {
    const fields = { 'X-Own': '1', Vary: 'Accept-Encoding', 'Set-Cookie': ['a=1', 'b=2'] };
    const service = await startService('memory', { cors: [app.origin] }, (_req, res) => {
      res.writeHead(203, 'Mine', fields).end('x');
    });
    const { raw } = await askFrom(app, service, { method: 'GET' });
    expect([raw.status, raw.reason, raw.body.toString()]).toEqual([203, 'Mine', 'x']);
    expect(raw.headers).toMatchObject({
      'x-own': '1',
      vary: 'Accept-Encoding, Origin',
      'set-cookie': 'a=1, b=2',
    });
  });

  test('by other middleware, before, is no matter of ours', async () => {
    const service = await startService('memory', { cors: { origins: [app.origin], credentials: true } });
    service.server.prependListener('request', (_req, res) => {
      res.setHeader('Access-Control-Allow-Origin', '*');
      res.setHeader('Vary', 'X');
    });
    const { raw } = await askFrom(app, service, { body: whole, headers: { 'Content-Type': 'text/plain' } });
    expect(raw.headers).toMatchObject({ 'access-control-allow-origin': '*', vary: 'X, Origin' });
    expect(raw.headers).not.toHaveProperty('access-control-allow-credentials');
  });
});

describe('a preflight', () => {
  test('is answered before any hook, and reaches no handler', async () => {
    const service = await startService('memory', {
      cors: [app.origin],
      authorize: () => 401,
      identify: () => 'one',
    });
    const answer = await preflight(app, service, {
      method: 'PUT',
      headers: { ...range, Authorization: 'Bearer x' },
    });
    expect([answer.status, answer.headers.vary]).toEqual([204, 'Origin']);
    expect(answer.headers).not.toHaveProperty('content-length');
    expect(service.calls).toEqual([]);
  });

  test('allows the fields of the application, and no others', async () => {
    const service = await startService('memory', { cors: { origins: true, allowHeaders: ['X-Token'] } });
    expect((await preflight(app, service, { headers: { 'x-token': '1' } })).status).toBe(204);
    await expect(preflight(app, service, { headers: { 'X-Other': '1' } })).rejects.toThrow(CorsError);
    await expect(preflight(app, service, { method: 'TRACE' })).rejects.toThrow(CorsError);
  });

  test.each<[string, Request]>([
    ['without a method to ask for', { headers: { Origin: app.origin } }],
    ['without an origin', { headers: { 'Access-Control-Request-Method': 'POST' } }],
    [
      'with another method',
      { method: 'REPORT', headers: { Origin: app.origin, 'Access-Control-Request-Method': 'POST' } },
    ],
  ])('is none %s: it passes through', async (_how, request) => {
    const service = await startService('memory', { cors: true }, (_req, res) =>
      res.writeHead(200, { Allow: 'X' }).end(),
    );
    const reply = await ask(service, { method: 'OPTIONS', ...request });
    expect([reply.status, reply.headers.allow]).toEqual([200, 'X']);
    expect(readBy(app, reply).status).toBe(200);
  });
});

test('a function that throws fails the request, and its message stays here', async () => {
  const service = await startService('memory', {
    cors: () => {
      throw new Error('secret');
    },
  });
  const reply = await ask(service, { body: whole, headers: { Origin: app.origin } });
  expectProblem(reply, 500, 'invalid_argument');
  expect(reply.body.toString()).not.toContain('secret');
  expect(service.errors).toHaveLength(1);
});

test.each([undefined, false] as const)('without the option (%s) nothing is added', async (cors) => {
  const service = await startService('memory', { cors });
  const upload = { headers: { ...range, Origin: app.origin }, body: whole };
  for (const request of [
    upload,
    { method: 'GET' },
    { ...upload, headers: { 'Content-Range': 'bytes */9' } },
  ]) {
    const { head } = await ask(service, request);
    expect(head).not.toMatch(/^(access-control|vary)/im);
  }
});
