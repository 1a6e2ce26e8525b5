import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { bodyParser } from '@koa/bodyparser';
import Router from '@koa/router';
import Koa, { type Context, type Middleware } from 'koa';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { type ResumableMiddleware, resumable } from '../../src/adapters/koa.ts';
import type { Upload } from '../../src/index.ts';
import { gate } from '../support/gate.ts';
import { ask, query, send, sha256 } from '../support/requests.ts';
import { departureTests } from './departure.ts';
import { routeFailureTests, storeFailureTests } from './failure.ts';
import { isolationTests } from './isolation.ts';
import { passThroughTests } from './pass-through.ts';
import {
  begin,
  httpError,
  Log,
  leave,
  type Options,
  post,
  type Route,
  type Seen,
  type Start,
  sending,
  serveNode,
  soon,
  text,
  untilIdle,
  untilStored,
  type Watched,
} from './support.ts';

const whole = text(300_000);
const asText = { enableTypes: ['text' as const], textLimit: '50mb' };

const routeOf = (log: Log): Middleware => {
  return async (ctx) => {
    const { url, originalUrl, query, upload } = ctx;
    const { body } = ctx.request;
    const id: string | undefined = ctx.upload?.id;
    const text = typeof body === 'string' ? body : '';
    const answer = await log.answer({ url, originalUrl, query, body: text, id, attempt: upload?.attempt });
    ctx.status = answer.status;
    ctx.set(answer.headers ?? {});
    ctx.body = answer.body;
  };
};

/** What came to the app's own 'error' event. */
const told = new WeakMap<Log, unknown[]>();

/** An app with these parts, and an error handler at its beginning. */
const startWith = async (
  build: (app: Koa, log: Log, uploads: ResumableMiddleware) => void,
  options: Options = {},
  route: Route = {},
): Promise<Watched> => {
  const log = new Log(options, route);
  const uploads = resumable(log.options);
  const app = new Koa();
  const errors: unknown[] = [];
  told.set(log, errors);
  app.on('error', (error) => errors.push(error));
  const fail: Middleware = async (ctx, next) => {
    try {
      await next();
    } catch (error) {
      const { status, headers = {}, body } = log.fail(error as Error);
      ctx.status = status;
      ctx.set(headers);
      ctx.body = body;
    }
  };
  if (!route.isBare) app.use(fail);
  build(app, log, uploads);
  return { ...(await serveNode(app.callback(), uploads)), log };
};

const start: Start = (options, route) =>
  startWith(
    (app, log, uploads) => {
      const guard: Middleware = async (_ctx, next) => {
        await log.guard();
        await next();
      };
      const router = new Router();
      router.all('/upload', uploads, guard, bodyParser(asText), routeOf(log));
      app.use(router.routes());
    },
    options,
    route,
  );

departureTests(start);
isolationTests(start);
passThroughTests(start);
routeFailureTests(start);
storeFailureTests(start);

/** What `koa-mount` does. */
const mount = (prefix: string, inner: Middleware): Middleware => {
  return async (ctx, next) => {
    const { path } = ctx;
    ctx.path = path.slice(prefix.length);
    await inner(ctx, next);
    ctx.path = path;
  };
};

describe.each(['hold', 'stream'] as const)('mounted (%s mode)', (mode) => {
  const target = '/api/photos?a=1&b=%20';
  const mounts: readonly (readonly [string, Partial<Seen>, (app: Koa, ...parts: Middleware[]) => void])[] = [
    [
      'on a router with a prefix',
      { url: target },
      (app, ...parts) => app.use(new Router({ prefix: '/api' }).post('/photos', ...parts).routes()),
    ],
    [
      'on a router in a router',
      { url: target },
      (app, ...parts) => {
        const inner = new Router().post('/photos', ...parts);
        app.use(new Router().use('/api', inner.routes()).routes());
      },
    ],
    [
      'where the path is rewritten',
      { url: '/photos?a=1&b=%20' },
      (app, ...parts) =>
        app.use(mount('/api', new Router().post('/photos', ...parts).routes() as Middleware)),
    ],
  ];

  test.each(mounts)('%s', async (_how, expected, put) => {
    const urls: (string | undefined)[] = [];
    const app = await startWith(
      (app, log, uploads) => {
        const look: Middleware = async (ctx, next) => {
          urls.push(
            ctx.href,
            ctx.URL.href,
            ctx.request.originalUrl,
            ctx.req.url,
            ctx.search,
            ctx.querystring,
          );
          await next();
        };
        app.use(async (ctx, next) => {
          expect(ctx.URL.pathname).toBe('/api/photos'); // Koa keeps what it is first asked for
          await next();
        });
        put(app, uploads as Middleware, look, bodyParser(asText), routeOf(log));
      },
      { mode },
    );
    const name = await begin(app, whole.byteLength, {}, target);
    expect(name.target).toMatch(/^\/api\/photos\?a=1&b=%20&upload_id=[\w-]{22,}$/);
    expect(String((await send(app, name, whole)).body)).toBe(sha256(whole));
    expect(String((await post(app, whole, {}, target)).body)).toBe(sha256(whole));
    for (const seen of app.log.seen) {
      expect(seen).toMatchObject({ ...expected, originalUrl: target });
      expect({ ...seen.query }).toEqual({ a: '1', b: ' ' });
    }
    expect(urls.slice(0, 3)).toEqual([`http://example.com${target}`, `http://example.com${target}`, target]);
    expect(urls.join()).not.toContain('upload_id');
    expect(urls.slice(0, 6)).toEqual(urls.slice(6));
  });
});

test('behind a proxy, Location is absolute where the app says so', async () => {
  const behindProxy = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'files.example.com' };
  const origin = ({ headers }: IncomingMessage): string =>
    `${headers['x-forwarded-proto']}://${headers['x-forwarded-host']}`;
  for (const options of [{}, { origin }]) {
    const protocols: string[] = [];
    const app = await startWith((app, log, uploads) => {
      app.proxy = true;
      const router = new Router({ prefix: '/api' });
      router.post('/photos', uploads, bodyParser(asText), async (ctx, next) => {
        protocols.push(ctx.protocol);
        await routeOf(log)(ctx as Context, next);
      });
      app.use(router.routes());
    }, options);
    const { target, headers } = await begin(app, 1000, behindProxy, '/api/photos');
    const absolute = /^https:\/\/files\.example\.com\/api\/photos\?upload_id=[\w-]+$/;
    expect(target).toMatch('origin' in options ? absolute : /^\/api\/photos\?upload_id=[\w-]+$/);
    const path = target.replace('https://files.example.com', '');
    expect((await send(app, { target: path, headers }, whole.subarray(0, 1000))).status).toBe(201);
    expect(protocols).toEqual(['https']);
  }
});

test.each(['hold', 'stream'] as const)(
  'a body parser before it is an error that says so, at once (%s mode)',
  async (mode) => {
    const app = await startWith(
      (app, log, uploads) => {
        app.use(bodyParser());
        app.use(new Router().all('/upload', uploads, routeOf(log)).routes());
      },
      { mode },
    );
    const headers = { 'Content-Type': 'application/json' };
    const body = Buffer.from('{"a":1}');
    const name = { ...(await begin(app, body.byteLength)), headers };
    const replies = [
      await soon(ask(app, { headers, body })),
      await soon(send(app, name, body)),
      await soon(ask(app, { headers, body, chunk: 3 })),
    ];
    for (const reply of replies) {
      expect([reply.status, reply.headers['x-failed']]).toEqual([500, 'yes']);
      expect(String(reply.body)).toContain('put resumable before any body parser');
    }
    expect(app.log.failures).toMatchObject(
      replies.map(() => ({ code: 'invalid_argument', statusCode: 500 })),
    );
    expect(app.log.seen).toEqual([]);
    expect((await query(app, name)).status).toBe(308);
    await untilIdle(app);
  },
);

describe.each(['hold', 'stream'] as const)('Koa is not told that a client has gone (%s mode)', (mode) => {
  test.each(['RST', 'FIN'] as const)('while a route works that answers with an object (%s)', async (how) => {
    const arrived = gate();
    const go = gate();
    const app = await startWith(
      (app, _log, uploads) => {
        const router = new Router().post('/upload', uploads, bodyParser(asText), async (ctx) => {
          arrived.open();
          await go.opened;
          ctx.status = 201;
          ctx.body = { writable: ctx.writable, id: ctx.upload?.id !== undefined, headerSent: ctx.headerSent };
        });
        app.use(router.routes());
      },
      { mode },
      { isBare: true },
    );
    const name = await begin(app, whole.byteLength);
    const upload = await sending(app, name, whole);
    await arrived.opened;
    await leave(upload, how);
    go.open();
    await untilIdle(app);
    const reply = await soon(query(app, name));
    expect([reply.status, JSON.parse(String(reply.body))]).toEqual([
      201,
      { writable: true, id: true, headerSent: false },
    ]);
    expect(reply.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(told.get(app.log)).toEqual([]);
  });

  test('and what it throws then is an attempt that failed, as ever', async () => {
    const arrived = gate();
    const go = gate();
    const answer = async ({ attempt, body }: Seen) => {
      arrived.open();
      await go.opened;
      if (attempt === 1) throw httpError(502, 'later');
      return { status: 201, body: sha256(Buffer.from(body)) };
    };
    const app = await start({ mode }, { answer });
    const name = await begin(app, whole.byteLength);
    const upload = await sending(app, name, whole);
    await arrived.opened;
    await untilStored(app.log.store, whole.byteLength);
    await leave(upload, 'RST');
    go.open();
    await untilIdle(app);
    expect(String((await query(app, name)).body)).toBe(sha256(whole));
    expect(app.log.attempts).toEqual([1, 2]);
    expect(app.log.failures).toMatchObject([{ message: 'later' }]);
  });
});

test.each(['there', 'gone'])(
  'a stream is closed when its answer is done, and not before (client %s)',
  async (where) => {
    const arrived = gate();
    const go = gate();
    const bodies: Readable[] = [];
    const parts = async function* () {
      yield 'first';
      arrived.open();
      await go.opened;
      yield 'last';
    };
    const answer = () => {
      // One that nobody else closes.
      const body = Readable.from(parts(), { autoDestroy: false });
      bodies.push(body);
      return { status: 201, body };
    };
    const app = await start({}, { answer });
    const name = await begin(app, whole.byteLength);
    const upload = await sending(app, name, whole);
    await arrived.opened;
    if (where === 'gone') await leave(upload, 'RST');
    expect(bodies.map(({ destroyed }) => destroyed)).toEqual([false]);
    go.open();
    if (where === 'there') expect(String((await upload.client.response()).body)).toBe('firstlast');
    await expect.poll(() => bodies.map(({ destroyed }) => destroyed)).toEqual([true]);
    expect(String((await query(app, name)).body)).toBe('firstlast');
  },
);

test('an answer of its own leaves Koa nothing to say, and middleware before it goes on', async () => {
  const after: (number | boolean)[] = [];
  const app = await startWith((app, log, uploads) => {
    app.use(async (ctx, next) => {
      await next();
      after.push(ctx.res.statusCode, ctx.headerSent);
    });
    app.use(new Router().post('/upload', uploads, bodyParser(asText), routeOf(log)).routes());
  });
  const name = await begin(app, whole.byteLength);
  await expect.poll(() => after).toEqual([308, true]);
  expect((await query(app, name)).status).toBe(308);
  expect((await send(app, name, whole)).status).toBe(201);
  await expect.poll(() => after.slice(4)).toEqual([201, false]);
  expect((await query(app, name)).status).toBe(201);
  await expect.poll(() => after.slice(6)).toEqual([201, true]);
  expect(told.get(app.log)).toEqual([]);
});

test('an upload has its type in every route', () => {
  const { store } = new Log({}, {});
  // Of Koa's own, and not by what `resumable` says of its parameter.
  const route: Middleware = (ctx) => {
    expectTypeOf(ctx.upload).toEqualTypeOf<Upload | undefined>();
    const id: string | undefined = ctx.upload?.id;
    return id;
  };
  new Router().post('/upload', resumable({ store }), route);
  new Router().post('/upload', resumable({ store }), (ctx) => {
    expectTypeOf(ctx.upload).toEqualTypeOf<Upload | undefined>();
  });
  new Koa().use(resumable({ store })).use(route);
});
