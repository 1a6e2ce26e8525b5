import { once } from 'node:events';
import type { Server } from 'node:http';
import { serve } from '@hono/node-server';
import { bodyParser } from '@koa/bodyparser';
import Router from '@koa/router';
import express from 'express';
import express4 from 'express4';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import Koa from 'koa';
import { describe, expect, test } from 'vitest';
import { resumable as expressResumable } from '../../src/adapters/express.ts';
import { resumable as fastifyResumable } from '../../src/adapters/fastify.ts';
import { resumable as fetchResumable } from '../../src/adapters/fetch.ts';
import { resumable as koaResumable } from '../../src/adapters/koa.ts';
import { askFrom, CorsError, type Page, preflight } from '../support/cross-origin.ts';
import { part, sha256 } from '../support/requests.ts';
import { type App, appOf, httpError, Log, serveNode, text } from './support.ts';

// The route answers with what it read, fails with 500 at `/upload?fail`, and to a GET says 'hello'; whatever the
// framework makes of a failure is left as it is.

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly body: string;
}

const respond = ({ method, url, body }: Asked): string => {
  if (url.includes('fail')) throw httpError(500, 'failed');
  return method === 'GET' ? 'hello' : sha256(Buffer.from(body));
};

const own = { 'X-Own': '1', Vary: 'Accept' };
const limit = 5_000_000;

type StartApp = (log: Log) => Promise<App>;
type Mount = (app: express.Express, ...parts: express.RequestHandler[]) => unknown;

const onExpress =
  (framework: typeof express, mount: Mount): StartApp =>
  (log) => {
    const uploads = expressResumable(log.options);
    const app = framework().set('env', 'test');
    mount(app, uploads, framework.text({ limit }), ({ method, originalUrl: url, body }, res, next) => {
      try {
        res.status(201).set(own).send(respond({ method, url, body }));
      } catch (error) {
        next(error);
      }
    });
    return serveNode(app, uploads);
  };

const onKoa: StartApp = (log) => {
  const uploads = koaResumable(log.options);
  const router = new Router();
  router.all('/upload', uploads, bodyParser({ enableTypes: ['text'], textLimit: '5mb' }), (ctx) => {
    const body = typeof ctx.request.body === 'string' ? ctx.request.body : '';
    ctx.body = respond({ method: ctx.method, url: ctx.originalUrl, body });
    ctx.status = 201;
    ctx.set(own);
  });
  const app = new Koa();
  app.silent = true;
  app.use(router.routes());
  return serveNode(app.callback(), uploads);
};

const onFastify: StartApp = async (log) => {
  const app = fastify({ bodyLimit: limit, requestTimeout: 0 });
  await app.register(fastifyResumable, log.options);
  app.route({
    method: ['GET', 'POST', 'DELETE', 'OPTIONS'],
    url: '/upload',
    config: { resumable: true },
    handler: async ({ method, originalUrl: url, body }, reply) =>
      reply
        .code(201)
        .headers(own)
        .send(respond({ method, url, body: body as string })),
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  return appOf(app.server, app.uploads, () => app.close());
};

const onHono: StartApp = async (log) => {
  const uploads = fetchResumable(log.options, async (request) => {
    const { method, url } = request;
    const body = method === 'GET' ? '' : await request.text();
    return new Response(respond({ method, url, body }), { status: 201, headers: own });
  });
  const app = new Hono().all('/upload', (c) => uploads(c.req.raw));
  const options = { fetch: app.fetch, hostname: '127.0.0.1', port: 0, serverOptions: { requestTimeout: 0 } };
  const server = serve(options) as Server;
  if (!server.listening) await once(server, 'listening');
  return appOf(server, uploads);
};

const page: Page = { origin: 'https://app.example.com', credentials: true };
const other: Page = { origin: 'https://other.example.com', credentials: true };
const cors = { origins: [page.origin, other.origin], credentials: true };
const whole = text(200_000);
const type = { 'Content-Type': 'text/plain' };

describe.each<[string, StartApp]>([
  ['express 5, app.all', onExpress(express, (app, ...parts) => app.all('/upload', ...parts))],
  ['express 4, app.use', onExpress(express4, (app, ...parts) => app.use('/upload', ...parts))],
  [
    'express 5, app.post and app.options',
    onExpress(express, (app, ...[uploads, ...rest]) => {
      if (uploads === undefined) throw new Error('nothing to mount');
      app.options('/upload', uploads);
      app.get('/upload', uploads, ...rest);
      app.post('/upload', uploads, ...rest);
    }),
  ],
  ['koa', onKoa],
  ['fastify', onFastify],
  ['fetch', onHono],
])('in %s', (_name, start) => {
  const startApp = async (options = {}) => {
    const log = new Log({ cors, ...options }, {});
    return { log, app: await start(log) };
  };

  test.each(['hold', 'stream'] as const)(
    'a page of another origin uploads and reads every answer (%s)',
    async (mode) => {
      const { app } = await startApp({ mode });
      const begun = await askFrom(page, app, { headers: { 'Content-Range': 'bytes */200000' } });
      expect(begun.status).toBe(308);
      const { location: target = '' } = begun.headers;
      const send = (from: Page, [first, end]: readonly [number, number]) =>
        askFrom(from, app, {
          target,
          headers: { ...type, 'Content-Range': part(first, end, 200_000) },
          body: whole.subarray(first, end),
        });
      const half = await send(page, [0, 100_000]);
      expect([half.status, half.headers.range]).toEqual([308, 'bytes=0-99999']);
      const done = await send(page, [100_000, 200_000]);
      expect([done.status, String(done.body)]).toEqual([201, sha256(whole)]);
      expect(done.raw.headers['x-own']).toBe('1');
      expect(done.raw.headers.vary?.toLowerCase()).toContain('origin');
      const replay = await send(other, [100_000, 200_000]);
      expect([replay.status, String(replay.body)]).toEqual([201, sha256(whole)]);
      await expect(send({ origin: 'https://x.example' }, [0, 1])).rejects.toThrow(CorsError);
    },
  );

  test('it reads what passes through, and what has failed', async () => {
    const { app } = await startApp();
    const got = await askFrom(page, app, { method: 'GET' });
    expect([got.status, String(got.body), got.raw.headers['x-own']]).toEqual([201, 'hello', '1']);
    expect(got.raw.headers.vary).toMatch(/Accept, ?Origin/i);
    const failed = await askFrom(page, app, { target: '/upload?fail', headers: type, body: whole });
    expect(failed.status).toBe(500);
    const refused = await askFrom(page, app, { headers: { ...type, 'Content-Range': 'x' }, body: whole });
    expect(refused.status).toBe(400);
  });

  test('it reads what the framework makes of a failure of ours', async () => {
    const authorize = () => {
      throw new Error('a failure');
    };
    const { app } = await startApp({ authorize });
    const { status } = await askFrom(page, app, { headers: type, body: whole });
    expect(status).toBe(500);
  });

  test('a preflight reaches no route, and without the option is its own', async () => {
    const { app } = await startApp();
    expect((await preflight(page, app, { headers: { 'Content-Range': 'x' } })).status).toBe(204);
    const { app: bare } = await startApp({ cors: undefined });
    await expect(preflight(page, bare, { headers: { 'Content-Range': 'x' } })).rejects.toThrow(CorsError);
    await expect(askFrom(page, bare, { method: 'GET' })).rejects.toThrow(CorsError);
  });
});

test('a fetch handler is given back its own response where nothing is to be added', async () => {
  const response = Response.redirect('https://example.com/', 302);
  const uploads = (options: object) => fetchResumable(new Log(options, {}).options, () => response);
  expect(await uploads({})(new Request('http://a.example/'))).toBe(response);
  const shared = await uploads({ cors: true })(new Request('http://a.example/'));
  expect([shared.status, shared.headers.get('location')]).toEqual([302, 'https://example.com/']);
  expect(shared.headers.get('access-control-allow-origin')).toBe('*');
});
