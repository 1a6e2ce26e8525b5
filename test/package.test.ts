import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startS3Double } from './support/s3/double.ts';

// What somebody gets who installs the package in a project of their own and copies from the README.

const run = promisify(execFile);
const root = new URL('..', import.meta.url).pathname;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

let app = '';
let film = Buffer.alloc(0);
const children: ChildProcess[] = [];

/** The only fenced block of README.md in this language that holds this text. */
const block = async (language: string, text: string): Promise<string> => {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)];
  const found = blocks.filter(([, name, code]) => name === language && code?.includes(text));
  expect(found).toHaveLength(1);
  return found[0]?.[2] ?? '';
};

/** Starts a server in the app's folder; resolves with its port, which it prints as the last number of its first line. */
const start = async (...args: string[]): Promise<string> => {
  const child = spawn(process.execPath, args, {
    cwd: app,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return /(\d+)$/.exec(line)?.[1] ?? '';
};

beforeAll(async () => {
  app = await mkdtemp(join(tmpdir(), 'resumable-package-'));
  film = randomBytes(3 * 1024 * 1024);
  await writeFile(join(app, 'film.mp4'), film);
  await writeFile(join(app, 'package.json'), '{"type":"module"}');
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', app], { cwd: root });
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf('['))) as [{ filename: string }];
  const target = join(app, 'node_modules', 'resumable-http');
  await run('mkdir', ['-p', target]);
  await run('tar', ['-xzf', join(app, filename), '-C', target, '--strip-components=1']);
}, 120_000);

afterAll(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  await rm(app, { recursive: true, force: true });
});

describe('the packed package', () => {
  it('holds the build, the README and the licence, and nothing else', async () => {
    const names = await readdir(join(app, 'node_modules', 'resumable-http'));
    expect(names.sort()).toEqual(['LICENSE', 'README.md', 'dist', 'package.json']);
  });

  it('has types that a strict project accepts', async () => {
    const source = [
      `import { listen, resumable, UploadError } from 'resumable-http';`,
      `import { upload } from 'resumable-http/client';`,
      `import { fsStore } from 'resumable-http/stores/fs';`,
      `import { memoryStore } from 'resumable-http/stores/memory';`,
      `import { type SqliteStore, sqliteStore } from 'resumable-http/stores/sqlite';`,
      `const uploads = resumable({ store: fsStore('./x', { durability: 'process' }) }, (req, res) => {`,
      `  const length: number | undefined = req.upload?.length;`,
      `  res.end(String(length));`,
      `});`,
      `export const port: Promise<unknown> = listen(uploads, { port: 0 });`,
      `export const result: Promise<{ status: number }> = upload('http://127.0.0.1/', Buffer.of()).result;`,
      `export const others = [memoryStore, UploadError];`,
      `const store: SqliteStore = sqliteStore({ directory: './y' });`,
      `export const films = store.find({ states: ['finished'], metadata: { name: 'kind', value: 'film' } });`,
    ].join('\n');
    await writeFile(join(app, 'check.ts'), source);
    const tsc = join(root, 'node_modules', '.bin', 'tsc');
    const types = join(root, 'node_modules', '@types');
    const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023'];
    await run(tsc, [...flags, '--typeRoots', types, '--types', 'node', 'check.ts'], { cwd: app });
  });

  it('says which package the sqlite store needs where that is missing, and works where it is there', async () => {
    const script = [
      `import { sqliteStore } from 'resumable-http/stores/sqlite';`,
      `const store = sqliteStore({ directory: './indexed' });`,
      `const record = { id: 'a'.repeat(22), createdAt: 1, state: 'open', metadata: {}, attempt: 0 };`,
      `await store.create(record);`,
      `console.log(await store.count());`,
      `await store.close();`,
    ].join('\n');
    await writeFile(join(app, 'indexed.js'), script);
    const missing = await run(process.execPath, ['indexed.js'], { cwd: app }).catch(
      (error: unknown) => error,
    );
    expect(missing).toMatchObject({ code: 1 });
    expect((missing as { stderr: string }).stderr).toMatch(/code: 'not_supported'/);
    expect((missing as { stderr: string }).stderr).toContain('npm install better-sqlite3@12');
    await symlink(
      join(root, 'node_modules', 'better-sqlite3'),
      join(app, 'node_modules', 'better-sqlite3'),
      'dir',
    );
    const { stdout } = await run(process.execPath, ['indexed.js'], { cwd: app });
    expect(stdout).toBe('{ uploads: 1, bytes: 0 }\n');
  });

  it('runs the queries of the README', async () => {
    await writeFile(join(app, 'queries.js'), await block('js', 'store.find('));
    const { stdout } = await run(process.execPath, ['queries.js'], { cwd: app });
    expect(stdout).toBe('{ uploads: 0, bytes: 0 }\n');
  });

  it('keeps uploads in a bucket, as the README shows', async () => {
    await symlink(join(root, 'node_modules', '@aws-sdk'), join(app, 'node_modules', '@aws-sdk'), 'dir');
    const double = await startS3Double({ buckets: ['my-uploads'] });
    try {
      const code = await block('js', 's3Store(');
      const local = code.replace('S3Client()', `S3Client(${JSON.stringify(double.clientConfig)})`);
      await writeFile(
        join(app, 'bucket.js'),
        `${local}\nconsole.log(await store.load('none-of-that-name'));`,
      );
      const { stdout } = await run(process.execPath, ['bucket.js'], { cwd: app });
      expect(stdout).toBe('undefined\n');
      expect(double.log.map(({ query }) => query.prefix)).toContain('incoming/none-of-that-name/');
    } finally {
      await double.close();
    }
  });

  it('tests a store of one’s own, as the README shows', async () => {
    await writeFile(
      join(app, 'my-store.js'),
      `export { memoryStore as myStore } from 'resumable-http/stores/memory';`,
    );
    await writeFile(join(app, 'my-store.test.js'), await block('js', 'storeSuite('));
    const { stdout } = await run(process.execPath, ['--test', 'my-store.test.js'], { cwd: app });
    expect(stdout).toMatch(/^# fail 0$/m);
    expect(Number(/^# pass (\d+)$/m.exec(stdout)?.[1])).toBeGreaterThan(100);
    expect(stdout).toContain('skipped: ');
  });

  it('uploads, downloads and lists from the command line, as the README shows', async () => {
    const program = 'node node_modules/resumable-http/dist/src/cli.js';
    const [, ...serve] = (await block('sh', 'resumable-http serve '))
      .replace(/ +#.*/, '')
      .trim()
      .replace('npx resumable-http', program)
      .split(' ');
    const port = await start(...serve, '--port', '0');
    const commands = (await block('sh', 'resumable-http upload'))
      .replaceAll('npx resumable-http', program)
      .replaceAll(':8080', `:${port}`);
    const env = { ...process.env, XDG_STATE_HOME: join(app, 'state') };
    const { stdout } = await run('bash', ['-ec', commands], { cwd: app, env });
    expect(sha256(await readFile(join(app, 'copy.mp4')))).toBe(sha256(film));
    expect(stdout).toMatch(/finished +3\.0 MiB of 3\.0 MiB .* film\.mp4\n$/);
    const page = await fetch(`http://127.0.0.1:${port}/`, { headers: { Accept: 'text/html' } });
    const module = /<script type="module" src="([^"]+)"/.exec(await page.text())?.[1];
    expect((await fetch(`http://127.0.0.1:${port}${module}`)).headers.get('content-type')).toContain(
      'javascript',
    );
  });

  it('runs as the README shows: the ten-line server and the five-line client', async () => {
    const server = (await block('js', 'thank you')).replace('8080', '0');
    await writeFile(join(app, 'server.js'), `${server}\nconsole.log(server.address().port);\n`);
    const port = await start('server.js');
    await writeFile(join(app, 'client.js'), (await block('js', 'resumes by itself')).replace('8080', port));
    const { stdout } = await run(process.execPath, ['client.js'], { cwd: app });
    expect(stdout).toBe('201 thank you\n');
    const [name = ''] = await readdir(join(app, 'films'));
    expect(sha256(await readFile(join(app, 'films', name)))).toBe(sha256(film));
  });

  describe('runs in frameworks as the README shows', () => {
    beforeAll(async () => {
      const packages = [
        'express',
        'multer',
        'koa',
        '@koa',
        'koa-body',
        'fastify',
        '@fastify',
        'hono',
        '@hono',
      ];
      for (const name of packages) {
        await symlink(join(root, 'node_modules', name), join(app, 'node_modules', name), 'dir');
      }
      // Prints a server's port when it listens, whichever framework has made it.
      const told = [
        `import { Server } from 'node:net';`,
        `const { listen } = Server.prototype;`,
        `Server.prototype.listen = function (...args) {`,
        `  this.once('listening', () => console.log(this.address().port));`,
        `  return listen.apply(this, args);`,
        `};`,
      ];
      await writeFile(join(app, 'told.js'), told.join('\n'));
    });

    it.each(['express', 'koa', 'fastify', 'hono'])(
      '%s: a form in two parts, on two connections, and its answer once more',
      async (name) => {
        const code = await block('js', `framework: '${name}'`);
        await writeFile(join(app, `${name}.js`), code.replace('8080', '0'));
        const port = await start('--import', './told.js', `${name}.js`);
        const form = new FormData();
        form.append('photo', new Blob([new Uint8Array(film.subarray(0, 900_000))]), 'photo.jpg');
        const response = new Response(form);
        const type = response.headers.get('content-type') ?? '';
        const bytes = new Uint8Array(await response.arrayBuffer());
        const url = `http://127.0.0.1:${port}`;
        const post = (target: string, range: string, body?: Uint8Array<ArrayBuffer>): Promise<Response> =>
          fetch(url + target, {
            method: 'POST',
            redirect: 'manual',
            headers: {
              'Content-Type': type,
              'Content-Range': `bytes ${range}/${bytes.length}`,
              Connection: 'close',
            },
            ...(body && { body }),
          });
        const place = (await post('/photos', '*')).headers.get('location') ?? '';
        const first = await post(place, '0-299999', bytes.subarray(0, 300_000));
        expect([first.status, first.headers.get('range')]).toEqual([308, 'bytes=0-299999']);
        const answer = await post(place, `300000-${bytes.length - 1}`, bytes.subarray(300_000));
        const expected = { framework: name, name: 'photo.jpg', bytes: 900_000 };
        expect([answer.status, await answer.json()]).toEqual([201, expected]);
        const again = await post(place, '*');
        expect([again.status, await again.json()]).toEqual([201, expected]);
      },
    );
  });

  it('gives content and files back in ranges, as the README shows', async () => {
    const server = (await block('js', 'uploadEntity(')).replace('8080', '0');
    await mkdir(join(app, 'public'));
    await writeFile(join(app, 'public', 'a.txt'), 'abcdefgh');
    await writeFile(join(app, 'downloads.js'), `${server}\nconsole.log(server.address().port);\n`);
    const origin = `http://127.0.0.1:${await start('downloads.js')}`;
    const part = await fetch(`${origin}/a.txt`, { headers: { Range: 'bytes=2-4' } });
    expect([part.status, await part.text()]).toEqual([206, 'cde']);
    expect((await fetch(`${origin}/..%2fpackage.json`)).status).toBe(404);
    const uploaded = await fetch(`${origin}/upload`, { method: 'POST', body: film });
    const content = await fetch(`${origin}${uploaded.headers.get('location')}`);
    expect(sha256(new Uint8Array(await content.arrayBuffer()))).toBe(sha256(film));
    const etag = content.headers.get('etag') ?? '';
    const again = await fetch(content.url, { headers: { 'If-None-Match': etag } });
    expect(again.status).toBe(304);
  });

  it('sends several sources as one content and gets it back, as the README shows', async () => {
    const server = (await block('js', 'uploadEntity(')).replace('8080', '0');
    await writeFile(join(app, 'films.js'), `${server}\nconsole.log(server.address().port);\n`);
    const port = await start('films.js');
    const opening = randomBytes(100_000);
    await writeFile(join(app, 'opening.mp4'), opening);
    const client = (await block('js', 'freshToken()')).replaceAll('8080', port);
    await writeFile(join(app, 'both.js'), `const freshToken = async () => 'a';\n${client}`);
    const { stdout } = await run(process.execPath, ['both.js'], { cwd: app });
    expect(stdout).toMatch(/^done 3245728 3245728 0$/m);
    expect(sha256(await readFile(join(app, 'both.mp4')))).toBe(sha256(Buffer.concat([opening, film])));
  });

  it('streams as the README shows', async () => {
    const code = (await block('js', "mode: 'stream'")).replace('8080', '0');
    await writeFile(join(app, 'stream.js'), `${code}\nconsole.log(server.address().port);\n`);
    const url = `http://127.0.0.1:${await start('stream.js')}/`;
    const client = `
      import { upload } from 'resumable-http/client';
      const headers = { 'Content-Type': process.argv[2] };
      const { status, body = '' } = await upload('${url}', './film.mp4', { headers }).result.catch((error) => error);
      console.log(status, String(body));`;
    await writeFile(join(app, 'stream-client.js'), client);
    const sent = (type: string) => run(process.execPath, ['stream-client.js', type], { cwd: app });
    expect((await sent('video/mp4')).stdout).toBe(`200 ${sha256(film)}\n`);
    expect((await sent('text/plain')).stdout).toBe('415 \n');
  });

  it.runIf(spawnSync('curl', ['--version']).status === 0)(
    'resumes with curl alone, by the commands of the README',
    async () => {
      const cli = join('node_modules', 'resumable-http', 'dist', 'src', 'cli.js');
      const port = await start(cli, 'serve', '--port', '0', '--dir', 'served');
      const commands = (await block('sh', 'Content-Range')).replaceAll(':8080', `:${port}`);
      const { stdout } = await run('bash', ['-c', `${commands}\necho "last=$last" >&2`], { cwd: app });
      const answer = JSON.parse(stdout) as {
        id: string;
        size: number;
        sha256: string;
      };
      expect(answer).toMatchObject({ size: film.length, sha256: sha256(film) });
      const content = await fetch(`http://127.0.0.1:${port}/files/${answer.id}`);
      expect(sha256(new Uint8Array(await content.arrayBuffer()))).toBe(sha256(film));
    },
  );
});
