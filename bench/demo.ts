// Uploads a file through a network that keeps failing, and shows that not a byte of it is lost or wrong.
//
//     npm run demo -- [FILE] [--cuts N] [--seed N] [--size MiB]
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type UploadProgress, type UploadResult, upload } from '../src/client/index.ts';
import { type Cut, type CuttingProxy, cuttingProxy, randomCuts } from './lib/cutting-proxy.ts';
import { type Random, randomSeed, seededRandom } from './lib/random.ts';
import { startUploadServer } from './lib/upload-server.ts';

const MiB = 1024 * 1024;

const main = async (): Promise<number> => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      cuts: { type: 'string', default: '25' },
      seed: { type: 'string', default: String(randomSeed()) },
      size: { type: 'string', default: '256' },
    },
  });
  const cuts = count('--cuts', values.cuts);
  const seed = count('--seed', values.seed);
  const size = count('--size', values.size) * MiB;
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => abort.abort(new Error('interrupted')));
  }
  const directory = await mkdtemp(join(tmpdir(), 'resumable-demo-'));
  try {
    const random = seededRandom(seed);
    const file = positionals[0] === undefined ? join(directory, 'content') : resolve(positionals[0]);
    if (positionals[0] === undefined) await makeFile(file, size, random);
    print('seed', seed);
    print('file', `${mebibytes((await stat(file)).size)}, ${positionals[0] ?? 'random content'}`);
    const problems = await run(file, cuts, random, join(directory, 'server'), abort.signal);
    for (const problem of problems) console.error(`wrong: ${problem}`);
    if (problems.length === 0) print('result', 'all three sums are equal');
    return problems.length === 0 ? 0 : 1;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};

/** Resolves with what went wrong. */
const run = async (
  file: string,
  cuts: number,
  random: Random,
  directory: string,
  signal: AbortSignal,
): Promise<string[]> => {
  const { size } = await stat(file);
  const sum = await sha256(createReadStream(file, { highWaterMark: MiB }));
  const schedule = randomCuts(random, cuts, size);
  const options = '--store fs --durability power --handshake location';
  const server = await startUploadServer(['--dir', directory, ...options.split(' ')]);
  let proxy: CuttingProxy | undefined;
  try {
    proxy = await cuttingProxy({ target: server.port, cuts: schedule });
    const started = performance.now();
    const result = await upload(`http://127.0.0.1:${proxy.port}/upload`, file, {
      signal,
      // A stalled connection shows itself by nothing else, and the demo should not wait half a minute for each.
      stallTimeoutMs: 1_000,
      retry: { minMs: 20, maxMs: 1_000, maxCount: cuts + 20 },
      onProgress: progressBar(proxy),
    }).result;
    report(result, schedule, proxy, (performance.now() - started) / 1000, size);
    const problems = await compare(result, size, sum, server.port, signal);
    if (proxy.stats.cuts !== cuts) problems.push(`${proxy.stats.cuts} cuts happened instead of ${cuts}`);
    server.kill('SIGTERM');
    const code = await server.exited();
    if (code !== 0) problems.push(`the server ended with ${code} after SIGTERM`);
    return problems;
  } finally {
    await proxy?.close();
    server.kill('SIGTERM');
    await server.exited();
  }
};

const report = (
  { attempts, bytesResent }: UploadResult,
  schedule: readonly Cut[],
  { stats }: CuttingProxy,
  seconds: number,
  size: number,
): void => {
  // What was lost on its way to the proxy had to be sent again; the server answers only for the rest.
  const passed = Math.max(0, stats.bytesUp - size);
  const kinds = (['rst', 'fin', 'stall'] as const).map((means) => {
    const happened = schedule.slice(0, stats.cuts).filter((cut) => cut.means === means);
    return `${happened.length} ${means}`;
  });
  print('time', `${seconds.toFixed(2)} s (${(size / MiB / seconds).toFixed(0)} MiB/s, stalls included)`);
  print('cuts', `${stats.cuts} (${kinds.join(', ')})`);
  print('requests', attempts);
  const each = stats.cuts === 0 ? '' : `, ${(bytesResent / 1024 / stats.cuts).toFixed(1)} KiB per cut`;
  print('re-sent', `${mebibytes(bytesResent)}${each} (${mebibytes(passed)} of it had passed the proxy)`);
};

const compare = async (
  { status, headers, body }: UploadResult,
  size: number,
  sum: string,
  port: number,
  signal: AbortSignal,
): Promise<string[]> => {
  const answer: unknown = JSON.parse(body.toString());
  const answered = fact(answer, 'sha256');
  const location = String(headers.location);
  const url = new URL(location, `http://127.0.0.1:${port}`);
  const response = await fetch(url, { signal });
  const downloaded = response.body === null ? 'nothing' : await sha256(response.body);
  print('sha256', `${sum}  the file`);
  print('', `${answered}  what the server answered`);
  print('', `${downloaded}  what it serves`);
  const checks: [string, unknown, unknown][] = [
    ['the status of the upload', status, 201],
    ['Location', location, `/files/${fact(answer, 'id')}`],
    ['the size', fact(answer, 'size'), size],
    ['the SHA-256 in the answer', answered, sum],
    ['the status of the download', response.status, 200],
    ['the SHA-256 of the download', downloaded, sum],
  ];
  return checks
    .filter(([, actual, expected]) => actual !== expected)
    .map(([what, actual, expected]) => `${what} is ${actual}, not ${expected}`);
};

/** A bar that is redrawn on a terminal, a line for every tenth otherwise. */
const progressBar = (proxy: CuttingProxy): ((progress: UploadProgress) => void) => {
  const { isTTY } = process.stdout;
  let shown = '';
  return ({ sent, committed, total, state }) => {
    const percent = total === 0 ? 100 : Math.floor((100 * sent) / total);
    const step = isTTY ? percent : percent - (percent % 10);
    const key = isTTY ? `${step} ${state} ${committed}` : `${step}`;
    if (key === shown) return;
    shown = key;
    const facts = `${mebibytes(committed)} confirmed, ${proxy.stats.cuts} cuts`;
    if (!isTTY) return print('upload', `${step} %, ${facts}`);
    const bar = '#'.repeat(percent / 4).padEnd(25, '.');
    process.stdout.write(`\r[${bar}] ${step} %, ${facts}, ${state}\x1b[K${state === 'done' ? '\n' : ''}`);
  };
};

const makeFile = async (path: string, size: number, random: Random): Promise<void> => {
  const block = Buffer.alloc(MiB);
  const file = await open(path, 'wx');
  try {
    for (let offset = 0; offset < size; offset += block.length) {
      random.fill(block);
      await file.writeFile(block.subarray(0, Math.min(block.length, size - offset)));
    }
  } finally {
    await file.close();
  }
};

const sha256 = async (content: AsyncIterable<Uint8Array>): Promise<string> => {
  const hash = createHash('sha256');
  for await (const chunk of content) hash.update(chunk);
  return hash.digest('hex');
};

const fact = (answer: unknown, name: string): unknown =>
  typeof answer === 'object' && answer !== null ? Reflect.get(answer, name) : undefined;

const print = (label: string, value: unknown): void => console.log(`${label.padEnd(10)}${value}`);

const mebibytes = (bytes: number): string => `${(bytes / MiB).toFixed(1)} MiB`;

const count = (option: string, value: string): number => {
  if (!/^\d{1,12}$/.test(value)) throw new Error(`${option} takes a whole number, not ${value}`);
  return Number(value);
};

process.exitCode = await main().catch((error: unknown) => {
  console.error(error);
  return 1;
});
