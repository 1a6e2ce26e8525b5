import { spawnSync } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { upload } from '../../src/client/index.ts';
import { ask, content, handshake, sha256 } from '../support/requests.ts';
import { startS3Double } from '../support/s3/double.ts';
import { afterwards } from '../support/scripted-server.ts';
import { events, folder, run, serve } from './support.ts';

const bytes = content(300_000);

/** A store with a whole upload in it, and an open one, of a server that has ended. */
const filled = async (store: string) => {
  const dir = await folder();
  const args = ['--dir', dir, '--store', store];
  const server = await serve(...args);
  const url = `http://127.0.0.1:${server.port}/upload`;
  const name = 'Über\u001b[2Jfilm.mp4';
  const { body } = await upload(url, bytes, { metadata: { filename: name } }).result;
  const { target } = await handshake(server, bytes.length);
  const part = await ask(server, {
    target,
    headers: { 'Content-Range': `bytes 0-99999/${bytes.length}` },
    body: bytes.subarray(0, 100_000),
  });
  expect(part.status).toBe(308);
  server.kill('SIGTERM');
  expect(await server.exited()).toBe(0);
  const { id } = JSON.parse(String(body)) as { id: string };
  return { args, id };
};

describe.each(['fs', 'sqlite'])('%s', (store) => {
  test('ls lists, rm removes, and gc what is left', async () => {
    const { args, id } = await filled(store);
    const listed = await run(['ls', ...args, '--json']);
    expect(listed.code).toBe(0);
    const rows = events(listed.stdout);
    expect(rows).toHaveLength(2);
    const whole = rows.find((row) => row.id === id);
    const open = rows.find((row) => row.id !== id);
    expect(whole).toMatchObject({ state: 'finished', received: 300_000, length: 300_000 });
    expect(whole?.name).toBe('Über\u001b[2Jfilm.mp4');
    expect(open).toMatchObject({ state: 'open', received: 100_000, length: 300_000 });

    const { stdout } = await run(['ls', ...args]);
    expect(stdout).toMatch(
      new RegExp(`^${id} +finished +293\\.0 KiB of 293\\.0 KiB +\\d+ s +Über \\[2Jfilm\\.mp4$`, 'm'),
    );
    expect(stdout).toMatch(/^\S+ +open +97\.7 KiB of 293\.0 KiB +\d+ s +-$/m);

    const nothing = await run(['gc', ...args]);
    expect(nothing).toEqual({ code: 0, stdout: 'removed 0 expired uploads, 0 tombstones\n', stderr: '' });

    const removed = await run(['rm', ...args, id, 'a'.repeat(22), '../../x']);
    expect(removed).toEqual({
      code: 1,
      stdout: `removed ${id}\n`,
      stderr: `${'a'.repeat(22)}: no such upload\n../../x: no such upload\n`,
    });
    expect((await run(['rm', ...args, id])).stderr).toBe(`${id}: was removed before\n`);
    expect(events((await run(['ls', ...args, '--json'])).stdout)).toHaveLength(1);
    const all = events((await run(['ls', '--all', ...args, '--json'])).stdout);
    expect(all.map(({ state }) => state).sort()).toEqual(['open', 'removed']);

    const late = ['gc', ...args, '--expires-after-ms', '0'];
    const counts = '1 expired uploads, 1 tombstones\n';
    expect(await run([...late, '--dry-run'])).toEqual({
      code: 0,
      stdout: `would remove ${counts}`,
      stderr: '',
    });
    expect(await run(late)).toEqual({ code: 0, stdout: `removed ${counts}`, stderr: '' });
    expect((await run(['ls', ...args])).stdout).toBe('');
  });
});

test('in a bucket too, with what gc finds there', async () => {
  const double = await startS3Double({ buckets: ['my-uploads'] });
  afterwards(() => double.close());
  const { accessKeyId, secretAccessKey } = double.clientConfig.credentials;
  const env = {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_REGION: double.clientConfig.region,
    AWS_ENDPOINT_URL_S3: double.endpoint,
  };
  const place = ['--store', 's3', '--bucket', 'my-uploads'];
  const { s3Store } = await import('../../stores/s3.ts');
  const { S3Client } = await import('@aws-sdk/client-s3');
  const client = new S3Client(double.clientConfig);
  afterwards(() => client.destroy());
  const id = 'a'.repeat(22);
  const record = { id, createdAt: Date.now(), state: 'open', metadata: {}, attempt: 0 } as const;
  await s3Store({ client, bucket: 'my-uploads', prefix: 'uploads/' }).create({ ...record, length: 5 });
  const { stdout } = await run(['ls', ...place, '--json'], { env });
  expect(events(stdout)).toMatchObject([{ id, state: 'open', received: 0, length: 5 }]);
  expect((await run(['rm', ...place, id], { env })).stdout).toBe(`removed ${id}\n`);
  const gc = await run(['gc', ...place], { env });
  expect(gc.stdout).toMatch(
    /^removed 0 expired uploads, 0 tombstones\nremoved 0 multipart uploads, .*: 0 bytes\n$/,
  );
});

describe('serve', () => {
  test('says where everything is, keeps its files there, and has something to say at /', async () => {
    const dir = await folder();
    const server = await serve('--dir', join(dir, 'new', 'uploads'));
    const page = await fetch(`http://127.0.0.1:${server.port}/`);
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/plain; charset=utf-8']);
    expect(await page.text()).toContain(
      `resumable-http upload film.mp4 http://127.0.0.1:${server.port}/upload\n`,
    );
    const head = await fetch(`http://127.0.0.1:${server.port}/?x`, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    expect((await fetch(`http://127.0.0.1:${server.port}/`, { method: 'POST', body: 'x' })).status).toBe(404);
    expect(await readdir(join(dir, 'new'))).toEqual(['uploads']);
  });

  test.runIf(spawnSync('curl', ['--version']).status === 0)(
    'prints a line for curl that goes on where it was cut off',
    async () => {
      const cwd = await folder();
      const film = content(8 * 1024 * 1024);
      await writeFile(join(cwd, 'film.mp4'), film);
      const server = await serve('--dir', await folder());
      const page = await (await fetch(`http://127.0.0.1:${server.port}/`)).text();
      const line =
        page
          .split('\n')
          .find((text) => text.includes('curl -T'))
          ?.trim() ?? '';
      const cut = spawnSync(
        'bash',
        ['-c', line.replace('curl -T', 'curl -s --limit-rate 4M --max-time 1 -T')],
        {
          cwd,
          encoding: 'utf8',
        },
      );
      expect([cut.status, cut.stdout]).toEqual([28, '']); // its time is over
      const again = spawnSync('bash', ['-c', line.replace('curl -T', "curl -s -w '%{size_upload}' -T")], {
        cwd,
        encoding: 'utf8',
      });
      const [answer = '', sent = ''] = again.stdout.split('\n');
      expect(JSON.parse(answer)).toMatchObject({
        size: film.length,
        sha256: sha256(await readFile(join(cwd, 'film.mp4'))),
      });
      expect(Number(sent)).toBeGreaterThan(0);
      expect(Number(sent)).toBeLessThan(film.length - 1024 * 1024);
    },
  );
});
