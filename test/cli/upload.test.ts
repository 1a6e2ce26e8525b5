import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Forwarder } from '../support/forwarder.ts';
import { content, sha256 } from '../support/requests.ts';
import { afterwards, answer, done, named, scripted, serverOf } from '../support/scripted-server.ts';
import { type Dam, dam } from './dam.ts';
import { events, file, folder, result, run, serve, start, stateIn } from './support.ts';

// The command line against a real server, both processes of their own.

const MiB = 1024 * 1024;
const bytes = content(24 * MiB);
const sum = sha256(bytes);

const uploadUrl = (port: number): string => `http://127.0.0.1:${port}/upload`;

/** What is at the URL that an upload's answer has named. */
const sumOf = async (location: unknown): Promise<string> => {
  const response = await fetch(String(location));
  const hash = createHash('sha256');
  for await (const chunk of response.body ?? []) hash.update(chunk);
  return hash.digest('hex');
};

/** Interrupts an upload of a file in the middle, behind a dam that is open afterwards. */
const interrupted = async (
  signal: NodeJS.Signals,
  ...more: string[]
): Promise<{ path: string; url: string; home: string; before: Dam; stderr: string; stdout: string }> => {
  const [home, dir, path] = [await folder(), await folder(), await file(bytes)];
  const server = await serve('--dir', dir);
  const before = await dam(server.port, { up: 10 * MiB });
  const url = uploadUrl(before.port);
  const upload = start(['upload', ...more, path, url], { env: stateIn(home) });
  if (more.includes('--json'))
    await upload.seen(({ event, done }) => event === 'progress' && Number(done) >= 9 * MiB);
  else await passedAt(before, 10 * MiB);
  upload.child.kill(signal);
  const { code, stdout, stderr } = await upload.ended;
  expect(code).toBe(130);
  before.open();
  return { path, url, home, before, stdout, stderr };
};

/** A store tells nobody what comes into it: it is asked until it is there. */
const storedIn = async (dir: string, size: number): Promise<void> => {
  for (;;) {
    const { stdout } = await run(['ls', '--json', '--dir', dir]);
    if (events(stdout).some(({ received }) => Number(received) >= size)) return;
  }
};

/** The dam is no emitter; what it counts is looked at as the event loop turns. */
const passedAt = async (at: Dam, up: number): Promise<void> => {
  while (at.passed.up < up) await new Promise((resolve) => setImmediate(resolve));
};

describe('an upload that is interrupted', () => {
  test('goes on with the same command: less than the file is sent, and what arrives is the file', async () => {
    const { path, url, home, before, stdout } = await interrupted('SIGINT', '--json');
    const [last] = events(stdout).slice(-1);
    expect(last).toMatchObject({ event: 'error', code: 'SIGINT' });
    const sentBefore = before.passed.up;
    expect(await readdir(join(home, 'resumable-http'))).toHaveLength(1);
    const again = await run(['upload', '--json', path, url], { env: stateIn(home) });
    expect(again.code).toBe(0);
    const { location, status, bytesSent } = result(again.stdout);
    expect(status).toBe(201);
    expect(await sumOf(location)).toBe(sum);
    expect(Number(bytesSent)).toBeLessThan(bytes.length - 8 * MiB);
    expect(before.passed.up - sentBefore).toBeLessThan(bytes.length - 8 * MiB);
    expect(await readdir(join(home, 'resumable-http'))).toEqual([]);
  });

  test('by SIGTERM as well, and says how to go on', async () => {
    const { path, url, home, stderr } = await interrupted(
      'SIGTERM',
      '--header',
      'Authorization: Bearer secret',
    );
    expect(stderr).toContain('interrupted by SIGTERM\n');
    expect(stderr).toContain(`to go on: resumable-http upload --header 'Authorization: …' ${path} ${url}\n`);
    expect(stderr).not.toContain('secret');
    const again = await run(['upload', path, url], { env: stateIn(home) });
    expect(again).toMatchObject({ code: 0, stderr: expect.stringContaining('going on with an upload') });
  });

  test('begins anew, and says so, when the file has changed meanwhile', async () => {
    const { path, url, home } = await interrupted('SIGINT');
    const other = content(bytes.length, 2);
    await writeFile(path, other);
    await utimes(path, new Date(), new Date(Date.now() + 5_000));
    const again = await run(['upload', '--json', path, url], { env: stateIn(home) });
    expect(again.code).toBe(0);
    const notes = events(again.stdout).filter(({ event }) => event === 'note');
    expect(notes).toEqual([
      { event: 'note', message: `${path} has changed since its upload began: starting anew` },
    ]);
    expect(await sumOf(result(again.stdout).location)).toBe(sha256(other));
  });
});

test('an upload outlives its server, which is killed in the middle and started again', async () => {
  const [home, dir, path] = [await folder(), await folder(), await file(bytes)];
  const first = await serve('--dir', dir);
  const forwarder = await Forwarder.start();
  afterwards(() => forwarder.close());
  const before = await dam(first.port, { up: 10 * MiB });
  forwarder.to(before.port);
  const upload = start(['upload', '--json', path, uploadUrl(forwarder.port)], { env: stateIn(home) });
  await storedIn(dir, 8 * MiB);
  forwarder.hold();
  first.kill('SIGKILL');
  await first.exited();
  const back = await dam((await serve('--dir', dir)).port, {});
  forwarder.to(back.port);
  const { code, stdout } = await upload.ended;
  expect(code).toBe(0);
  const { location, bytesSent, bytesResent } = result(stdout);
  expect(await sumOf(location)).toBe(sum);
  expect(Number(bytesSent) - Number(bytesResent)).toBe(bytes.length);
  expect(back.passed.up).toBeLessThan(bytes.length - 7 * MiB);
});

test('an upload that the server has forgotten begins anew', async () => {
  const [home, path] = [await folder(), await file(bytes)];
  const forwarder = await Forwarder.start();
  afterwards(() => forwarder.close());
  const first = await serve('--store', 'memory');
  const before = await dam(first.port, { up: 10 * MiB });
  forwarder.to(before.port);
  const args = ['upload', '--json', path, uploadUrl(forwarder.port)];
  const upload = start(args, { env: stateIn(home) });
  await upload.seen(({ event, done }) => event === 'progress' && Number(done) >= 9 * MiB);
  upload.child.kill('SIGINT');
  await upload.ended;
  first.kill('SIGKILL');
  await first.exited();
  forwarder.to((await serve('--store', 'memory')).port);
  const { code, stdout } = await run(args, { env: stateIn(home) });
  expect(code).toBe(0);
  expect(events(stdout).map(({ message }) => message)).toContain(
    `${path}: the server no longer has what was sent before: starting anew`,
  );
  expect(await sumOf(result(stdout).location)).toBe(sum);
});

describe('upload', () => {
  test('sends several files, and standard input, and prints the answer to each', async () => {
    const [home, dir] = [await folder(), await folder()];
    const server = await serve('--dir', dir);
    const [one, two] = [content(100_000, 5), content(200_000, 6)];
    const paths = [await file(one, 'one.bin'), await file(two, 'two.bin')];
    const url = uploadUrl(server.port);
    const { code, stdout, stderr } = await run(['upload', ...paths, '-', url], {
      env: stateIn(home),
      input: bytes.subarray(0, 3 * MiB),
    });
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(3);
    const sums = [one, two, bytes.subarray(0, 3 * MiB)].map(sha256);
    for (const [index, name] of ['one.bin', 'two.bin', 'stdin'].entries()) {
      const [status, location, label] = lines[index]?.split(' ') ?? [];
      expect([status, label]).toEqual(['201', name]);
      expect(await sumOf(location)).toBe(sums[index]);
    }
  });

  test('sends over several connections, in requests that are no larger than they may be', async () => {
    const [home, dir, path] = [await folder(), await folder(), await file(bytes)];
    const server = await serve('--dir', dir);
    const args = ['upload', '--json', '--parallel', '3', '--max-request', '2M', path, uploadUrl(server.port)];
    const { code, stdout } = await run(args, { env: stateIn(home) });
    expect(code).toBe(0);
    const { location, attempts } = result(stdout);
    expect(Number(attempts)).toBeGreaterThanOrEqual(12 + 1);
    expect(await sumOf(location)).toBe(sum);
  });

  test('sends headers, and the name of the file', async () => {
    const server = await scripted(named, done);
    const path = await file(content(1_000), 'Über film.mp4');
    const args = ['upload', '--header', 'X-One: 1', '--header=Authorization:Bearer a:b', path, server.url];
    const { code, stdout } = await run(args, { env: stateIn(await folder()) });
    expect([code, stdout]).toEqual([0, '201 - Über film.mp4\n']);
    for (const { headers } of server.seen) {
      expect(headers).toMatchObject({ 'x-one': '1', authorization: 'Bearer a:b' });
    }
    const name = Buffer.from('Über film.mp4').toString('base64');
    expect(server.seen[0]?.headers['upload-metadata']).toBe(`filename ${name}`);
  });

  test('goes on with the next file when one is refused, and ends with 1', async () => {
    const home = await folder();
    const server = await scripted(named, answer(403, {}, 'not yours'), named, done);
    const paths = [await file(content(1_000), 'one.bin'), await file(content(1_000), 'two.bin')];
    const { code, stdout, stderr } = await run(['upload', ...paths, server.url], { env: stateIn(home) });
    expect([code, stdout]).toEqual([1, '201 - two.bin\n']);
    expect(stderr).toContain('the server answered 403 Forbidden: not yours');
  });

  test('keeps nothing of an upload whose content was refused for good', async () => {
    const home = await folder();
    const server = await scripted(named, answer(415, {}, 'no films'));
    const path = await file(content(1_000));
    const { code, stderr } = await run(['upload', path, server.url], { env: stateIn(home) });
    expect(code).toBe(1);
    expect(stderr).toContain('415 Unsupported Media Type: no films');
    expect(stderr).not.toContain('to go on');
    expect(await readdir(join(home, 'resumable-http'))).toEqual([]);
  });

  test('works where no state can be kept, and says that it is not', async () => {
    const dir = await folder();
    const server = await serve('--dir', dir);
    const path = await file(content(100_000));
    const taken = await file(content(1), 'taken');
    const { code, stderr } = await run(['upload', path, uploadUrl(server.port)], { env: stateIn(taken) });
    expect(code).toBe(0);
    expect(stderr).toContain('has got to cannot be kept: ');
  });

  test('of standard input that is interrupted the server is told to keep nothing', async () => {
    let deleted = (): void => undefined;
    const removed = new Promise<void>((resolve) => {
      deleted = resolve;
    });
    const server = await serverOf((number) => (request, response, seen) => {
      if (request.method === 'DELETE') deleted();
      if (number === 0) return named(request, response, seen);
      if (request.method === 'DELETE') return answer(204)(request, response, seen);
      request.resume();
      return undefined;
    });
    const upload = start(['upload', '--json', '-', server.url], { input: bytes });
    await upload.seen(({ event, done }) => event === 'progress' && Number(done) > 0);
    upload.child.kill('SIGINT');
    const { code } = await upload.ended;
    await removed;
    expect(code).toBe(130);
  });

  test('a second signal ends it at once; one that npm has doubled does not', async () => {
    const server = await serverOf((number) => (request, response, seen) => {
      if (number === 0) return named(request, response, seen);
      request.resume(); // and never an answer, to the DELETE neither
      return undefined;
    });
    const upload = start(['upload', '--json', '-', server.url], { input: bytes });
    await upload.seen(({ event, done }) => event === 'progress' && Number(done) > 0);
    upload.child.kill('SIGINT');
    upload.child.kill('SIGTERM'); // two of one kind, the system may make one of
    while (upload.child.exitCode === null && !server.seen.some(({ method }) => method === 'DELETE')) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(upload.child.exitCode).toBeNull();
    const at = performance.now();
    // Signals that come together are one; a person takes longer.
    const again = setInterval(() => upload.child.kill('SIGINT'), 200);
    await once(upload.child, 'exit');
    clearInterval(again);
    expect((await upload.ended).code).toBe(130);
    expect(performance.now() - at).toBeLessThan(2_500); // the DELETE is waited for 5 seconds
  });
});

test('a file that is gone before its turn is a failure of its own', async () => {
  const home = await folder();
  const names = ['one.bin', 'two.bin', 'three.bin'];
  const paths = await Promise.all(names.map((name) => file(content(1_000), name)));
  const server = await serverOf((number) => async (request, response, seen) => {
    if (number === 1) await rm(paths[1] ?? '');
    return (number % 2 === 0 ? named : done)(request, response, seen);
  });
  const { code, stdout, stderr } = await run(['upload', ...paths, server.url], { env: stateIn(home) });
  expect([code, stdout]).toEqual([1, '201 - one.bin\n201 - three.bin\n']);
  expect(stderr).toBe(`no such file or folder: ${paths[1]}\n`);
});
