import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import compression from 'compression';
import cors from 'cors';
import express, { type ErrorRequestHandler, type Request, type RequestHandler } from 'express';
import express4 from 'express4';
import multer from 'multer';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { resumable } from '../../src/adapters/express.ts';
import type { Upload } from '../../src/index.ts';
import { gate } from '../support/gate.ts';
import { ask, query, type Reply, send, sha256 } from '../support/requests.ts';
import { departureTests } from './departure.ts';
import { routeFailureTests, storeFailureTests } from './failure.ts';
import { isolationTests } from './isolation.ts';
import { passThroughTests } from './pass-through.ts';
import {
  begin,
  cleanUp,
  form,
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
  stored,
  text,
  untilFull,
  untilIdle,
  untilStored,
  type Watched,
} from './support.ts';

const whole = text(300_000);

describe.each([
  ['5', express],
  ['4', express4],
])('express %s', (_version, framework) => {
  const routeOf = (log: Log): RequestHandler => {
    return (req, res, next) => {
      const { url, originalUrl, query, upload, body } = req;
      const id: string | undefined = req.upload?.id;
      const text = typeof body === 'string' ? body : '';
      const seen: Seen = { url, originalUrl, query, body: text, id, attempt: upload?.attempt };
      log.answer(seen).then(({ status, headers = {}, body }) => {
        res.status(status).set(headers);
        if (typeof body === 'string') res.send(body);
        else pipeline(body, res).catch(next);
      }, next);
    };
  };

  const failOf = (log: Log): ErrorRequestHandler => {
    return (error, _req, res, _next) => {
      const { status, headers = {}, body } = log.fail(error);
      res.status(status).set(headers).send(body);
    };
  };

  /** An app with these parts, and an error handler at its end. */
  const startWith = async (
    build: (app: express.Express, log: Log, uploads: ReturnType<typeof resumable>) => void,
    options: Options = {},
    route: Route = {},
  ): Promise<Watched> => {
    const log = new Log(options, route);
    const uploads = resumable(log.options);
    const app = framework();
    build(app, log, uploads);
    if (route.isBare)
      app.set('env', 'test'); // else it prints what it is told
    else app.use(failOf(log));
    return { ...(await serveNode(app, uploads)), log };
  };

  const start: Start = (options, route) =>
    startWith(
      (app, log, uploads) => {
        const guard: RequestHandler = (_req, _res, next) => void log.guard().then(() => next(), next);
        app.all('/upload', uploads, guard, framework.text({ limit: '50mb' }), routeOf(log));
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
    const parse = framework.text({ limit: '50mb' });
    const mounts: readonly (readonly [
      string,
      string,
      Partial<Seen>,
      (app: express.Express, ...parts: RequestHandler[]) => void,
    ])[] = [
      [
        'on a router under a prefix',
        '/api/photos?a=1&b=%20',
        { url: '/photos?a=1&b=%20' },
        (app, ...parts) => app.use('/api', framework.Router().post('/photos', ...parts)),
      ],
      [
        'on two routers, one in the other',
        '/api/v1/photos?a=1&b=%20',
        { url: '/photos?a=1&b=%20' },
        (app, ...parts) =>
          app.use('/api', framework.Router().use('/v1', framework.Router().post('/photos', ...parts))),
      ],
      [
        'in an app in the app',
        '/api/photos?a=1&b=%20',
        { url: '/photos?a=1&b=%20' },
        (app, ...parts) => app.use('/api', framework().post('/photos', ...parts)),
      ],
      [
        'with use, at its whole path',
        '/api/photos?a=1&b=%20',
        { url: '/?a=1&b=%20' },
        (app, ...parts) => app.use('/api/photos', ...parts),
      ],
    ];

    test.each(mounts)('%s', async (_how, target, expected, mount) => {
      const app = await startWith(
        (app, log, uploads) => mount(app, uploads as RequestHandler, parse, routeOf(log)),
        { mode },
      );
      const name = await begin(app, whole.byteLength, {}, target);
      expect(name.target).toMatch(new RegExp(`^${target.replace('?', '\\?')}&upload_id=[A-Za-z0-9_-]{22,}$`));
      if (mode === 'hold') await send(app, name, whole, [0, 100_000]);
      expect(String((await send(app, name, whole)).body)).toBe(sha256(whole));
      const [seen] = app.log.seen;
      expect(seen).toMatchObject({ ...expected, originalUrl: target });
      expect({ ...seen?.query }).toEqual({ a: '1', b: ' ' });
      expect(String((await post(app, whole, {}, target)).body)).toBe(sha256(whole));
      expect(app.log.seen[1]).toMatchObject({ ...expected, originalUrl: target });
    });

    test('a route that passes on leaves the next ones the whole path', async () => {
      const app = await startWith(
        (app, log, uploads) => {
          app.use(
            '/api',
            framework.Router().post('/photos', uploads, (_req, _res, next) => next()),
          );
          app.use(parse, routeOf(log));
        },
        { mode },
      );
      const name = await begin(app, whole.byteLength, {}, '/api/photos');
      expect((await send(app, name, whole)).status).toBe(201);
      expect(app.log.seen).toMatchObject([{ url: '/api/photos', originalUrl: '/api/photos' }]);
    });
  });

  test('behind a proxy that is trusted, Location is absolute where the app says so', async () => {
    const behindProxy = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'files.example.com' };
    const origin = (req: IncomingMessage): string => {
      const { protocol, hostname } = req as Request;
      return `${protocol}://${hostname}`;
    };
    for (const options of [{}, { origin }]) {
      const app = await startWith((app, log, uploads) => {
        app.set('trust proxy', true);
        app.use('/api', framework.Router().post('/photos', uploads, framework.text(), routeOf(log)));
      }, options);
      const { target, headers } = await begin(app, 1000, behindProxy, '/api/photos');
      const absolute = /^https:\/\/files\.example\.com\/api\/photos\?upload_id=[\w-]+$/;
      expect(target).toMatch('origin' in options ? absolute : /^\/api\/photos\?upload_id=[\w-]+$/);
      const path = target.replace('https://files.example.com', '');
      expect((await send(app, { target: path, headers }, whole.subarray(0, 1000))).status).toBe(201);
    }
  });

  test.each(['hold', 'stream'] as const)(
    'a body parser before it is an error that says so, at once (%s mode)',
    async (mode) => {
      const app = await startWith(
        (app, log, uploads) => {
          app.use(framework.json());
          app.all('/upload', uploads, routeOf(log));
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

  describe('behind compression and cors', () => {
    const one = { Origin: 'https://one.example' };
    const two = { Origin: 'https://two.example' };
    const gzip = { 'Accept-Encoding': 'gzip' };
    const long = String(text(4000));
    const answer = () => ({ status: 201, headers: { 'Content-Type': 'text/plain' }, body: long });

    const startBehind = (options: Options = {}, route: Route = { answer }) =>
      startWith(
        (app, log, uploads) => {
          app.use(compression());
          const origin = [one.Origin, two.Origin];
          app.use(cors({ origin, credentials: true, exposedHeaders: ['Location', 'Range'] }));
          app.all('/upload', uploads, framework.text({ limit: '50mb' }), routeOf(log));
        },
        options,
        route,
      );

    const expectPlain = (reply: Reply, body = long): void => {
      expect([reply.status, reply.headers['content-encoding'], String(reply.body)]).toEqual([
        201,
        undefined,
        body,
      ]);
      expect(reply.headers['content-length']).toBe(String(body.length));
    };
    const expectPacked = (reply: Reply, coding = 'gzip', unpack: (body: Buffer) => Buffer = gunzipSync) => {
      expect([reply.status, reply.headers['content-encoding']]).toEqual([201, coding]);
      expect(reply.headers.vary).toContain('Accept-Encoding');
      expect(String(unpack(reply.body))).toBe(long);
    };

    test.each(['hold', 'stream'] as const)(
      'answers are compressed for those who ask, and replayed ones too (%s mode)',
      async (mode) => {
        const app = await startBehind({ mode });
        const name = await begin(app, whole.byteLength);
        const asking = (more: Record<string, string>) => ({ ...name, headers: { ...name.headers, ...more } });
        expectPacked(await send(app, asking(gzip), whole));
        expectPacked(await query(app, asking(gzip)));
        expectPlain(await query(app, name));
        expectPacked(await query(app, asking({ 'Accept-Encoding': 'br' })), 'br', brotliDecompressSync);
        expectPacked(await send(app, asking(gzip), whole));
        expectPlain(await send(app, asking({ 'Accept-Encoding': 'identity' }), whole));
        expect(app.log.attempts).toEqual([1]);
        const other = await begin(app, whole.byteLength);
        expectPlain(await send(app, other, whole));
        expectPacked(await query(app, { ...other, headers: gzip }));
      },
    );

    test('an answer that is compressed before all of a repeated body was read', async () => {
      const app = await startBehind();
      const name = await begin(app, whole.byteLength, gzip);
      await send(app, name, whole);
      const { client } = await sending(app, name, whole, [0, 1000]);
      const reply = client.response();
      await client.write(whole.subarray(1000));
      expectPacked({ ...(await reply), interim: [] });
    });

    test.each(['hold', 'stream'] as const)(
      'an answer that is too long to be kept arrives whole, compressed or not (%s mode)',
      async (mode) => {
        const body = String(text(1_000_000, 3));
        for (const headers of [gzip, {}]) {
          for (const make of [() => body, () => Readable.from(body.match(/.{1,50000}/gs) ?? [])]) {
            const app = await startBehind({ mode }, { answer: () => ({ ...answer(), body: make() }) });
            const reply = await soon(post(app, whole, headers), 5000);
            expect(reply.status).toBe(201);
            const unpacked = 'Accept-Encoding' in headers ? gunzipSync(reply.body) : reply.body;
            expect(sha256(unpacked)).toBe(sha256(Buffer.from(body)));
            const name = await begin(app, whole.byteLength, headers);
            expect((await send(app, name, whole)).status).toBe(201);
            const replay = await soon(query(app, name));
            const { 'content-encoding': coding, 'content-length': length } = replay.headers;
            expect([replay.status, coding, length, replay.body.byteLength]).toEqual([201, undefined, '0', 0]);
            expect(app.log.errors).toEqual([]);
          }
        }
      },
    );

    test.each([gzip, {}])('a client that stops reading a long answer and goes away (%o)', async (headers) => {
      let made = 0;
      const chunk = text(100_000, 5);
      const parts = function* () {
        for (; made < 200; made++) yield chunk;
      };
      const app = await startBehind({}, { answer: () => ({ ...answer(), body: Readable.from(parts()) }) });
      const name = await begin(app, whole.byteLength, headers);
      const upload = await sending(app, name, whole);
      await untilFull(upload, () => made);
      expect(made).toBeLessThan(200);
      await leave(upload, 'RST');
      await untilIdle(app);
      expect(made).toBe(200);
      expect((await query(app, name)).status).toBe(201);
      expect(app.log.attempts).toEqual([1]);
    });

    test('CORS headers are those of the request at hand, and of every answer', async () => {
      const go = gate();
      const app = await startBehind(
        { completeWaitMs: 20 },
        { answer: () => go.opened.then(() => ({ ...answer(), headers: { 'X-One': '1' } })) },
      );
      const from = (reply: Reply) => [
        reply.status,
        reply.headers['access-control-allow-origin'],
        reply.headers['access-control-expose-headers'],
      ];
      const exposed = 'Location,Range';
      const start = await ask(app, { headers: { ...one, 'Content-Range': 'bytes */300000' } });
      expect(from(start)).toEqual([308, one.Origin, exposed]);
      const name = {
        target: start.headers.location ?? '',
        headers: { 'Content-Type': 'text/plain', ...one },
      };
      const asTwo = { ...name, headers: { ...name.headers, ...two } };
      expect(from(await query(app, asTwo))).toEqual([308, two.Origin, exposed]);
      expect(from(await send(app, name, whole))).toEqual([503, one.Origin, exposed]);
      expect(from(await query(app, asTwo))).toEqual([503, two.Origin, exposed]);
      go.open();
      await untilIdle(app);
      expect(from(await query(app, asTwo))).toEqual([201, two.Origin, exposed]);
      expect(from(await query(app, name))).toEqual([201, one.Origin, exposed]);
      const { Origin: _, ...headers } = name.headers;
      const anybody = await query(app, { ...name, headers });
      expect(from(anybody)).toEqual([201, undefined, exposed]);
      expect(anybody.headers.vary).toContain('Origin');
      const [upload] = await stored(app.log.store);
      expect(upload?.record.response).toContain('x-one');
      expect(upload?.record.response).not.toMatch(/access-control|example/i);
    });

    test('a preflight is answered by cors, and begins nothing', async () => {
      const app = await startBehind();
      const headers = {
        ...one,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'content-range',
      };
      const reply = await ask(app, { method: 'OPTIONS', headers });
      expect(reply.status).toBe(204);
      expect(reply.headers).toMatchObject({
        'access-control-allow-origin': one.Origin,
        'access-control-allow-headers': 'content-range',
      });
      expect([app.log.seen, await stored(app.log.store)]).toEqual([[], []]);
    });
  });

  test('a client that stops reading a file and goes away', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'resumable-http-test-'));
    cleanUp(() => rm(folder, { recursive: true, force: true }));
    const path = join(folder, 'long.txt');
    await writeFile(path, text(20_000_000));
    const app = await startWith((app, _log, uploads) => {
      app.all('/upload', uploads, (_req, res) => {
        res.set('X-One', '1').status(201).sendFile(path);
      });
    });
    const name = await begin(app, whole.byteLength);
    const upload = await sending(app, name, whole);
    await untilFull(upload, () => 0);
    await leave(upload, 'RST');
    await untilIdle(app);
    const reply = await soon(query(app, name));
    expect([reply.status, reply.headers['x-one']]).toEqual([201, '1']);
    expect(app.log.failures).toEqual([]);
  });

  test.each(['hold', 'stream'] as const)(
    'multer gets the file of a client that has gone (%s mode)',
    async (mode) => {
      const { type, body } = form(whole);
      const go = gate();
      const arrived = gate();
      let files = 0;
      const app = await startWith(
        (app, _log, uploads) => {
          const guard: RequestHandler = (_req, _res, next) => {
            arrived.open();
            go.opened.then(() => next());
          };
          app.post('/upload', uploads, guard, multer().single('film'), (req, res) => {
            files++;
            res.status(201).send(sha256(req.file?.buffer ?? Buffer.alloc(0)));
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
    },
  );
});

test('an upload has its type in every route', () => {
  const route: RequestHandler = (req) => {
    expectTypeOf(req.upload).toEqualTypeOf<Upload | undefined>();
    const id: string | undefined = req.upload?.id;
    return id;
  };
  express().post('/upload', resumable({ store: new Log({}, {}).store }), route);
});
