import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import { startS3Double } from './support/s3/double.ts';
import { sumOf } from './support/s3-direct.ts';
import { seededContent } from './support/seeded-content.ts';

const run = promisify(execFile);
const root = new URL('..', import.meta.url).pathname;
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const guide = await readFile(join(root, 'stores', 'README.md'), 'utf8');

const block = (text: string): string => {
  const found = [...guide.matchAll(/^```\w+\n([\s\S]*?)^```$/gm)].filter(([, code]) => code?.includes(text));
  expect(found).toHaveLength(1);
  return found[0]?.[1] ?? '';
};

test('all that the guide to buckets shows runs, in its order', async () => {
  const double = await startS3Double({ buckets: ['my-uploads'] });
  cleanups.push(() => double.close());
  const folder = await mkdtemp(join(tmpdir(), 'resumable-guide-'));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'), 'dir');
  const backup = seededContent(20 * 1024 * 1024);
  const pieces = ['one', 'today', 'more'].map((text) => gzipSync(text));
  for (const [name, bytes] of [
    ['backup.tar', backup],
    ['one.gz', pieces[0]],
    ['today.gz', pieces[1]],
    ['more.gz', pieces[2]],
  ] as const) {
    await writeFile(join(folder, name), bytes ?? '');
  }
  const made = block('const store = s3Store(')
    .replace("'resumable-http/stores/s3'", JSON.stringify(join(root, 'stores', 's3.ts')))
    .replace('S3Client()', `S3Client(${JSON.stringify(double.clientConfig)})`);
  const script = `import { createReadStream } from 'node:fs';
    ${made}
    const film = new Uint8Array(100).fill(7);
    const id = 'a-film-of-a-hundred-bytes';
    const record = { id, createdAt: 0, state: 'open', metadata: {}, attempt: 0, length: 100 };
    await store.create(record, [film]);
    const req = { upload: { id } };
    ${block('store.contentOf(')}
    ${block('store.putStream(')}
    await store.compose('log/1.gz', ['one.gz']).result;
    ${block("'log/all.gz'")}
    console.log(await store.gc({ olderThanMs: 0, dryRun: true }));`;
  await writeFile(join(folder, 'guide.mts'), script);
  const { stdout } = await run(
    process.execPath,
    ['--import', join(root, 'node_modules/tsx/dist/loader.mjs'), 'guide.mts'],
    {
      cwd: folder,
    },
  );
  expect(stdout).toContain(`size: ${backup.byteLength}`);
  expect(stdout).toContain('bytes: 0');
  const bytesOf = (key: string): Buffer => double.object(key)?.content.toBuffer() ?? Buffer.of();
  expect(sumOf(bytesOf('backup.tar'))).toBe(sumOf(backup));
  expect(sumOf(bytesOf('films/1.mp4'))).toBe(sumOf(new Uint8Array(100).fill(7)));
  expect(gunzipSync(bytesOf('log/all.gz')).toString()).toBe('onetodaymore');
  expect(double.unknown).toEqual([]);
});

test('every test that the guide names is there', async () => {
  const rows = [...guide.matchAll(/\| `(test\/[\w./-]+)`: (.+) \|$/gm)];
  expect(rows.length).toBeGreaterThan(20);
  for (const [, file = '', name = ''] of rows) {
    const source = await readFile(join(root, file), 'utf8');
    expect(source, `${file}: ${name}`).toMatch(
      new RegExp(`['"\`]${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}['"\`]`),
    );
  }
});

test('the command of the guide is one that the command line takes', async () => {
  const double = await startS3Double({ buckets: ['my-uploads'] });
  cleanups.push(() => double.close());
  const [, ...args] = block('npx resumable-http gc').trim().split(' ');
  const { accessKeyId, secretAccessKey } = double.clientConfig.credentials;
  const env = {
    ...process.env,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_REGION: double.clientConfig.region,
    AWS_ENDPOINT_URL_S3: double.endpoint,
  };
  const { stdout } = await run(process.execPath, ['--import', 'tsx', 'src/cli.ts', ...args.slice(1)], {
    cwd: root,
    env,
  });
  expect(stdout).toContain('0 bytes');
});
