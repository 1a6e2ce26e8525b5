import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, writeFile } from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { problemOf } from '../../src/cli/problems.ts';
import { serveRanges } from '../support/range-server.ts';
import { content } from '../support/requests.ts';
import { afterwards, answer, named, scripted } from '../support/scripted-server.ts';
import { file, folder, nodeArgs, run, serve, stateIn } from './support.ts';

// What a person meets, and what it says to do. Never a stack.

const MiB = 1024 * 1024;
const bytes = content(1_000);

const expectLines = (stderr: string, ...lines: (string | RegExp)[]): void => {
  const printed = stderr.split('\n').slice(0, -1);
  expect(printed).toEqual(
    lines.map((line) => (typeof line === 'string' ? line : expect.stringMatching(line))),
  );
};

/** A port on which nobody listens. */
const freePort = async (): Promise<number> => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
};

const upload = async (url: string, ...more: string[]) =>
  run(['upload', ...more, await file(bytes), url], { env: stateIn(await folder()) });

describe('serve', () => {
  test('on a port that is taken', async () => {
    const taken = net.createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    afterwards(() => taken.close());
    const port = String((taken.address() as AddressInfo).port);
    const { code, stderr } = await run(['serve', '--port', port, '--dir', await folder()]);
    expect(code).toBe(1);
    expectLines(stderr, `port ${port} is in use`, '--port 0 picks a free one');
  });

  test('on an address that is not of this machine', async () => {
    const { code, stderr } = await run(['serve', '--host', '192.0.2.1', '--dir', await folder()]);
    expect(code).toBe(1);
    expectLines(stderr, '192.0.2.1 is no address of this machine', /^--host 127\.0\.0\.1 /);
  });

  test('into a folder that is a file', async () => {
    const path = await file(bytes);
    const { code, stderr } = await run(['serve', '--port', '0', '--dir', join(path, 'uploads')]);
    expect(code).toBe(1);
    expectLines(stderr, `${join(path, 'uploads')}: a file is where a folder has to be`);
  });

  test.runIf(process.getuid?.() === 0)('into a folder that may not be written', async () => {
    const dir = await folder();
    await chmod(dir, 0o555);
    const refused = await run(['serve', '--port', '0', '--dir', dir], { uid: 65534 });
    expect(refused.code).toBe(1);
    expectLines(refused.stderr, `${dir}: permission denied`, /^it has to be .*writable/);
  });

  test('warns when everybody may come in', async () => {
    const server = spawn(
      process.execPath,
      [...nodeArgs(), 'serve', '--port', '0', '--host', '0.0.0.0', '--store', 'memory'],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    afterwards(() => server.kill('SIGKILL'));
    const stdout = text(server.stdout);
    const [said] = (await once(server.stderr, 'data')) as [Buffer];
    expect(String(said)).toContain('whoever can reach 0.0.0.0 may upload here');
    server.kill('SIGTERM');
    expect(await once(server, 'exit')).toEqual([0, null]);
    expect(await stdout).toMatch(/^listening on http:\/\/127\.0\.0\.1:\d+\n/);
  });
});

describe('upload', () => {
  test('to a URL where nothing takes uploads', async () => {
    const server = await serve('--store', 'memory');
    const origin = `http://127.0.0.1:${server.port}`;
    for (const [path, status] of [
      ['/uploads', '404'],
      ['/files/x', '404'],
    ]) {
      const { code, stderr } = await upload(origin + path);
      expect(code).toBe(1);
      expectLines(
        stderr,
        new RegExp(`${path}: the server answered ${status} `),
        `is there a resumable-http server? One that "serve" has started takes uploads at ${origin}/upload`,
      );
    }
    const post = await scripted(answer(405));
    expectLines((await upload(post.url)).stderr, /answered 405/, /is there a resumable-http server\?/);
  });

  test('to a server that knows nothing of this', async () => {
    const server = await scripted(answer(200, {}, 'thanks'));
    const { code, stderr } = await upload(server.url);
    expect(code).toBe(1);
    expectLines(
      stderr,
      /it cannot resume/,
      `this server cannot resume; a plain upload: curl -T FILE ${server.url}`,
    );
  });

  test('to a server that wants to know who it is', async () => {
    const server = await scripted(answer(401, {}, 'who?'));
    const { stderr } = await upload(server.url);
    expectLines(stderr, /401 Unauthorized: who\?/, /--header 'Authorization: …'/);
  });

  test('to a server that is not there is tried for as long as was said', async () => {
    const port = await freePort();
    const { code, stderr } = await upload(`http://127.0.0.1:${port}/upload`, '--retry-for', '1');
    expect(code).toBe(1);
    expectLines(
      stderr,
      `no answer from http://127.0.0.1:${port}; trying again until 1 s have passed`,
      `no connection to http://127.0.0.1:${port} for 1 s (ECONNREFUSED)`,
      'nothing listens there: is the server running, on that port?',
    );
  });

  test('to a server that has gone keeps what has arrived', async () => {
    let cut = false;
    const server = await scripted(named, (request) => {
      cut = true;
      request.socket.destroy();
    });
    const { code, stderr } = await upload(server.url, '--retry-for', '0');
    expect([code, cut]).toEqual([1, true]);
    expectLines(
      stderr,
      /no connection to .* for 0 s/,
      'is the server running, and the network up?',
      /^what has arrived is kept; to go on: resumable-http upload --retry-for 0 /,
    );
  });

  test('to a server whose disk is full', async () => {
    const dir = await folder();
    // What the system says to a file that grows past the limit is what a server makes of a full disk.
    const server = spawn(
      'bash',
      [
        '-c',
        'ulimit -f 2048; exec "$0" "$@"',
        process.execPath,
        ...nodeArgs(),
        'serve',
        '--port',
        '0',
        '--dir',
        dir,
      ],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    afterwards(() => server.kill('SIGKILL'));
    const [line] = (await once(server.stdout, 'data')) as [Buffer];
    const origin = /http:\S+/.exec(String(line))?.[0];
    const path = await file(content(5 * MiB));
    const { code, stderr } = await run(['upload', path, `${origin}/upload`], {
      env: stateIn(await folder()),
    });
    expect(code).toBe(1);
    expectLines(
      stderr,
      'the disk of the server is full',
      'try again when there is room',
      /^what has arrived is kept/,
    );
  });

  test('of what is no file, before anything is sent', async () => {
    const dir = await folder();
    const there = await file(bytes);
    const server = await scripted();
    const missing = join(dir, 'missing');
    const { code, stderr } = await run(['upload', there, dir, missing, server.url]);
    expect([code, server.seen.length]).toEqual([1, 0]);
    expect(stderr).toContain(`${dir} is not a file\na folder is sent as an archive: tar `);
    expect(stderr).toContain(`no such file or folder: ${missing}\n`);
  });

  test.runIf(process.getuid?.() === 0)('of a file that may not be read', async () => {
    const path = await file(bytes);
    await chmod(join(path, '..'), 0o755);
    await chmod(path, 0o600);
    const server = await serve('--store', 'memory');
    const home = await folder();
    await chmod(home, 0o777);
    const url = `http://127.0.0.1:${server.port}/upload`;
    const { code, stderr } = await run(['upload', path, url], { uid: 65534, env: stateIn(home) });
    expect(code).toBe(1);
    expectLines(stderr, `${path}: permission denied`, 'it has to be readable, or writable, by you');
  });

  test('over TLS where there is none, and to a host that is none', async () => {
    const server = await serve('--store', 'memory');
    const tls = await upload(`https://127.0.0.1:${server.port}/upload`, '--retry-for', '0');
    expectLines(tls.stderr, /no connection to https:/, 'no TLS there: is it http:// rather than https://?');
    const host = await upload('http://no-such-host.invalid/upload', '--retry-for', '0');
    expectLines(host.stderr, /\((ENOTFOUND|EAI_AGAIN)\)$/, /is it spelt as it should be|is the network up/);
  });
});

describe('download', () => {
  test('of what is not there', async () => {
    const server = await serve('--store', 'memory');
    const url = `http://127.0.0.1:${server.port}/files/none`;
    for (const more of [[], ['film.mp4']]) {
      const { code, stderr } = await run(['download', url, ...more], { cwd: await folder() });
      expect(code).toBe(1);
      expectLines(
        stderr,
        `${url}: the server answered 404 Not Found`,
        'is that the URL an upload was answered with?',
      );
    }
  });

  test('from a server that is not there', async () => {
    const port = await freePort();
    for (const more of [[], ['film.mp4']]) {
      const { code, stderr } = await run(
        ['download', '--retry-for', '1', `http://127.0.0.1:${port}/a`, ...more],
        { cwd: await folder() },
      );
      expect(code).toBe(1);
      expectLines(stderr, /^no connection to .* for 1 s \(ECONNREFUSED\)$/, /^nothing listens there/);
    }
  });

  test('into a folder that is not there', async () => {
    const { code, stderr } = await run(['download', 'http://127.0.0.1:9/a', '/nowhere/film.mp4']);
    expect(code).toBe(1);
    expectLines(stderr, 'no such file or folder: /nowhere');
  });

  test('to a disk that has no room for it', async () => {
    const server = await serveRanges({ content: content(5 * MiB), etag: '"a"' });
    const cwd = await folder();
    const shell = spawn(
      'bash',
      [
        '-c',
        'ulimit -f 2048; exec "$0" "$@"',
        process.execPath,
        ...nodeArgs(),
        'download',
        server.url,
        'film.mp4',
      ],
      { cwd, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const [stderr, [code]] = await Promise.all([text(shell.stderr), once(shell, 'exit')]);
    expect(code).toBe(1);
    expectLines(
      stderr,
      'film.mp4 is larger than files may be here',
      /^see ulimit -f/,
      /^what has arrived is kept; to go on: /,
    );
  });
});

describe('a store', () => {
  test('that is not there', async () => {
    const dir = join(await folder(), 'none');
    for (const args of [['ls'], ['rm', 'a'.repeat(22)], ['gc']]) {
      const { code, stderr } = await run([...args, '--dir', dir]);
      expect(code).toBe(1);
      expectLines(stderr, `no folder ${dir}: --dir says where uploads are kept`);
    }
  });

  test('in a bucket, or a database, whose package is not installed', async () => {
    const from = await folder();
    for (const name of ['src', 'stores']) {
      await cp(new URL(`../../${name}`, import.meta.url), join(from, name), { recursive: true });
    }
    await writeFile(join(from, 'package.json'), '{"type":"module"}');
    await mkdir(join(from, 'uploads'));
    const bucket = await run(['ls', '--store', 's3', '--bucket', 'b'], { from, cwd: from });
    expect(bucket.code).toBe(1);
    expectLines(
      bucket.stderr,
      /^--store s3 needs the package @aws-sdk\/client-s3: npm install @aws-sdk\/client-s3@3$/,
    );
    const database = await run(['ls', '--store', 'sqlite'], { from, cwd: from });
    expect(database.code).toBe(1);
    expectLines(
      database.stderr,
      /^sqliteStore needs the package better-sqlite3: npm install better-sqlite3@\d+$/,
    );
  });

  test('in a bucket that is not there, or without credentials', async () => {
    const port = await freePort();
    const env = {
      AWS_REGION: 'eu-central-1',
      AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`,
      AWS_ACCESS_KEY_ID: 'a',
      AWS_SECRET_ACCESS_KEY: 'b',
      AWS_MAX_ATTEMPTS: '1',
      NODE_OPTIONS: '--no-warnings', // the SDK's own, of old versions of Node
    };
    const { code, stderr } = await run(['ls', '--store', 's3', '--bucket', 'b'], { env });
    expect(code).toBe(1);
    expectLines(stderr, /^the bucket b cannot be reached: .*ECONNREFUSED/);
  });
});

test('a full disk, as the system says it, is told from one that cannot be written', async () => {
  const full = await writeFile('/dev/full', 'x').catch((error: unknown) => error);
  expect(problemOf(full, { path: 'film.mp4' })).toEqual({
    code: 'ENOSPC',
    message: 'the disk is full: film.mp4',
    hints: ['make room, and run it again'],
  });
});

test('a mistake of the program is no problem of the person', () => {
  expect(problemOf(new TypeError('undefined is not a function'))).toBeUndefined();
});

test('whoever has seen enough of the output ends the program without a word', () => {
  const command = `${[process.execPath, ...nodeArgs()].join(' ')} --help | true`;
  const { stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8' });
  expect(stderr).toBe('');
});
