import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { upload } from '../../src/client/index.ts';
import { serveRanges } from '../support/range-server.ts';
import { content, sha256 } from '../support/requests.ts';
import { dam } from './dam.ts';
import { events, folder, result, run, serve, start } from './support.ts';

const MiB = 1024 * 1024;
const bytes = content(24 * MiB);
const sum = sha256(bytes);

const sumOfFile = async (path: string): Promise<string> => sha256(await readFile(path));

const disposed = (filename: string) => ({ 'Content-Disposition': `attachment; filename="${filename}"` });

describe('a download that is interrupted', () => {
  test.each(['1', '3'])('goes on with the same command, over %s connections', async (parallel) => {
    const [dir, cwd] = [await folder(), await folder()];
    const server = await serve('--dir', dir);
    const up = await upload(`http://127.0.0.1:${server.port}/upload`, bytes).result;
    const before = await dam(server.port, { down: 10 * MiB });
    const url = `http://127.0.0.1:${before.port}${up.headers.location}`;
    const args = ['download', '--json', '--parallel', parallel, url, 'film.mp4'];
    const download = start(args, { cwd });
    await download.seen(({ event, done }) => event === 'progress' && Number(done) >= 9 * MiB);
    download.child.kill('SIGINT');
    const { code, stdout } = await download.ended;
    expect(code).toBe(130);
    expect(events(stdout).at(-1)).toMatchObject({
      event: 'error',
      code: 'SIGINT',
      hints: [`what has arrived is kept; to go on: resumable-http ${args.join(' ')}`],
    });
    expect((await readdir(cwd)).sort()).toEqual(['film.mp4.partial', 'film.mp4.partial.json']);
    before.open();
    const passedBefore = before.passed.down;
    const again = await run(args, { cwd });
    expect(again.code).toBe(0);
    expect(result(again.stdout)).toMatchObject({ file: 'film.mp4', length: bytes.length });
    expect(before.passed.down - passedBefore).toBeLessThan(bytes.length - 8 * MiB);
    expect(await sumOfFile(join(cwd, 'film.mp4'))).toBe(sum);
    expect(await readdir(cwd)).toEqual(['film.mp4']);
  });
});

describe('a download', () => {
  test('is called what the server calls it, and says where it is', async () => {
    const cwd = await folder();
    const server = await serveRanges({ content: bytes, etag: '"a"', headers: disposed('../../a film.mp4') });
    const { code, stdout, stderr } = await run(['download', server.url], { cwd });
    expect([code, stdout, stderr]).toEqual([0, 'a film.mp4\n', '24.0 MiB\n']);
    expect(await sumOfFile(join(cwd, 'a film.mp4'))).toBe(sum);
  });

  test('goes into a folder that is named, called by its URL', async () => {
    const cwd = await folder();
    await mkdir(join(cwd, 'films'));
    const server = await serveRanges({ content: bytes, etag: '"a"' });
    const url = new URL('/a/b%20c.mp4?x=1', server.url).href;
    const { stdout } = await run(['download', '--quiet', url, 'films'], { cwd });
    expect(stdout).toBe('films/b c.mp4\n');
    expect(await readdir(join(cwd, 'films'))).toEqual(['b c.mp4']);
  });

  test('overwrites another file only when it is told to', async () => {
    const cwd = await folder();
    const server = await serveRanges({ content: bytes, etag: '"a"' });
    await writeFile(join(cwd, 'film.mp4'), 'precious');
    const args = ['download', server.url, 'film.mp4'];
    const refused = await run(args, { cwd });
    expect([refused.code, refused.stdout]).toEqual([1, '']);
    expect(refused.stderr).toMatch(/^film\.mp4 exists\n--force overwrites it/);
    expect(await readFile(join(cwd, 'film.mp4'), 'utf8')).toBe('precious');
    expect(server.requests).toEqual([]);
    expect((await run([...args, '--force'], { cwd })).code).toBe(0);
    expect(await sumOfFile(join(cwd, 'film.mp4'))).toBe(sum);
  });

  test('does not overwrite a file that has appeared meanwhile, and keeps what has arrived', async () => {
    const cwd = await folder();
    const path = join(cwd, 'film.mp4');
    const server = await serveRanges({
      content: bytes,
      etag: '"a"',
      before: () => writeFile(path, 'precious'),
    });
    const args = ['download', server.url, 'film.mp4'];
    const refused = await run(args, { cwd });
    expect([refused.code, refused.stdout]).toEqual([1, '']);
    expect(refused.stderr).toMatch(/^film\.mp4 exists\n--force overwrites it.*\nwhat has arrived is kept/m);
    expect(await readFile(path, 'utf8')).toBe('precious');
    expect((await run([...args, '--force'], { cwd })).code).toBe(0);
    expect(await sumOfFile(path)).toBe(sum);
    expect(server.requests).toHaveLength(1);
  });

  test('gives up a part of another URL only when it is told to', async () => {
    const cwd = await folder();
    const server = await serveRanges({ content: bytes, etag: '"a"' });
    const notes = JSON.stringify({
      version: 1,
      validator: '"x"',
      url: 'http://other/film.mp4',
      ranges: [[0, 3]],
    });
    await writeFile(join(cwd, 'film.mp4.partial'), 'abc');
    await writeFile(join(cwd, 'film.mp4.partial.json'), notes);
    const args = ['download', server.url, 'film.mp4'];
    const { code, stderr } = await run(args, { cwd });
    expect([code, stderr.split('\n')[0]]).toEqual([1, 'film.mp4.partial is a part of http://other/film.mp4']);
    expect(await readFile(join(cwd, 'film.mp4.partial'), 'utf8')).toBe('abc');
    expect((await run([...args, '--force'], { cwd })).code).toBe(0);
    expect(await readdir(cwd)).toEqual(['film.mp4']);
  });

  test('of a server that is busy is asked for again, its name too', async () => {
    const cwd = await folder();
    const server = await serveRanges({
      content: content(1_000),
      etag: '"a"',
      headers: disposed('a.bin'),
      instead: (number, _request, response) => {
        if (number % 2 === 0) response.writeHead(503).end();
        return number % 2 === 0;
      },
    });
    const { code, stdout } = await run(['download', server.url], { cwd });
    expect([code, stdout]).toEqual([0, 'a.bin\n']);
  });

  test('of nothing is an empty file', async () => {
    const cwd = await folder();
    const server = await serveRanges({ content: Buffer.alloc(0), etag: '"a"' });
    const { code, stdout } = await run(['download', new URL('/empty', server.url).href], { cwd });
    expect([code, stdout]).toEqual([0, 'empty\n']);
    expect(await readFile(join(cwd, 'empty'))).toHaveLength(0);
  });
});
