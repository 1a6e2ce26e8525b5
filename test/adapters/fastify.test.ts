import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import fastifyMultipart from '@fastify/multipart';
import { type FastifyInstance, type FastifyServerOptions, fastify, type RouteHandlerMethod } from 'fastify';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { resumable } from '../../src/adapters/fastify.ts';
import type { Upload, UploadOperations } from '../../src/index.ts';
import { gate } from '../support/gate.ts';
import { ask, query, send, sha256 } from '../support/requests.ts';
import { departureTests } from './departure.ts';
import { routeFailureTests, storeFailureTests } from './failure.ts';
import { isolationTests } from './isolation.ts';
import { passThroughTests } from './pass-through.ts';
import {
  appOf,
  begin,
  form,
  Log,
  leave,
  type Options,
  post,
  type Route,
  type Start,
  sending,
  soon,
  stored,
  text,
  untilIdle,
  untilStored,
  type Watched,
} from './support.ts';

const whole = text(300_000);
const config = { resumable: true };

const routeOf = (log: Log): RouteHandlerMethod => {
  return async (request, reply) => {
    const { url, originalUrl, upload } = request;
    const id: string | undefined = request.upload?.id;
    const query = request.query as Record<string, unknown>;
    const body = typeof request.body === 'string' ? request.body : '';
    const answer = await log.answer({ url, originalUrl, query, body, id, attempt: upload?.attempt });
    return reply
      .code(answer.status)
      .headers(answer.headers ?? {})
      .send(answer.body);
  };
};

/** An app with these parts, and an error handler. */
const startWith = async (
  build: (app: FastifyInstance, log: Log) => unknown,
  options: Options = {},
  route: Route = {},
  settings: FastifyServerOptions = {},
): Promise<Watched> => {
  const log = new Log(options, route);
  const app = fastify({ bodyLimit: 50_000_000, requestTimeout: 0, ...settings });
  if (!route.isBare) {
    app.setErrorHandler((error: Error, _request, reply) => {
      const { status, headers = {}, body } = log.fail(error);
      return reply.code(status).headers(headers).send(body);
    });
  }
  await build(app, log);
  await app.listen({ host: '127.0.0.1', port: 0 });
  return { ...appOf(app.server, app.uploads, () => app.close()), log };
};

const start: Start = (options, route) =>
  startWith(
    async (app, log) => {
      await app.register(resumable, log.options);
      app.all('/upload', { config, onRequest: () => log.guard() }, routeOf(log));
    },
    options,
    route,
  );

departureTests(start);
isolationTests(start);
passThroughTests(start);
routeFailureTests(start);
storeFailureTests(start);

describe.each(['hold', 'stream'] as const)('mounted (%s mode)', (mode) => {
  const target = '/api/photos?a=1&b=%20';

  test.each<[string, string, (app: FastifyInstance, log: Log) => unknown, FastifyServerOptions?]>([
    [
      'under a prefix',
      target,
      async (app, log) => {
        await app.register(resumable, log.options);
        app.register(async (inner) => inner.post('/photos', { config }, routeOf(log)), { prefix: '/api' });
      },
    ],
    [
      'where the URL is rewritten',
      '/photos?a=1&b=%20',
      async (app, log) => {
        await app.register(resumable, log.options);
        app.post('/photos', { config }, routeOf(log));
      },
      { rewriteUrl: (req) => req.url?.replace(/^\/api/, '') ?? '' },
    ],
    [
      'where hooks have looked at the URL before',
      target,
      async (app, log) => {
        app.addHook('onRequest', async (request) => {
          expect(request.originalUrl).toContain('/api/photos');
        });
        await app.register(resumable, log.options);
        app.post('/api/photos', { config }, routeOf(log));
      },
    ],
    [
      'with a schema that knows no session',
      target,
      async (app, log) => {
        await app.register(resumable, log.options);
        const querystring = {
          type: 'object',
          properties: { a: { type: 'string' }, b: { type: 'string' } },
          additionalProperties: false,
        };
        app.post('/api/photos', { config, schema: { querystring } }, routeOf(log));
      },
      { ajv: { customOptions: { removeAdditional: false } } },
    ],
  ])('%s', async (_how, url, build, settings) => {
    const app = await startWith(build, { mode }, {}, settings);
    const name = await begin(app, whole.byteLength, {}, target);
    expect(name.target).toMatch(/^\/api\/photos\?a=1&b=%20&upload_id=[\w-]{22,}$/);
    expect(String((await send(app, name, whole)).body)).toBe(sha256(whole));
    expect(String((await post(app, whole, {}, target)).body)).toBe(sha256(whole));
    for (const seen of app.log.seen) {
      expect(seen).toMatchObject({ url, originalUrl: target });
      expect({ ...seen.query }).toEqual({ a: '1', b: ' ' });
    }
  });
});

test('behind a proxy that is trusted, Location is absolute where the app says so', async () => {
  const behindProxy = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'files.example.com' };
  const origin = ({ headers }: IncomingMessage): string =>
    `${headers['x-forwarded-proto']}://${headers['x-forwarded-host']}`;
  for (const options of [{}, { origin }]) {
    const origins: string[] = [];
    const app = await startWith(
      async (app, log) => {
        await app.register(resumable, log.options);
        app.addHook('preHandler', async ({ protocol, host }) => {
          origins.push(`${protocol}://${host}`);
        });
        app.post('/api/photos', { config }, routeOf(log));
      },
      options,
      {},
      { trustProxy: true },
    );
    const { target, headers } = await begin(app, 1000, behindProxy, '/api/photos');
    const absolute = /^https:\/\/files\.example\.com\/api\/photos\?upload_id=[\w-]+$/;
    expect(target).toMatch('origin' in options ? absolute : /^\/api\/photos\?upload_id=[\w-]+$/);
    const path = target.replace('https://files.example.com', '');
    expect((await send(app, { target: path, headers }, whole.subarray(0, 1000))).status).toBe(201);
    expect(origins).toEqual(['https://files.example.com']);
  }
});

describe.each(['hold', 'stream'] as const)('who reads the body (%s mode)', (mode) => {
  test('a hook that reads it before is an error that says so, at once', async () => {
    const app = await startWith(
      async (app, log) => {
        app.addHook('onRequest', async ({ raw }) => {
          if (raw.headers['content-type'] !== 'application/json') return;
          for await (const _ of raw);
        });
        await app.register(resumable, log.options);
        app.post('/upload', { config }, routeOf(log));
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
  });

  test('a preParsing hook comes behind: it gets the whole, and may hand on another', async () => {
    const sums: string[] = [];
    const app = await startWith(
      async (app, log) => {
        await app.register(resumable, log.options);
        app.addHook('preParsing', async (request, _reply, payload) => {
          const chunks: Buffer[] = [];
          for await (const chunk of payload) chunks.push(chunk as Buffer);
          sums.push(sha256(Buffer.concat(chunks)));
          request.headers['content-length'] = '7';
          return Readable.from([Buffer.from('another')]);
        });
        app.post('/upload', { config }, routeOf(log));
      },
      { mode },
    );
    const name = await begin(app, whole.byteLength);
    if (mode === 'hold') await send(app, name, whole, [0, 100_000]);
    expect((await send(app, name, whole)).status).toBe(201);
    expect(sums).toEqual([sha256(whole)]);
    expect(app.log.seen).toMatchObject([{ body: 'another' }]);
  });

  test('its own limit for bodies is one on the whole upload, and final', async () => {
    const app = await startWith(
      async (app, log) => {
        await app.register(resumable, log.options);
        app.post('/upload', { config, bodyLimit: 200_000 }, routeOf(log));
      },
      { mode },
    );
    const name = await begin(app, whole.byteLength);
    const replies = [await send(app, name, whole), await query(app, name)];
    expect(replies.map(({ status }) => status)).toEqual([413, 413]);
    expect(app.log.failures).toMatchObject([{ code: 'FST_ERR_CTP_BODY_TOO_LARGE' }]);
    const short = await begin(app, 100_000);
    expect((await send(app, short, whole.subarray(0, 100_000))).status).toBe(201);
  });

  test('multipart gets the file of a client that has gone', async () => {
    const { type, body } = form(whole);
    const arrived = gate();
    const go = gate();
    let files = 0;
    const app = await startWith(
      async (app, log) => {
        await app.register(resumable, log.options);
        await app.register(fastifyMultipart);
        const onRequest = (): Promise<void> => {
          arrived.open();
          return go.opened;
        };
        app.post('/upload', { config, onRequest }, async (request, reply) => {
          files++;
          const file = await request.file();
          return reply.code(201).send(sha256((await file?.toBuffer()) ?? Buffer.alloc(0)));
        });
      },
      { mode },
    );
    const name = { ...(await begin(app, body.byteLength)), headers: { 'Content-Type': type } };
    const upload = await sending(app, name, body);
    await arrived.opened;
    await untilStored(app.log.store, body.byteLength);
    await leave(upload, 'RST');
    go.open();
    await untilIdle(app);
    expect(String((await soon(query(app, name))).body)).toBe(sha256(whole));
    expect(files).toBe(1);
  });
});

test('a route that does not ask for it is untouched', async () => {
  const app = await startWith(async (app, log) => {
    await app.register(resumable, log.options);
    app.post('/plain', routeOf(log));
    app.post('/not', { config: { resumable: false } }, routeOf(log));
  });
  for (const target of ['/plain', '/not', '/plain?upload_id=mine']) {
    const headers = { 'Content-Range': 'bytes 0-9/20' };
    expect((await post(app, whole.subarray(0, 10), headers, target)).status).toBe(201);
  }
  expect(app.log.seen.map(({ id, url, body }) => [id, url, body.length])).toEqual([
    [undefined, '/plain', 10],
    [undefined, '/not', 10],
    [undefined, '/plain?upload_id=mine', 10],
  ]);
  expect(await stored(app.log.store)).toEqual([]);
});

test('an app has the operations, and closes the service with itself', async () => {
  const ends: string[] = [];
  const log = new Log({}, {});
  const close = async (): Promise<void> => {
    ends.push('store');
    await log.store.close();
  };
  const app = fastify();
  await app.register(resumable, { ...log.options, store: { ...log.store, close } });
  app.post('/upload', { config }, routeOf(log));
  await app.ready();
  expect(app.uploads.usage()).toEqual({ heldBytes: 0, liveUploads: 0, completions: 0 });
  expect(await app.uploads.find('nothing')).toBeUndefined();
  await app.close();
  expect(ends).toEqual(['store']);
});

test('uploads have their types', () => {
  const app = fastify();
  app.register(resumable, { store: new Log({}, {}).store });
  app.post('/upload', { config: { resumable: true } }, async (request) => {
    expectTypeOf(request.upload).toEqualTypeOf<Upload | undefined>();
    const id: string | undefined = request.upload?.id;
    return id;
  });
  expectTypeOf(app.uploads).toEqualTypeOf<UploadOperations>();
});
