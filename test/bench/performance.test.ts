import { execFile } from 'node:child_process';
import { copyFile, cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { Recorded } from '../../bench/charts.ts';
import { clientReport, summaries as clientSummaries } from '../../bench/client-report.ts';
import { downloadReport, summaries as downloadSummaries } from '../../bench/download-report.ts';
import { nameOf as downloadName } from '../../bench/download-variants.ts';
import { onlyColumns } from '../../bench/lib/table.ts';
import { inTurn } from '../../bench/lib/trials.ts';
import { performanceText, withPerformance } from '../../bench/performance.ts';
import { withSummaries } from '../../bench/steady-report.ts';
import { summaries } from '../../bench/upload-report.ts';
import { nameOf } from '../../bench/upload-variants.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

const machine = { cpu: 'a processor', cores: 2, memoryGiB: 8, platform: 'linux x64', node: 'v20.0.0' };
const conditions = { machine, date: '2026-01-02T03:04:05.000Z', scratchIsMemory: false };

const trial = (variant: string, elapsedMs: number) => ({
  trial: 1,
  variant,
  elapsedMs,
  cpuSeconds: 1,
  peakRssBytes: 100 * 2 ** 20,
});

const raw = [trial(nameOf('tus'), 2000), trial(nameOf('process'), 1000)];

const upload: Recorded['upload'] = {
  ...conditions,
  command: 'npm run bench -- upload --json',
  sizeMiB: 1024,
  trials: 1,
  summary: summaries(raw, 1024),
  raw,
};

const steady: Recorded['steady'] = withSummaries({
  ...conditions,
  command: 'npm run bench -- steady --json --part slow',
  slow: {
    trials: 1,
    openFilesLimit: 20_000,
    counts: [{ store: 'fs', wanted: 10_000, everyMs: 2000, seconds: 30, uploads: 6_633 }],
    raw: [
      {
        trial: 1,
        store: 'fs',
        wanted: 10_000,
        sentBytesEach: 10_240,
        storedBytesEach: 8_192,
        cpuSeconds: 4,
        rssBeforeBytes: 50 * 2 ** 20,
        peakRssBytes: 180 * 2 ** 20,
      },
    ],
  },
});

const clientRaw = [
  { trial: 1, variant: 'bare sockets, 1 connection', elapsedMs: 1000, cpuSeconds: 0.5 },
  { trial: 1, variant: 'ours, upload(path), 1 connection', elapsedMs: 1250, cpuSeconds: 1 },
  { trial: 1, variant: 'ours, upload(path), 4 connections', elapsedMs: 900, cpuSeconds: 1 },
];

const client: Recorded['client'] = {
  ...conditions,
  command: 'npm run bench -- client --json',
  sizeMiB: 512,
  trials: 1,
  summary: clientSummaries(clientRaw, 512),
  raw: clientRaw,
};

const downloadRaw = {
  stream: [],
  ranges: [
    {
      trial: 1,
      variant: downloadName('ours'),
      answered: 1300,
      seconds: 1,
      p50Ms: 1,
      p99Ms: 2,
      cpuSeconds: 1,
    },
    {
      trial: 1,
      variant: downloadName('send'),
      answered: 1000,
      seconds: 1,
      p50Ms: 1,
      p99Ms: 2,
      cpuSeconds: 1,
    },
  ],
};

const download: Recorded['download'] = {
  ...conditions,
  command: 'npm run bench -- download --json --part ranges',
  sizeMiB: 1024,
  trials: 1,
  seconds: 1,
  connections: 32,
  rangeCount: 1000,
  rangeBytes: 4096,
  summary: downloadSummaries(downloadRaw, 1024),
  raw: downloadRaw,
};

describe('the reports on client and download', () => {
  test('hold the client against as many bare sockets, and nothing against none', () => {
    const lines = clientReport(client).split('\n');
    expect(lines).toContain('- MISSED: ours, upload(path), 1 connection / bare sockets >= 0.85x (0.80x)');
    expect(lines).toContain('- not measured: ours, upload(path), 4 connections / bare sockets >= 0.85x');
    const [row] = lines.filter((line) => line.startsWith('| ours, upload(path), 1'));
    expect(row?.split('|').map((cell) => cell.trim())).toEqual([
      '',
      'ours, upload(path), 1 connection',
      '410',
      '410–410',
      '2.00',
      '0.80x',
      '',
    ]);
  });

  test('hold downloads against each peer that was measured', () => {
    const lines = downloadReport(download).split('\n');
    expect(lines).toContain('- met: 4 KiB ranges a second, ours / send >= 1.20x (1.30x)');
    expect(lines).toContain('- not measured: one stream, ours / send >= 1.00x');
  });
});

test('trials are made in turn, each row with its number, and one that fails fails all', async () => {
  const order: string[] = [];
  const cases = [{ name: 'a' }, { name: 'b' }];
  const rows = await inTurn('test', cases, 2, async ({ name }) => {
    order.push(name);
    return name === 'a' ? { name } : [{ name }, { name: `${name}${name}` }];
  });
  expect(order).toEqual(['a', 'b', 'a', 'b']);
  expect(rows.map(({ trial, name }) => `${trial}${name}`)).toEqual(['1a', '1b', '1bb', '2a', '2b', '2bb']);
  const cause = new Error('no');
  await expect(inTurn('test', cases, 2, () => Promise.reject(cause))).rejects.toMatchObject({
    message: 'test, trial 1/2, a: no figure',
    cause,
  });
});

describe("README's performance section", () => {
  test('is made of what was recorded, each part with its origin and its chart', () => {
    const text = performanceText({ upload });
    expect(text).toContain('![One upload of 1024 MiB over loopback](bench/results/upload.svg)');
    expect(text).toMatch(/\| ours, 'process' +\| +1024 \| .* 2\.00x \|/);
    expect(text).toContain('2026-01-02, `npm run bench -- upload --json`</sub>');
    expect(text).toContain('a processor, 2 cores, 8 GiB, linux x64, Node v20.0.0');
    expect(text).not.toContain('### Into a bucket');
  });

  test('shows no chart of a part that did not run, and tells what was not measured as it should be', () => {
    const text = performanceText({ steady });
    expect(text).not.toContain('.svg');
    expect(text).toContain('fs was measured with 6,633 instead of 10,000');
    expect(text).toContain('20,000 files open');
  });

  test('shows of client and downloads what was measured', () => {
    const text = performanceText({ client, download });
    expect(text).toContain('![One upload of 512 MiB, by who sends it](bench/results/client.svg)');
    expect(text).toContain('1,000 random ranges of 4 KiB');
    expect(text).not.toContain('The whole of it');
    expect(text).toMatch(/\| ours, upload\(path\), 1 connection +\| +410 \| .* 0\.80x \|/);
  });

  test('is empty where nothing was recorded', () => {
    expect(performanceText({})).toBe('');
  });

  test('replaces what stood in its place, and nothing else', () => {
    const before = 'a\n<!-- performance: begin (how) -->\nold\n<!-- performance: end -->\nb\n';
    const once = withPerformance(before, 'costs $1 & more');
    expect(once).toBe(
      'a\n<!-- performance: begin (how) -->\ncosts $1 & more\n<!-- performance: end -->\nb\n',
    );
    expect(withPerformance(once, 'costs $1 & more')).toBe(once);
    expect(() => withPerformance('no place', 'text')).toThrow('no place');
  });

  test('is written into a copy of README from the results in this repository', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'performance-'));
    try {
      // The script draws beside the results it reads: both are a copy, with the rest of the benchmarks beside them.
      const { results, readme, script } = await copyOfBench(directory);
      await run(process.execPath, ['--import', 'tsx', script], { cwd: root });
      const written = await readFile(readme, 'utf8');
      const drawn = (await readdir(results)).filter((name) => name.endsWith('.svg'));
      for (const name of drawn)
        expect(await readFile(join(results, name), 'utf8')).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
      const shown = [...written.matchAll(/\]\(bench\/results\/([^)]+)\)/g)].map(([, name]) => name);
      expect(shown.toSorted()).toEqual(drawn.toSorted());
      expect(shown).toContain('upload.svg');
      const [, section = ''] = /performance: begin[^\n]*\n([\s\S]*)<!-- performance: end/.exec(written) ?? [];
      expect(section).toContain('requests/s');
      expect(section).not.toMatch(/NaN|undefined/);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});

/** All that the script reads, in a folder of its own. */
const copyOfBench = async (
  directory: string,
): Promise<{ readonly results: string; readonly readme: string; readonly script: string }> => {
  await cp(join(root, 'bench'), join(directory, 'bench'), { recursive: true });
  await copyFile(join(root, 'package.json'), join(directory, 'package.json'));
  const readme = join(directory, 'README.md');
  await copyFile(join(root, 'README.md'), readme);
  return {
    results: join(directory, 'bench/results'),
    readme,
    script: join(directory, 'bench/readme.ts'),
  };
};

describe('columns of a table', () => {
  const table = ['| name | a | b |', '| ---- | -: | -: |', '| x | 1 | 2 |', '| y |  | 4 |'].join('\n');

  test('are taken by their titles, in the order that was asked for', () => {
    expect(onlyColumns(table, ['name', 'b'])).toBe(
      ['| name |   b |', '| ---- | --: |', '| x    |   2 |', '| y    |   4 |'].join('\n'),
    );
    expect(onlyColumns(table, ['b', 'a']).split('\n')[3]).toBe('| 4   |     |');
  });

  test('that are not there are named', () => {
    expect(() => onlyColumns(table, ['c'])).toThrow('no such column: c (there are name, a, b)');
  });
});
