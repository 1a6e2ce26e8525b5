import { once } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import { Readable } from 'node:stream';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type FetchHandler, type ResumableFetch, resumable } from '../../src/adapters/fetch.ts';
import { memoryStore } from '../../stores/memory.ts';
import { faultyStore, type StoreOp, systemError } from '../support/faulty-store.ts';
import { gate } from '../support/gate.ts';
import { ask, expectProblem, part, query, send, sha256 } from '../support/requests.ts';
import { departureTests } from './departure.ts';
import { isolationTests } from './isolation.ts';
import { passThroughTests } from './pass-through.ts';
import {
  type App,
  appOf,
  begin,
  Log,
  leave,
  type Options,
  post,
  type Start,
  sending,
  soon,
  stored,
  text,
  untilFull,
  untilIdle,
  untilStored,
  type Watched,
} from './support.ts';

const whole = text(300_000);
const sum = sha256(whole);
const modes = ['hold', 'stream'] as const;

/** The server has another put in its place. */
const NodeResponse = globalThis.Response;
afterEach(() => vi.unstubAllGlobals());

const serveHono = async (app: Hono, uploads: App['uploads']): Promise<App> => {
  const options = { fetch: app.fetch, hostname: '127.0.0.1', port: 0, serverOptions: { requestTimeout: 0 } };
  const server = serve(options) as Server;
  if (!server.listening) await once(server, 'listening');
  return appOf(server, uploads);
};

/** An app with one handler, at `/upload` if not said otherwise, and an error handler. */
const startWith = async (
  log: Log,
  handler: FetchHandler,
  mount: (app: Hono, uploads: ResumableFetch) => unknown = (app, uploads) =>
    app.all('/upload', (c) => uploads(c.req.raw)),
): Promise<Watched> => {
  const uploads = resumable(log.options, handler);
  const app = new Hono();
  app.onError((error) => {
    const { status, headers = {}, body } = log.fail(error);
    return new Response(body as string, { status, headers });
  });
  mount(app, uploads);
  return { ...(await serveHono(app, uploads)), log };
};

const handlerOf = (log: Log): FetchHandler => {
  return async (request, upload) => {
    await log.guard();
    const { pathname, search, searchParams } = new URL(request.url);
    const query = Object.fromEntries(searchParams);
    const body = await request.text();
    const id: string | undefined = upload?.id;
    const url = pathname + search;
    const answer = await log.answer({ url, query, body, id, attempt: upload?.attempt });
    const content =
      typeof answer.body === 'string' ? answer.body : (Readable.toWeb(answer.body) as ReadableStream);
    return new Response(content, { status: answer.status, headers: answer.headers ?? {} });
  };
};

const start: Start = (options = {}, route = {}) => {
  const log = new Log(options, route);
  return startWith(log, handlerOf(log));
};

const startPlain = (options: Options, handler: FetchHandler): Promise<Watched> =>
  startWith(new Log(options, {}), handler);

const digest: FetchHandler = async (request) =>
  new Response(sha256(Buffer.from(await request.arrayBuffer())));

departureTests(start);
isolationTests(start);
passThroughTests(start);

describe.each(modes)('mounted (%s mode)', (mode) => {
  const target = '/api/photos?a=1&b=%20';

  test.each<[string, (app: Hono, uploads: ResumableFetch) => unknown]>([
    ['with a base path', (app, uploads) => app.basePath('/api').post('/photos', (c) => uploads(c.req.raw))],
    [
      'on a route of another app',
      (app, uploads) =>
        app.route(
          '/api',
          new Hono().post('/photos', (c) => uploads(c.req.raw)),
        ),
    ],
  ])('%s', async (_how, mount) => {
    const log = new Log({ mode }, {});
    const urls: string[] = [];
    const handler = handlerOf(log);
    const app = await startWith(
      log,
      (request, upload) => {
        urls.push(request.url);
        return handler(request, upload);
      },
      mount,
    );
    const name = await begin(app, whole.byteLength, {}, target);
    expect(name.target).toMatch(/^\/api\/photos\?a=1&b=%20&upload_id=[\w-]{22,}$/);
    expect(String((await send(app, name, whole)).body)).toBe(sum);
    expect(String((await post(app, whole, {}, target)).body)).toBe(sum);
    for (const seen of log.seen) expect(seen).toMatchObject({ url: target, query: { a: '1', b: ' ' } });
    expect(urls).toEqual([`http://example.com${target}`, `http://example.com${target}`]);
  });
});

test('behind a proxy, Location is absolute where the app says so', async () => {
  const behindProxy = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'files.example.com' };
  const origin = ({ headers }: IncomingMessage): string =>
    `${headers['x-forwarded-proto']}://${headers['x-forwarded-host']}`;
  for (const options of [{}, { origin }]) {
    const app = await start(options);
    const { target, headers } = await begin(app, 1000, behindProxy);
    const absolute = /^https:\/\/files\.example\.com\/upload\?upload_id=[\w-]+$/;
    expect(target).toMatch('origin' in options ? absolute : /^\/upload\?upload_id=[\w-]+$/);
    const path = target.replace('https://files.example.com', '');
    expect((await send(app, { target: path, headers }, whole.subarray(0, 1000))).status).toBe(201);
  }
});

describe.each(modes)('who reads the body (%s mode)', (mode) => {
  test.each<[string, (request: Request) => unknown]>([
    ['parses', (request) => request.json()],
    ['reads', (request) => request.body?.getReader().read()],
    ['takes', (request) => request.body?.getReader()],
  ])('something that %s it before is an error that says so, at once', async (_how, read) => {
    const log = new Log({ mode }, {});
    const app = await startWith(log, handlerOf(log), (hono, uploads) => {
      hono.use(async (c, next) => {
        if (c.req.header('Content-Type') === 'application/json') await read(c.req.raw);
        await next();
      });
      hono.all('/upload', (c) => uploads(c.req.raw));
    });
    const headers = { 'Content-Type': 'application/json' };
    const body = Buffer.from('{"a":1}');
    const name = { ...(await begin(app, body.byteLength)), headers };
    for (const reply of [
      await soon(ask(app, { headers, body })),
      await soon(send(app, name, body)),
      await soon(ask(app, { headers, body, chunk: 3 })),
    ]) {
      expectProblem(reply, 500, 'invalid_argument');
    }
    const message = expect.stringContaining('put resumable before any body parser');
    expect(log.errors).toMatchObject([{ message }, { message }, { message }]);
    expect(log.seen).toEqual([]);
    expect((await query(app, { ...name, headers: {} })).status).toBe(308);
  });
});

describe.each(modes)('a handler that fails (%s mode)', (mode) => {
  test.each<[string, number, () => Response | Promise<Response>]>([
    [
      'throws',
      500,
      () => {
        throw new Error('on purpose');
      },
    ],
    ['rejects', 500, () => Promise.reject(new Error('on purpose'))],
    ['answers "not now"', 503, () => new Response('later', { status: 503 })],
    ['answers with a body that breaks', 500, () => new Response(broken())],
  ])('%s: the next query is attempt 2 with all bytes', async (_how, status, fail) => {
    const attempts: (number | undefined)[] = [];
    const app = await startPlain({ mode }, async (request, upload) => {
      attempts.push(upload?.attempt);
      const body = await request.arrayBuffer();
      return upload?.attempt === 1 ? fail() : new Response(sha256(Buffer.from(body)));
    });
    const name = await begin(app, whole.byteLength);
    const reply = await soon(send(app, name, whole));
    expect(reply.status).toBe(status);
    expect(String(reply.body)).not.toContain('on purpose');
    expect(String((await query(app, name)).body)).toBe(sum);
    expect(attempts).toEqual([1, 2]);
  });

  test('with 4xx: its answer is final, and replayed', async () => {
    const app = await startPlain({ mode }, async (request) => {
      await request.arrayBuffer();
      return new Response('not a film', { status: 422, headers: { 'X-Why': 'size' } });
    });
    const name = await begin(app, whole.byteLength);
    for (const reply of [await send(app, name, whole), await query(app, name)]) {
      expect([reply.status, reply.headers['x-why'], String(reply.body)]).toEqual([422, 'size', 'not a film']);
    }
  });

  test('at a request that is no upload: by the error handler of its server', async () => {
    for (const fail of [
      () => Promise.reject(new Error('on purpose')),
      () => {
        throw new Error('on purpose');
      },
    ]) {
      const app = await startPlain({ mode }, fail);
      const reply = await soon(ask(app, { method: 'GET' }));
      expect([reply.status, reply.headers['x-failed']]).toEqual([500, 'yes']);
    }
  });

  test.each<[StoreOp]>([['load'], ['update'], ['writer'], ['write']])(
    'a store that fails is 503, and the upload goes on after that (%s)',
    async (op) => {
      const store = faultyStore(memoryStore());
      const app = await startPlain({ mode, store }, digest);
      const name = await begin(app, whole.byteLength);
      store.hook = (call) => {
        if (call.op === op && call.when === 'before') throw systemError('EIO');
      };
      const reply = await soon(send(app, name, whole));
      expectProblem(reply, 503, 'store_failed');
      expect(reply.headers['retry-after']).toBe('1');
      expect(app.log.errors).toMatchObject([{ code: 'store_failed' }]);
      store.hook = () => undefined;
      expect(String((await send(app, name, whole)).body)).toBe(sum);
    },
  );
});

describe.each(modes)('answers (%s mode)', (mode) => {
  test('503 and Retry-After while the handler takes long, then its own', async () => {
    const go = gate();
    let entered = 0;
    const app = await startPlain({ mode, completeWaitMs: 20 }, async (request, upload) => {
      entered++;
      const answer = await digest(request, upload);
      await go.opened;
      return answer;
    });
    const name = await begin(app, whole.byteLength);
    for (const reply of [
      await send(app, name, whole),
      await query(app, name),
      await send(app, name, whole),
    ]) {
      expect([reply.status, reply.headers['retry-after'], reply.body.byteLength]).toEqual([503, '1', 0]);
    }
    go.open();
    await untilIdle(app);
    expect(String((await query(app, name)).body)).toBe(sum);
    expect(entered).toBe(1);
  });

  test.each([100_000, 4_000_000])('a streamed body of %i bytes arrives whole', async (length) => {
    const body = text(length, 3);
    const parts = function* () {
      for (let at = 0; at < body.byteLength; at += 70_001) yield body.subarray(at, at + 70_001);
    };
    const stream = () => Readable.toWeb(Readable.from(parts())) as ReadableStream;
    const app = await startPlain({ mode }, async (request) => {
      await request.arrayBuffer();
      return new Response(stream(), { headers: { 'X-One': '1' } });
    });
    const plain = await soon(post(app, whole), 10_000);
    expect([plain.status, sha256(plain.body)]).toEqual([200, sha256(body)]);
    const name = await begin(app, whole.byteLength);
    expect(sha256((await soon(send(app, name, whole), 10_000)).body)).toBe(sha256(body));
    const replay = await query(app, name);
    expect([replay.status, replay.headers['x-one'], replay.body.byteLength]).toEqual([200, '1', 0]);
  });

  test('a handler is held back by a client that does not read, and not kept by one that goes', async () => {
    let given = 0;
    const chunk = text(100_000);
    const parts = function* () {
      for (; given < 500; given++) yield chunk;
    };
    const app = await startPlain({ mode }, async (request) => {
      await request.arrayBuffer();
      return new Response(Readable.toWeb(Readable.from(parts())) as ReadableStream, { status: 201 });
    });
    const name = await begin(app, whole.byteLength);
    const upload = await sending(app, name, whole);
    await untilFull(upload, () => given);
    expect(given).toBeLessThan(500);
    await leave(upload, 'RST');
    await untilIdle(app);
    expect(given).toBe(500);
    expect((await query(app, name)).status).toBe(201);
  });

  test('every cookie is set, once', async () => {
    const app = await startPlain({ mode }, async (request) => {
      await request.arrayBuffer();
      const headers = new Headers({ 'X-One': '1' });
      headers.append('Set-Cookie', 'a=1; Path=/, b');
      headers.append('Set-Cookie', 'c=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT');
      headers.append('Link', '</a>; rel=next');
      headers.append('Link', '</b>; rel=prev');
      return new Response('done', { headers });
    });
    const name = await begin(app, whole.byteLength);
    const reply = await send(app, name, whole);
    expect(reply.head.match(/^set-cookie: .*$/gim)).toEqual([
      expect.stringMatching(/: a=1; Path=\/, b$/),
      expect.stringMatching(/: c=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT$/),
    ]);
    expect(reply.headers.link).toBe('</a>; rel=next, </b>; rel=prev');
    const replay = await query(app, name);
    expect([replay.headers['x-one'], replay.headers['set-cookie']]).toEqual(['1', undefined]);
  });

  test.each([
    [204, 'its server'],
    [205, 'its server'],
    [304, 'its server'],
    [204, 'Node'],
    [205, 'Node'],
    [304, 'Node'],
  ])('a %i has no body, first and again (a Response of %s)', async (status, whose) => {
    const app = await startPlain({ mode }, async (request) => {
      await request.arrayBuffer();
      return new Response(null, { status });
    });
    if (whose === 'Node') vi.stubGlobal('Response', NodeResponse);
    const name = await begin(app, whole.byteLength);
    for (const reply of [await send(app, name, whole), await query(app, name)]) {
      expect([reply.status, reply.body.byteLength]).toEqual([status, 0]);
    }
  });
});

describe('a client that is cut off half-way', () => {
  test.each([
    ['RST', 'hold'],
    ['FIN', 'hold'],
    ['RST', 'stream'],
    ['FIN', 'stream'],
  ] as const)('finds its bytes (%s, %s mode)', async (how, mode) => {
    const app = await start({ mode, flushMs: 1, checkpointMs: 1 });
    const name = await begin(app, whole.byteLength);
    const upload = await sending(app, name, whole, [0, 100_000]);
    await untilStored(app.log.store, 100_000);
    await leave(upload, how);
    expect((await query(app, name)).headers.range).toBe('bytes=0-99999');
    const headers = { ...name.headers, 'Content-Range': part(100_000, 300_000, 300_000) };
    const reply = await ask(app, { ...name, headers, body: whole.subarray(100_000) });
    expect([reply.status, String(reply.body)]).toEqual([201, sum]);
    expect(app.log.attempts).toEqual([1]);
  });

  test('leaves nothing where it cannot come back', async () => {
    const app = await start({ flushMs: 1, checkpointMs: 1 });
    const name = { target: '/upload', headers: { 'Content-Type': 'text/plain' } };
    const upload = await sending(app, name, whole, [0, 100_000]);
    await untilStored(app.log.store, 100_000);
    await leave(upload, 'RST');
    await expect.poll(async () => (await stored(app.log.store)).length).toBe(0);
    expect(app.log.errors).toEqual([]);
  });
});

test('what the last process left is answered without any client', async () => {
  const log = new Log({}, {});
  const store = { ...log.store, close: async () => undefined };
  const first = resumable({ ...log.options, store }, () => Promise.reject(new Error('on purpose')));
  const post = (url: string, headers: Record<string, string>, body?: string): Request =>
    new Request(url, { method: 'POST', headers, body: body ?? null });
  const url = 'http://localhost/upload';
  const created = await first(post(url, { 'Content-Range': 'bytes */5', 'Content-Length': '0' }));
  const session = new URL(created.headers.get('Location') ?? '', url).href;
  const failed = await first(
    post(session, { 'Content-Range': 'bytes 0-4/5', 'Content-Length': '5' }, 'hello'),
  );
  expect(failed.status).toBe(500);
  await first.close({ graceMs: 0 });
  const next = resumable({ ...log.options, store }, async (request) => new Response(await request.text()));
  expect(await next.retryPending()).toMatchObject({ finished: 1 });
  const answer = await next(post(session, { 'Content-Range': 'bytes */5', 'Content-Length': '0' }));
  expect([answer.status, await answer.text()]).toEqual([200, 'hello']);
  await next.close({ graceMs: 0 });
});

/** A body that begins, and then fails. */
const broken = (): ReadableStream =>
  new ReadableStream({
    start(controller) {
      controller.enqueue(Buffer.from('begun'));
    },
    pull(controller) {
      controller.error(new Error('on purpose'));
    },
  });
