import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Cut, cuttingProxy } from '../../bench/lib/cutting-proxy.ts';
import type { Hooks } from '../../src/http/hooks.ts';
import { type Handler, uploadMetadata } from '../../src/index.ts';
import { buildInto, launchBrowser, servePage } from '../support/browser.ts';
import { sha256 } from '../support/requests.ts';
import { digestHandler, type Service, startService } from '../support/service.ts';

// What runs in a page is written as text: it sees nothing of this file.
const prelude = `
  const client = await import('/dist/src/client/browser.js');
  const bytes = new Uint8Array(BYTES);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7 + (i >> 8) * 13 + (i >> 16) * 31) & 255;
  const file = new File([bytes], 'film.mp4', { lastModified: 1_700_000_000_000 });
  const quick = { retry: { minMs: 5, maxMs: 50 }, stallTimeoutMs: 5_000 };
`;
const size = 4_000_000;
const expected = Buffer.alloc(size);
for (let i = 0; i < size; i++) expected[i] = (i * 7 + (i >> 8) * 13 + (i >> 16) * 31) & 255;

let folder = '';
let browser: Browser | undefined;
let missing = '';
let context: BrowserContext | undefined;

beforeAll(async () => {
  try {
    browser = await launchBrowser();
  } catch (error) {
    missing = error instanceof Error ? error.message : String(error);
    console.log(`not tested in a browser: ${missing}`);
    return;
  }
  folder = await mkdtemp(join(tmpdir(), 'resumable-browser-'));
  await buildInto(folder);
}, 300_000);

afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

afterEach(async () => {
  await context?.close();
  context = undefined;
});

const handler: Handler = (req, res) =>
  req.upload === undefined ? servePage(folder, req, res) : digestHandler(req, res);
const onCreate: Hooks['onCreate'] = (req) => (req.url?.startsWith('/refused') ? { refuse: 422 } : undefined);

interface World {
  readonly service: Service;
  readonly url: string;
  newPage(): Promise<Page>;
  /** Runs it in a page, as an async function's body. */
  run<T>(page: Page, code: string): Promise<T>;
}

const start = async (through?: (port: number) => Promise<number>): Promise<World> => {
  const service = await startService('fs', { onCreate }, handler);
  const port = through === undefined ? service.port : await through(service.port);
  const url = `http://127.0.0.1:${port}`;
  context = await (browser as Browser).newContext();
  const { newPage } = context;
  return {
    service,
    url,
    async newPage() {
      const page: Page = await newPage.call(context);
      await page.goto(url);
      return page;
    },
    run: <T>(page: Page, code: string) =>
      page.evaluate(`(async () => { ${prelude.replace('BYTES', String(size))} ${code} })()`) as Promise<T>,
  };
};

const whole = { size, sha256: sha256(expected) };
const uploads = (service: Service) => service.calls.filter(({ id }) => id !== undefined);

describe('in a browser', () => {
  const inBrowser = (name: string, body: () => Promise<void>): void =>
    test(name, { timeout: 60_000 }, async (context) => {
      if (browser === undefined) context.skip(missing);
      await body();
    });

  inBrowser(
    'an upload arrives, through the 308 that the browser follows, and shows its progress',
    async () => {
      const { service, newPage, run } = await start();
      const { body, states, last, attempts } = await run<{
        body: string;
        states: string[];
        last: object;
        attempts: number;
      }>(
        await newPage(),
        `const up = client.upload('/upload', file, quick);
       const events = [];
       for await (const event of up) events.push(event);
       const { body, attempts } = await up.result;
       const states = events.map(({ state }) => state);
       return { body: String(body), states, last: events.at(-1), attempts };`,
      );
      expect(JSON.parse(body)).toEqual(whole);
      expect(attempts).toBe(2);
      expect(last).toMatchObject({ sent: size, committed: size, total: size, state: 'done' });
      expect(states).toContain('sending');
      expect(uploads(service)).toHaveLength(1);
    },
  );

  for (const [name, source] of [
    ['a File', 'file'],
    ['a Uint8Array in parallel ranges', 'bytes'],
    ['an array', '[bytes.subarray(0, 1_000_000), new Blob([bytes.subarray(1_000_000)])]'],
    ['a stream', 'file.stream()'],
  ] as const) {
    inBrowser(`${name} arrives through cuts, and the handler runs once`, async () => {
      const cuts: Cut[] = [300_000, 1_500_000, 2_500_000].map((afterBytes, i) => ({
        afterBytes,
        means: i === 1 ? 'fin' : 'rst',
      }));
      let proxy: Awaited<ReturnType<typeof cuttingProxy>> | undefined;
      const { service, newPage, run } = await start(async (target) => {
        proxy = await cuttingProxy({ target, cuts });
        return proxy.port;
      });
      try {
        const options = name.includes('parallel')
          ? '{ ...quick, parallel: 3 }'
          : '{ ...quick, replayBufferBytes: 1_000_000 }';
        const body = await run<string>(
          await newPage(),
          `return String((await client.upload('/upload', ${source}, ${options}).result).body);`,
        );
        expect(JSON.parse(body)).toEqual(whole);
        expect(proxy?.stats.cuts).toBe(3);
        expect(uploads(service)).toHaveLength(1);
      } finally {
        await context?.close();
        await proxy?.close();
      }
    });
  }

  inBrowser('an upload goes to another origin that exposes what the client reads', async () => {
    const { newPage, run } = await start();
    const other = await startService('fs', {}, (req, res) => {
      if (req.method !== 'OPTIONS') return digestHandler(req, res);
      const methods = { 'Access-Control-Allow-Methods': 'POST, PUT, DELETE' };
      res.writeHead(204, { ...methods, 'Access-Control-Allow-Headers': 'Content-Range, If-Match' }).end();
    });
    other.server.prependListener('request', (_req, res) => {
      res.setHeader('Access-Control-Allow-Origin', '*');
      res.setHeader('Access-Control-Expose-Headers', 'Range, Location, ETag, Retry-After');
    });
    const body = await run<string>(
      await newPage(),
      `const target = 'http://127.0.0.1:${other.port}/upload';
       return String((await client.upload(target, file, { ...quick, maxRequestBytes: 1_000_000 }).result).body);`,
    );
    expect(JSON.parse(body)).toEqual(whole);
    expect(uploads(other)).toHaveLength(1);
  });

  inBrowser('an upload to another origin, with the option `cors`, is cut and resumes', async () => {
    const { url, newPage, run } = await start();
    const other = await startService('fs', { cors: [url], metadata: uploadMetadata });
    const cuts: Cut[] = [600_000, 2_000_000, 2_100_000].map((afterBytes) => ({ afterBytes, means: 'rst' }));
    const proxy = await cuttingProxy({ target: other.port, cuts });
    const target = `http://127.0.0.1:${proxy.port}/upload`;
    try {
      const page = await newPage();
      const { body, isTold } = await run<{ body: string; isTold: boolean }>(
        page,
        `let isTold = false;
         const onProgress = ({ committed, total }) => { isTold ||= committed > 0 && committed < total; };
         const told = { headers: { Authorization: 'Bearer x' }, metadata: { name: 'füm' } };
         const options = { ...quick, ...told, onProgress, maxRequestBytes: 1_000_000 };
         const { body } = await client.upload('${target}', file, options).result;
         return { body: String(body), isTold };`,
      );
      expect(JSON.parse(body)).toEqual(whole);
      expect(isTold).toBe(true); // it reads the Range of a 308
      expect(proxy.stats.cuts).toBe(3);
      expect(uploads(other)).toHaveLength(1);
      expect(uploads(other)[0]?.headers).toMatchObject({ origin: url, authorization: 'Bearer x' });
      const [id = ''] = await other.ids();
      expect((await other.listener.find(id))?.metadata).toEqual({ name: 'füm' });
      const post = `return fetch('${target}', { method: 'POST', body: 'x' }).then(() => 'read', ({ name }) => name);`;
      expect(await run(page, post)).toBe('read');
      await page.goto(url.replace('127.0.0.1', 'localhost')); // another origin, which is not listed
      expect(await run(page, post)).toBe('TypeError');
    } finally {
      await context?.close();
      await proxy.close();
    }
  });

  for (const way of ['XMLHttpRequest', 'fetch']) {
    inBrowser(`cookies go to another origin only if they are to, over ${way}`, async () => {
      const { url, newPage, run } = await start();
      const other = await startService('fs', { cors: { origins: [url], credentials: true } }, (req, res) => {
        if (req.upload !== undefined) return digestHandler(req, res);
        res.writeHead(204, { 'Set-Cookie': 'who=me; Path=/' }).end();
      });
      const target = `http://127.0.0.1:${other.port}/upload`;
      const page = await newPage();
      if (way === 'fetch') await page.evaluate('delete globalThis.XMLHttpRequest');
      const send = (more: string): Promise<string> =>
        run(
          page,
          `return String((await client.upload('${target}', file, { ...quick${more} }).result).body);`,
        );
      await run(page, `await fetch('${target}', { credentials: 'include' }); return 'set';`);
      const cookies = new Set<string | undefined>();
      other.server.on('request', ({ method, headers }) => {
        if (method === 'POST') cookies.add(headers.cookie);
      });
      expect(JSON.parse(await send(''))).toEqual(whole);
      expect([...cookies]).toEqual([undefined]);
      cookies.clear();
      expect(JSON.parse(await send(', withCredentials: true'))).toEqual(whole);
      expect([...cookies]).toEqual(['who=me']);
    });
  }

  inBrowser('pause, resume and abort: nothing is left at the server', async () => {
    const { service, newPage, run } = await start();
    const outcome = await run<string>(
      await newPage(),
      `const up = client.upload('/upload', file, { ...quick, maxRequestBytes: 65_536 });
       for await (const { committed, state } of up) {
         if (committed > 500_000 && state !== 'paused') up.pause();
         if (state === 'paused') break;
       }
       up.resume();
       for await (const { committed } of up) if (committed > 1_000_000) break;
       const ended = up.result.catch((error) => error.name);
       await up.abort();
       return ended;`,
    );
    expect(outcome).toBe('AbortError');
    expect(uploads(service)).toHaveLength(0);
    const [id = ''] = await service.ids();
    expect(id === '' ? undefined : (await service.store.load(id))?.record.state).not.toBe('open');
  });

  inBrowser('fetch takes over where there is no XMLHttpRequest', async () => {
    const { newPage, run } = await start();
    const page = await newPage();
    await page.evaluate('delete globalThis.XMLHttpRequest');
    const body = await run<string>(
      page,
      `return String((await client.upload('/upload', file, { ...quick, maxRequestBytes: 1_000_000 }).result).body);`,
    );
    expect(JSON.parse(body)).toEqual(whole);
  });

  describe('a queue', () => {
    const queue = `const queue = client.uploadQueue(quick);`;
    const add = `const id = await queue.add('/upload', file, { maxRequestBytes: 32_768 });`;
    const until = (bytes: number): string =>
      `await new Promise((resolve) => queue.onChange((entry) => entry?.progress?.committed > ${bytes} && resolve()));`;

    inBrowser('goes on by itself after a reload, with what the server has', async () => {
      const { service, newPage, run } = await start();
      const page = await newPage();
      const id = await run<string>(page, `${queue} ${add} ${until(500_000)} return id;`);
      await page.reload();
      const entry = await run<{ status: string; result: { body: string }; progress: { sent: number } }>(
        page,
        `${queue} return queue.settled('${id}');`,
      );
      expect(entry.status).toBe('done');
      expect(JSON.parse(entry.result.body)).toEqual(whole);
      expect(await service.ids()).toHaveLength(1);
      expect(uploads(service)).toHaveLength(1);
    });

    inBrowser('without kept files goes on when the same file is chosen again', async () => {
      const { service, newPage, run } = await start();
      const page = await newPage();
      const bare = `const queue = client.uploadQueue({ ...quick, keepFiles: false });`;
      const id = await run<string>(page, `${bare} ${add} ${until(500_000)} return id;`);
      await page.reload();
      const [again, entry] = await run<[string, { status: string }]>(
        page,
        `${bare} ${add} return [id, await queue.settled(id)];`,
      );
      expect([again, entry.status]).toEqual([id, 'done']);
      expect(await service.ids()).toHaveLength(1);
    });

    inBrowser('in two tabs uploads a file once, and both are told', async () => {
      const { service, newPage, run } = await start();
      const pages = [await newPage(), await newPage()];
      const counted = `let sends = 0;
         const { send } = XMLHttpRequest.prototype;
         XMLHttpRequest.prototype.send = function (body) { sends++; return send.call(this, body); };`;
      const told = await Promise.all(
        pages.map((page) =>
          run<{ id: string; status: string; sends: number }>(
            page,
            `${counted} ${queue} ${add} return { ...(await queue.settled(id)), sends };`,
          ),
        ),
      );
      expect(told.map(({ status }) => status)).toEqual(['done', 'done']);
      expect(told[0]?.id).toBe(told[1]?.id);
      // One of the two has had nothing to do.
      const [least, most] = told.map(({ sends }) => sends).sort((one, other) => one - other);
      expect(least).toBe(0);
      expect(most).toBeGreaterThan(100);
      expect(await service.ids()).toHaveLength(1);
      expect(uploads(service)).toHaveLength(1);
    });

    inBrowser('is taken over by the other tab when one is closed', async () => {
      const { service, newPage, run } = await start();
      const first = await newPage();
      const second = await newPage();
      await run(first, `${queue} ${add} ${until(300_000)}`);
      const settled = run<{ status: string }>(second, `${queue} ${add} return queue.settled(id);`);
      await vi.waitFor(async () => {
        const { held, pending } = await second.evaluate<Record<string, unknown[]>>('navigator.locks.query()');
        expect([held?.length, pending?.length]).toEqual([1, 1]);
      });
      await first.close();
      expect((await settled).status).toBe('done');
      expect(await service.ids()).toHaveLength(1);
      expect(uploads(service)).toHaveLength(1);
    });

    inBrowser('pauses in whichever tab, through a reload too, and goes on where it was', async () => {
      const { service, newPage, run } = await start();
      const [first, second] = [await newPage(), await newPage()];
      const id = await run<string>(
        first,
        `${queue} ${add} ${until(500_000)} globalThis.queue = queue; return id;`,
      );
      const paused = await run<{ status: string; isActive: boolean; sent: number }>(
        second,
        `${queue}
         await queue.pause('${id}');
         const read = async () => (await queue.entries())[0];
         let entry = await read();
         while (entry.isActive || entry.sent === undefined) {
           await new Promise((resolve) => queue.onChange(resolve));
           entry = await read();
         }
         return entry;`,
      );
      expect(paused).toMatchObject({ status: 'paused', isActive: false, isBegun: true, isKept: true });
      expect(paused.sent).toBeGreaterThan(500_000);
      await Promise.all([first.close(), second.reload()]);
      const before = uploads(service).length;
      const [still, resumed, entry] = await run<
        [object, boolean, { status: string; result: { body: string } }]
      >(
        second,
        `${queue}
         const [still] = await queue.entries();
         const resumed = await queue.resume('${id}');
         return [still, resumed, await queue.settled('${id}')];`,
      );
      expect(still).toMatchObject({ status: 'paused', sent: paused.sent });
      expect(resumed).toBe(true);
      expect(entry.status).toBe('done');
      expect(JSON.parse(entry.result.body)).toEqual(whole);
      expect(before).toBe(0);
      expect(await service.ids()).toHaveLength(1);
      expect(uploads(service)).toHaveLength(1);
    });

    inBrowser('tells the server of a paused one that is removed', async () => {
      const { service, newPage, run } = await start();
      await run(
        await newPage(),
        `${queue} ${add} ${until(300_000)} await queue.pause(id); await queue.remove(id);`,
      );
      const [id = ''] = await service.ids();
      expect((await service.store.load(id))?.record.state).toBe('removed');
    });

    inBrowser('does not wait any longer where it is told that it need not', async () => {
      let proxy: Awaited<ReturnType<typeof cuttingProxy>> | undefined;
      const { newPage, run } = await start(async (target) => {
        proxy = await cuttingProxy({ target, cuts: [{ afterBytes: 1_000_000, means: 'rst' }] });
        return proxy.port;
      });
      try {
        // By itself it would come back in up to a quarter of an hour.
        const slow = `const queue = client.uploadQueue({ retry: { minMs: 900_000, maxMs: 900_000 } });`;
        const status = await run<string>(
          await newPage(),
          `${slow} ${add}
           queue.onChange((entry) => entry?.progress?.state === 'reconnecting' && queue.retryNow());
           return (await queue.settled(id)).status;`,
        );
        expect(status).toBe('done');
        expect(proxy?.stats.cuts).toBe(1);
      } finally {
        await context?.close();
        await proxy?.close();
      }
    });

    for (const [name, refusals] of [
      ['once', 1],
      ['from now on', Number.MAX_SAFE_INTEGER],
    ] as const) {
      inBrowser(`uploads once, and says so, where nothing can be written down: ${name}`, async () => {
        const { service, newPage, run } = await start();
        const entry = await run<{ status: string; result: { body: string } }>(
          await newPage(),
          `${queue} ${add}
           const { put } = IDBObjectStore.prototype;
           let refusals = ${refusals};
           IDBObjectStore.prototype.put = function (value) {
             return refusals-- > 0 ? this.transaction.abort() : put.call(this, value);
           };
           return queue.settled(id);`,
        );
        expect(entry.status).toBe('done');
        expect(JSON.parse(entry.result.body)).toEqual(whole);
        expect(await service.ids()).toHaveLength(1);
        expect(uploads(service)).toHaveLength(1);
      });
    }

    inBrowser('… nor does another tab that waits begin anew', async () => {
      const { service, newPage, run } = await start();
      const [first, second] = [await newPage(), await newPage()];
      const broken = `${queue} ${add}
        IDBObjectStore.prototype.put = function () { this.transaction.abort(); };`;
      const one = run<{ status: string }>(first, `${broken} return queue.settled(id);`);
      const other = run<{ status: string }>(second, `${broken} return queue.settled(id);`);
      expect([(await one).status, (await other).status]).toEqual(['done', 'done']);
      expect(await service.ids()).toHaveLength(1);
      expect(uploads(service)).toHaveLength(1);
    });

    inBrowser('forgets what is removed, and tries again what had failed', async () => {
      const { service, newPage, run } = await start();
      const page = await newPage();
      const removed = await run<unknown[]>(
        page,
        `${queue} ${add} ${until(300_000)} await queue.remove(id); return queue.entries();`,
      );
      expect(removed).toEqual([]);
      const outcomes = await run<unknown[]>(
        page,
        `const queue = client.uploadQueue({ ...quick, name: 'other' });
         const outcomes = [];
         for (let tries = 0; tries < 2; tries++) {
           const id = await queue.add('/refused', file);
           const { status, error } = await queue.settled(id);
           outcomes.push([status, error?.code]);
         }
         await queue.close();
         return outcomes;`,
      );
      expect(outcomes).toEqual(Array(2).fill(['failed', 'unexpected_response']));
      expect(uploads(service)).toHaveLength(0);
    });
  });
});
