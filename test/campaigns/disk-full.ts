// Fills a real file system in the middle of uploads, gives it room again, and resumes.
//
//     npm run test:disk-full
//
// Needs the right to mount a file system in memory; says so and ends well where it is missing.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { randomSeed, seededRandom } from '../../bench/lib/random.ts';
import { startUploadServer } from '../../bench/lib/upload-server.ts';
import { UploadFailedError, upload } from '../../src/client/index.ts';

const run = promisify(execFile);
const MiB = 1024 * 1024;
const uploadBytes = 24 * MiB;

const canMount = async (directory: string): Promise<boolean> => {
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=10m', 'resumable-disk-full', directory]);
    return true;
  } catch (error) {
    console.log(
      `disk-full: skipped, no file system can be mounted here (${(error as Error).message.trim()})`,
    );
    return false;
  }
};

const campaign = async (
  directory: string,
  store: string,
  durability: string,
  content: Uint8Array,
): Promise<string[]> => {
  const wrong: string[] = [];
  const options = ['--dir', join(directory, 'uploads'), '--store', store, '--durability', durability];
  const server = await startUploadServer(options);
  try {
    // A URL of the client's own, so that a second call goes on where the first one failed.
    const url = `http://127.0.0.1:${server.port}/upload/film-${durability}`;
    const failure = await upload(url, content, { method: 'PUT', handshake: false }).result.then(
      () => undefined,
      (error: unknown) => error,
    );
    const answer = failure instanceof UploadFailedError ? failure.response : undefined;
    const { code } = JSON.parse(answer?.body.toString() ?? '{}') as { code?: string };
    if (answer?.status !== 507 || code !== 'no_space')
      wrong.push(`a full disk answered ${answer?.status} ${code}`);

    const query = await fetch(url, { method: 'PUT', headers: { 'Content-Range': `bytes */${uploadBytes}` } });
    const stored = Number(/^bytes=0-(\d+)$/.exec(query.headers.get('range') ?? '')?.[1] ?? -1) + 1;
    if (query.status !== 308 || stored === 0)
      wrong.push(`after it, ${query.status} with ${stored} bytes stored`);

    await run('mount', ['-o', 'remount,size=128m', directory]);
    const rest = await fetch(url, {
      method: 'PUT',
      headers: { 'Content-Range': `bytes ${stored}-${uploadBytes - 1}/${uploadBytes}` },
      body: content.slice(stored),
    });
    const { sha256 } = (await rest.json()) as { sha256: string };
    const sum = createHash('sha256').update(content).digest('hex');
    if (sha256 !== sum) wrong.push(`sums differ: sent ${sum}, answered ${sha256}`);
    console.log(
      `disk-full: ${store}, ${durability}, 507 with ${(stored / MiB).toFixed(1)} MiB stored, resumed, sums equal`,
    );
  } finally {
    server.kill('SIGTERM');
    const code = await server.exited();
    if (code !== 0) wrong.push(`the server ended with ${code} after SIGTERM`);
  }
  return wrong;
};

const main = async (): Promise<boolean> => {
  const seed = randomSeed();
  const content = new Uint8Array(uploadBytes);
  seededRandom(seed).fill(content);
  const wrong: string[] = [];
  for (const [store, durability] of [
    ['fs', 'power'],
    ['fs', 'process'],
    ['sqlite', 'power'],
    ['sqlite', 'process'],
  ] as const) {
    const directory = await mkdtemp(join(tmpdir(), 'disk-full-'));
    try {
      if (!(await canMount(directory))) return true;
      try {
        wrong.push(...(await campaign(directory, store, durability, content)));
      } finally {
        await run('umount', [directory]);
      }
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
  for (const fault of wrong) console.error(`wrong: ${fault}`);
  console.log(`disk-full: ${wrong.length} wrong, seed ${seed}`);
  return wrong.length === 0;
};

process.exitCode = (await main()) ? 0 : 1;
