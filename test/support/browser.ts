import { execFile } from 'node:child_process';
import { access, readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Browser, chromium, type Page } from 'playwright-core';
import { findChromium } from './chromium.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Rejects with the reason where there is no browser. */
export const launchBrowser = async (): Promise<Browser> => {
  const { executable, env } = await findChromium((line) => console.log(line));
  return chromium.launch({
    executablePath: executable,
    args: flags,
    env: { ...process.env, ...env } as never,
  });
};

/** The package as it is built, in a folder of its own: others may build theirs at the same time. */
export const buildInto = async (folder: string): Promise<void> => {
  const compiler = join(root, 'node_modules/.bin/tsc');
  await run(compiler, ['-p', 'tsconfig.json', '--outDir', folder], { cwd: root }).catch(async (error) => {
    // Wrong types, wherever they are, are another check's business as long as there is something to load.
    await access(join(folder, 'src/client/browser.js')).catch(() => Promise.reject(error));
  });
};

/** Serves the built modules, and an empty page for everything else. */
export const servePage = async (folder: string, req: IncomingMessage, res: ServerResponse): Promise<void> => {
  const { pathname } = new URL(req.url ?? '/', 'http://127.0.0.1');
  if (/^\/dist(\/[\w-]+)+\.js$/.test(pathname)) {
    const text = await readFile(join(folder, pathname.slice('/dist'.length)));
    res.writeHead(200, { 'Content-Type': 'text/javascript' }).end(text);
    return;
  }
  res.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>empty</title>');
};

/** A page that has the client as `client`. */
export const openPage = async (browser: Browser, url: string): Promise<Page> => {
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.log(`page: ${error.message}`));
  await page.goto(url);
  return page;
};
