import { expect, test } from 'vitest';
import { content } from '../support/requests.ts';
import { scripted, take } from '../support/scripted-server.ts';
import { dam } from './dam.ts';
import { events, file, folder, run, serve, start, stateIn } from './support.ts';

const MiB = 1024 * 1024;

test('--json prints objects alone, of progress at most four a second, and the result at the end', async () => {
  const server = await serve('--dir', await folder());
  const before = await dam(server.port, { up: 5 * MiB });
  const path = await file(content(12 * MiB));
  const args = ['upload', '--json', path, `http://127.0.0.1:${before.port}/upload`];
  const at = performance.now();
  const upload = start(args, { env: stateIn(await folder()) });
  await upload.seen(({ done }) => Number(done) >= 5 * MiB);
  before.open();
  const { code, stdout, stderr } = await upload.ended;
  const seconds = (performance.now() - at) / 1000;
  expect([code, stderr]).toEqual([0, '']);
  const all = events(stdout);
  expect(all.at(-1)).toMatchObject({ event: 'result', file: path, status: 201, bytesSent: 12 * MiB });
  const progress = all.slice(0, -1);
  expect(progress.length).toBeGreaterThan(1);
  expect(progress.length).toBeLessThanOrEqual(Math.ceil(seconds * 4) + 1);
  for (const each of progress) {
    expect(each).toEqual({
      event: 'progress',
      file: path,
      state: expect.any(String),
      done: expect.any(Number),
      total: 12 * MiB,
      rate: expect.any(Number),
      etaMs: each.etaMs === null ? null : expect.any(Number),
    });
  }
});

test('--json says what went wrong, by a code', async () => {
  const { code, stdout, stderr } = await run([
    'upload',
    '--json',
    '/nowhere/film',
    'http://127.0.0.1:9/upload',
  ]);
  expect([code, stderr]).toEqual([1, '']);
  expect(events(stdout)).toEqual([
    {
      event: 'error',
      file: '/nowhere/film',
      code: 'ENOENT',
      message: 'no such file or folder: /nowhere/film',
      hints: [],
    },
  ]);
});

test('in a pipe there is only the result, whatever the server sends, and nothing that steers a terminal', async () => {
  const server = await scripted(
    (request, response, seen) =>
      take(request, seen).then(() => response.writeHead(308, { ETag: '"a"' }).end()),
    async (request, response, seen) => {
      await take(request, seen);
      response.socket?.end(
        'HTTP/1.1 201 \x9b31mred\r\nLocation: /files/\x9b2J%1b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
        'latin1',
      );
    },
  );
  const path = await file(content(1_000), 'a\u001b]0;title\u0007b.txt');
  const { code, stdout, stderr } = await run(['upload', path, server.url], { env: stateIn(await folder()) });
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^201 http:\/\/127\.0\.0\.1:\d+\/files\/.+ a \]0;title b\.txt\n$/);
  expect(stdout.trimEnd()).not.toMatch(/\p{Cc}/u);
});

test('--quiet leaves out what is neither a result nor an error', async () => {
  const server = await serve('--dir', await folder());
  const url = `http://127.0.0.1:${server.port}/upload`;
  const path = await file(content(1_000));
  const taken = await file(content(1), 'taken'); // where no state can be kept, which is worth a note
  const loud = await run(['upload', path, url], { env: stateIn(taken) });
  expect(loud.stderr).not.toBe('');
  const quiet = await run(['upload', '--quiet', path, url], { env: stateIn(taken) });
  expect([quiet.code, quiet.stderr]).toEqual([0, '']);
  expect(quiet.stdout).toMatch(/^201 /);
});
