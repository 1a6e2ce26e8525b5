// What the tests of the page share: one browser and one build for a file of tests, a server and an empty profile for each.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { buildInto, launchBrowser } from '../../support/browser.ts';
import { content, sha256 } from '../../support/requests.ts';
import { PageServer } from './page-process.ts';
import { Visit } from './visit.ts';

export const MiB = 1024 * 1024;

let folder = '';
let browser: Browser | undefined;
let missing = '';
let server: PageServer | undefined;
const visits: Visit[] = [];

beforeAll(async () => {
  try {
    browser = await launchBrowser();
  } catch (error) {
    missing = error instanceof Error ? error.message : String(error);
    console.log(`the page is not tested in a browser: ${missing}`);
    return;
  }
  folder = await mkdtemp(join(tmpdir(), 'resumable-page-test-'));
  await buildInto(join(folder, 'built'));
}, 300_000);

afterAll(async () => {
  await browser?.close();
  if (folder !== '') await rm(folder, { recursive: true, force: true });
});

afterEach(async () => {
  const problems = visits.flatMap((visit) => visit.problems);
  for (const visit of visits.splice(0)) await visit.close();
  await server?.close();
  server = undefined;
  expect(problems).toEqual([]);
});

/** A server of this test's own, and somebody who looks at its page. */
export const start = async (
  options: BrowserContextOptions = {},
): Promise<{ server: PageServer; visit: Visit }> => {
  server ??= await PageServer.start(join(folder, 'built/src'));
  const visit = await Visit.start(browser as Browser, server.url, options);
  visits.push(visit);
  return { server, visit };
};

/** A file to choose, and the digest of what is in it. */
export const file = async (name: string, bytes: number, seed = 1): Promise<{ path: string; sum: string }> => {
  const path = join(folder, name);
  const data = content(bytes, seed);
  await writeFile(path, data);
  return { path, sum: sha256(data) };
};

/** The digest of what is at a URL. */
export const sumOf = async (url: string): Promise<string> => {
  const answer = await fetch(url);
  expect(answer.status).toBe(200);
  return sha256(new Uint8Array(await answer.arrayBuffer()));
};

/** A test that is skipped, with the reason, where there is no browser. */
export const inBrowser = (name: string, body: () => Promise<void>): void =>
  test(name, { timeout: 90_000 }, async (context) => {
    if (browser === undefined) context.skip(missing);
    await body();
  });
