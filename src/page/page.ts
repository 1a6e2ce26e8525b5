import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type Entity, serve } from '../download.ts';
import { unbuiltPage, uploadPage } from './markup.ts';
import { builtModules, readModules } from './modules.ts';
import { style } from './style.ts';

// The page that takes files in a browser, and all that it loads: nothing but what is listed here is ever served.

const modulesAt = '/page/modules/';
const entry = 'page/app.js';

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const safety = { 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer' };

export interface PageOptions {
  /** The folder of the built modules. Default: where this package is built. */
  readonly modules?: string;
}

/** Whether the request was for the page, and is answered. */
export type PageListener = (req: IncomingMessage, res: ServerResponse) => boolean;

/** Answers GET and HEAD of `/` and `/page/…`. Throws where modules are built, but not all of them. */
export const uploadPageListener = ({ modules = builtModules() }: PageOptions = {}): PageListener => {
  const assets = assetsOf(modules);
  return (req, res) => {
    const [pathname = ''] = (req.url ?? '').split('?', 1);
    const isOurs = pathname === '/' || pathname.startsWith('/page/');
    if (!isOurs || (req.method !== 'GET' && req.method !== 'HEAD')) return false;
    void serve(req, res, assets.get(pathname)); // never rejects
    return true;
  };
};

/** A listener that shows the page to whoever asks for HTML at `/`, and is `listener` for everything else. */
export const withPage = <Listener extends (req: IncomingMessage, res: ServerResponse) => unknown>(
  listener: Listener,
  options: PageOptions = {},
): Listener => {
  const page = uploadPageListener(options);
  const both = (req: IncomingMessage, res: ServerResponse): void => {
    const wantsPage = !/^\/(\?|$)/.test(req.url ?? '') || /\btext\/html\b/i.test(req.headers.accept ?? '');
    if (!wantsPage || !page(req, res)) listener(req, res);
  };
  return Object.assign(both, listener) as unknown as Listener;
};

const assetsOf = (folder: string): ReadonlyMap<string, Entity> => {
  const modules = existsSync(join(folder, entry)) ? readModules(folder, entry) : undefined;
  const html = modules === undefined ? unbuiltPage : uploadPage(modulesAt + entry);
  const assets = new Map<string, Entity>([
    ['/', asset(html, 'text/html; charset=utf-8', { 'Content-Security-Policy': policy, Vary: 'Accept' })],
    ['/page/style.css', asset(style, 'text/css; charset=utf-8')],
  ]);
  for (const [path, source] of modules ?? []) {
    assets.set(modulesAt + path, asset(source, 'text/javascript; charset=utf-8'));
  }
  return assets;
};

const asset = (text: string, contentType: string, headers: Readonly<Record<string, string>> = {}): Entity => {
  const bytes = Buffer.from(text);
  const sum = createHash('sha256').update(bytes).digest('base64url').slice(0, 22);
  return {
    size: bytes.byteLength,
    etag: `"${sum}"`,
    contentType,
    // Asked for again each time, and not sent again: after an update all parts are of the same build.
    headers: { 'Cache-Control': 'no-cache', ...safety, ...headers },
    read: (start, end) => Readable.from([bytes.subarray(start, end)]),
    readBytes: async (start, end) => bytes.subarray(start, end),
  };
};
