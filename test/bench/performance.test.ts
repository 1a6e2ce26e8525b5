import { execFile } from 'node:child_process';
import { copyFile, cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { Recorded } from '../../bench/charts.ts';
import { onlyColumns } from '../../bench/lib/table.ts';
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
