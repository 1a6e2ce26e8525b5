import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { content, sha256 } from './support/requests.ts';

const run = promisify(execFile);
const root = new URL('..', import.meta.url).pathname;
const loader = join(root, 'node_modules/tsx/dist/loader.mjs');
const guide = await readFile(join(root, 'src', 'client', 'README.md'), 'utf8');
const film = content(3 * 1024 * 1024);

const blocksOf = (text: string): string[] =>
  [...text.matchAll(/^```\w+\n([\s\S]*?)^```$/gm)].map(([, code = '']) => code);

const shown = blocksOf(guide);
const seen = new Set<string>();

/** The only block with this text in it. */
const block = (text: string, blocks = shown): string => {
  const [code = '', ...more] = blocks.filter((each) => each.includes(text));
  expect([code === '', more]).toEqual([false, []]);
  seen.add(code);
  return code;
};

/** What it imports of the package is taken from here. */
const fromHere = (code: string): string =>
  code.replace(/'resumable-http(\/stores\/fs|\/client)?'/g, (_, entry = '') => {
    const paths: Record<string, string> = { '/client': 'src/client/index.ts', '/stores/fs': 'stores/fs.ts' };
    return JSON.stringify(join(root, paths[entry] ?? 'src/index.ts'));
  });

let server = '';
let port = '';
let stop: () => Promise<unknown> = async () => undefined;

beforeAll(async () => {
  server = await mkdtemp(join(tmpdir(), 'resumable-guide-'));
  await symlink(join(root, 'node_modules'), join(server, 'node_modules'), 'dir');
  await mkdir(join(server, 'public'));
  await writeFile(join(server, 'public', 'film.mp4'), film);
  const yesterday = new Date(Date.now() - 24 * 60 * 60 * 1000);
  await utimes(join(server, 'public', 'film.mp4'), yesterday, yesterday);
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const code = fromHere(block('uploadEntity(', blocksOf(readme))).replace('8080', '0');
  await writeFile(join(server, 'server.mts'), `${code}\nconsole.log(server.address().port);\n`);
  const child = spawn(process.execPath, ['--import', loader, 'server.mts'], {
    cwd: server,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  stop = async () => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  port = line;
});

afterAll(async () => {
  await stop();
  await rm(server, { recursive: true, force: true });
});

/** A folder of the reader's own. */
const readersFolder = async (): Promise<string> => {
  const folder = await mkdtemp(join(server, 'reader-'));
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'), 'dir');
  return folder;
};

/** Runs the block with this text as a script of the reader's. */
const runBlock = async (text: string, folder: string): Promise<{ stdout: string; stderr: string }> => {
  const code = fromHere(block(text)).replaceAll('8080', port);
  await writeFile(join(folder, 'example.mts'), code);
  return run(process.execPath, ['--import', loader, 'example.mts'], { cwd: folder });
};

const sumOf = async (folder: string, name: string): Promise<string> =>
  sha256(await readFile(join(folder, name)));

describe('what the guide to downloads shows', () => {
  test('gives a part of a file', async () => {
    const { stdout } = await runBlock('bytes=500-999', await readersFolder());
    expect(stdout).toBe(`bytes 500-999/${film.length} 500\n`);
  });

  test('downloads with progress, and leaves nothing else behind', async () => {
    const folder = await readersFolder();
    const { stdout } = await runBlock('rate, etaMs', folder);
    expect(stdout).toContain(`${film.length} ${film.length}`);
    expect(stdout).toContain('verified: undefined');
    expect(await sumOf(folder, 'film.mp4')).toBe(sha256(film));
    expect((await readdir(folder)).sort()).toEqual(['example.mts', 'film.mp4', 'node_modules']);
  });

  test('refuses a file that is another by now', async () => {
    const folder = await readersFolder();
    await writeFile(join(folder, 'film.mp4.partial'), film.subarray(0, 1000));
    const note = {
      version: 1,
      url: `http://127.0.0.1:${port}/film.mp4`,
      validator: '"an older one"',
      length: film.length,
      ranges: [[0, 1000]],
    };
    await writeFile(join(folder, 'film.mp4.partial.json'), JSON.stringify(note));
    const { stderr } = await runBlock("onChange: 'fail'", folder);
    expect(stderr).toMatch(/^digest_conflict /m);
    expect(await readdir(folder)).not.toContain('film.mp4');
  });

  test.runIf(spawnSync('curl', ['--version']).status === 0)('goes on with curl', async () => {
    const folder = await readersFolder();
    await writeFile(join(folder, 'film.mp4'), film.subarray(0, 1_000_000));
    await run('bash', ['-c', block('curl ').replaceAll('8080', port)], { cwd: folder });
    expect(await sumOf(folder, 'film.mp4')).toBe(sha256(film));
  });

  test('checks what was uploaded with a digest', async () => {
    const folder = await readersFolder();
    await writeFile(join(folder, 'film.mp4'), film);
    const { stdout } = await runBlock('Repr-Digest', folder);
    expect(stdout).toBe('sha-256\n');
    expect(await sumOf(folder, 'copy.mp4')).toBe(sha256(film));
  });

  test('makes one content of many', async () => {
    const folder = await readersFolder();
    for (const name of ['monday', 'tuesday', 'today'])
      await writeFile(join(folder, `${name}.log`), `${name}\n`);
    const { stdout } = await runBlock('monday.log', folder);
    const reply = await fetch(`http://127.0.0.1:${port}${stdout.trim()}`);
    expect(await reply.text()).toBe('monday\ntuesday\ntoday\nthe end\n');
  });
});

test('no example is left out', () => {
  const runnable =
    spawnSync('curl', ['--version']).status === 0 ? shown : shown.filter((code) => !/^curl /.test(code));
  expect(runnable.filter((code) => !seen.has(code))).toEqual([]);
});

test('every test that the guide names is there', async () => {
  const rows = [...guide.matchAll(/\| `(test\/[\w./-]+)`: (.+) \|$/gm)];
  const table = guide.split('\n').filter((line) => /^\| (?!the question|---)/.test(line));
  expect(rows).toHaveLength(table.length);
  expect(rows.length).toBeGreaterThan(30);
  for (const [, file = '', name = ''] of rows) {
    const source = await readFile(join(root, file), 'utf8');
    expect(source, `${file}: ${name}`).toMatch(
      new RegExp(`['"\`]${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}['"\`]`),
    );
  }
});
