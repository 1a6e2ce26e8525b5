import { mkdtemp, readdir, rm } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readModules } from '../../src/page/modules.ts';
import { uploadPageListener, withPage } from '../../src/page/page.ts';
import { buildInto } from '../support/browser.ts';

interface Answer {
  readonly status: number | undefined;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

let folder = '';
let modules = '';
const servers: http.Server[] = [];

const listen = async (listener: http.RequestListener): Promise<number> => {
  const server = http.createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
};

/** A target as it is, `..` included. */
const ask = (port: number, path: string, options: http.RequestOptions = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const request = http.request({ port, host: '127.0.0.1', path, agent: false, ...options }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    });
    request.on('error', reject).end();
  });

let port = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'resumable-assets-'));
  await buildInto(folder);
  modules = join(folder, 'src');
  const page = uploadPageListener({ modules });
  port = await listen((req, res) => {
    if (!page(req, res)) res.writeHead(418).end();
  });
}, 120_000);

afterAll(async () => {
  for (const server of servers) server.close();
  await rm(folder, { recursive: true, force: true });
});

test('the page is HTML under a policy that lets nothing in from elsewhere', async () => {
  const { status, headers, body } = await ask(port, '/?a');
  expect([status, headers['content-type'], headers['x-content-type-options']]).toEqual([
    200,
    'text/html; charset=utf-8',
    'nosniff',
  ]);
  expect(headers['content-security-policy']).toBe(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  );
  expect(body).toMatch(/^<!doctype html>\n<html lang="en">/);
  // The policy would forbid what is written into the page.
  expect(body).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/);
});

test('its parts have their types, a HEAD is a GET without the body, and what is known is not sent again', async () => {
  const page = await ask(port, '/');
  const parts = [...page.body.matchAll(/(?:href|src)="(\/[^"]+)"/g)].map(([, path = '']) => path);
  expect(parts).toEqual(['/page/style.css', '/page/modules/page/app.js']);
  const types = { css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8' };
  for (const path of ['/', ...parts]) {
    const { status, headers, body } = await ask(port, path);
    expect([path, status]).toEqual([path, 200]);
    const [, suffix = ''] = /\.(\w+)$/.exec(path) ?? [];
    if (suffix !== '') expect(headers['content-type']).toBe(types[suffix as keyof typeof types]);
    expect(headers['x-content-type-options']).toBe('nosniff');
    const head = await ask(port, path, { method: 'HEAD' });
    expect([head.status, head.body, head.headers['content-length']]).toEqual([
      200,
      '',
      String(Buffer.byteLength(body)),
    ]);
    const again = await ask(port, path, { headers: { 'If-None-Match': String(headers.etag) } });
    expect([again.status, again.body]).toEqual([304, '']);
  }
});

test('what the page loads is all there, and nothing else of the build is served', async () => {
  const loaded = readModules(modules, 'page/app.js');
  expect([...loaded.keys()]).toEqual(
    expect.arrayContaining(['client/queue.js', 'client/run.js', 'errors.js']),
  );
  const built = await readdir(folder, { recursive: true });
  const files = built.filter((path) => /\.\w+$/.test(path)).map((path) => path.replaceAll('\\', '/'));
  expect(files.length).toBeGreaterThan(200);
  const served = new Set<string>();
  for (const path of files) {
    const below = path.replace(/^src\//, '');
    for (const target of new Set([`/page/modules/${path}`, `/page/modules/${below}`, `/page/${below}`])) {
      const { status } = await ask(port, target);
      if (status === 200) served.add(target.replace('/page/modules/', ''));
      else expect([target, status]).toEqual([target, 404]);
    }
  }
  expect(served).toEqual(new Set(loaded.keys()));
});

test.each([
  '/page/modules/../../package.json',
  '/page/modules/page/../http.js',
  '/page/modules/%2e%2e/%2e%2e/package.json',
  '/page/modules/page/..%2fhttp.js',
  '/page/modules/page%2fapp.js',
  '/page/modules/',
  '/page/modules',
  '/page/',
  '/page/modules//page/app.js',
  '/page/modules/page/app.js/',
  '/page/modules/page/app.js%00',
  '/page/modules/constructor',
])('%s is nothing', async (path) => {
  expect((await ask(port, path)).status).toBe(404);
});

test.each([
  ['POST', '/'],
  ['PUT', '/page/style.css'],
  ['GET', '/upload'],
  ['GET', '/files/a'],
  ['GET', '/pages'],
  ['GET', '//'],
  ['GET', '*'],
])('%s %s is left to others', async (method, path) => {
  expect((await ask(port, path, { method })).status).toBe(418);
});

test('who asks for no HTML is answered by the listener below', async () => {
  const listener = Object.assign(
    (_req: http.IncomingMessage, res: http.ServerResponse) => void res.writeHead(418).end(),
    { close: () => 'closed' },
  );
  const both = withPage(listener, { modules });
  expect(both.close()).toBe('closed');
  const other = await listen(both);
  const statuses = await Promise.all([
    ask(other, '/', { headers: { Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } }),
    ask(other, '/', { headers: { Accept: '*/*' } }),
    ask(other, '/'),
    ask(other, '/page/style.css', { headers: { Accept: 'text/css,*/*;q=0.1' } }),
    ask(other, '/upload', { headers: { Accept: 'text/html' } }),
  ]);
  expect(statuses.map(({ status }) => status)).toEqual([200, 418, 418, 200, 418]);
});

test('where nothing is built it says what to do', async () => {
  const unbuilt = uploadPageListener({ modules: join(folder, 'nowhere') });
  const other = await listen((req, res) => void unbuilt(req, res));
  const { status, body } = await ask(other, '/');
  expect(status).toBe(200);
  expect(body).toContain('npm run build');
  expect(body).not.toContain('<script');
  expect((await ask(other, '/page/modules/page/app.js')).status).toBe(404);
});
