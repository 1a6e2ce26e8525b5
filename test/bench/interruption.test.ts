import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  type CutsResults,
  type CutsTrial,
  cutsSummaries,
  cutsTable,
  cutsTargets,
} from '../../bench/interruption/cuts-report.ts';
import { withUncut } from '../../bench/interruption/schedules.ts';
import { standstillMs } from '../../bench/interruption/standstill.ts';
import { nameOf } from '../../bench/interruption-variants.ts';
import { targetLine } from '../../bench/lib/targets.ts';
import { contentOf, sumOf } from '../../bench/servers/content.js';

const KiB = 1024;
const MiB = 1024 * KiB;

describe('the time during which everybody stood still', () => {
  test('is none while one of those at work moves', () => {
    expect(standstillMs([[0, 100]], [])).toBe(0);
    expect(
      standstillMs(
        [
          [0, 100],
          [0, 100],
        ],
        [[20, 50]],
      ),
    ).toBe(0);
  });

  test('is what their stalls have in common', () => {
    const both = [
      [0, 100],
      [0, 100],
    ] as const;
    expect(
      standstillMs(both, [
        [20, 50],
        [40, 90],
      ]),
    ).toBe(10);
    expect(standstillMs([[0, 100]], [[20, 50]])).toBe(30);
  });

  test('counts only those that are at work: the last one alone', () => {
    const stalls = [[60, 90]] as const;
    expect(
      standstillMs(
        [
          [0, 70],
          [0, 100],
        ],
        stalls,
      ),
    ).toBe(20);
  });
});

describe('the contents of uploads', () => {
  const read = (number: number, start: number, end: number): Buffer =>
    Buffer.concat([...contentOf(number, start, end)]);
  const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  const size = 3 * MiB + 17;

  test('are the same wherever they are begun', () => {
    const whole = read(3, 0, size);
    expect(whole.length).toBe(size);
    expect(sha256(whole)).toBe(sumOf(3, size));
    for (const at of [1, 256 * KiB - 1, 256 * KiB, 1_000_003]) {
      expect(sha256(Buffer.concat([read(3, 0, at), read(3, at, size)]))).toBe(sumOf(3, size));
    }
  });

  test('differ from each other, and from themselves at any other place', () => {
    expect(sumOf(3, size)).not.toBe(sumOf(4, size));
    const piece = sha256(read(3, 0, 64 * KiB));
    for (let at = 64 * KiB; at + 64 * KiB <= 2 * MiB; at += 64 * KiB) {
      expect(sha256(read(3, at, at + 64 * KiB))).not.toBe(piece);
    }
  });
});

const trial = (more: Partial<CutsTrial>): CutsTrial => ({
  trial: 1,
  variant: nameOf('fs-process'),
  schedule: 'fin',
  elapsedMs: 1_000,
  standstillMs: 0,
  uploads: 4,
  completed: 4,
  unfinished: 0,
  fileBytes: 100 * MiB,
  sentBytes: 100 * MiB,
  bodyBytes: 100 * MiB,
  arrivedBytes: 100 * MiB,
  cuts: { rst: 0, fin: 10, stall: 0 },
  interruptions: 10,
  stalls: 0,
  requests: 28,
  queries: 10,
  resumeMs: [1],
  errors: 0,
  problems: [],
  differing: 0,
  ...more,
});

const results = (raw: readonly CutsTrial[]): CutsResults => ({
  trials: 2,
  uploads: 4,
  sizeBytes: 25 * MiB,
  everyBytes: 16 * MiB,
  everyMs: 100,
  lineBytesPerSecond: 125_000_000,
  stallMs: 500,
  limitMs: 30_000,
  schedules: ['uncut', 'fin', 'rst', 'mixed', 'line-uncut', 'line'],
  raw,
});

test('each schedule is measured after the same without cuts, and each of those once', () => {
  expect(withUncut(['fin', 'rst', 'line'])).toEqual(['uncut', 'fin', 'rst', 'line-uncut', 'line']);
  expect(withUncut(['line'])).toEqual(['line-uncut', 'line']);
});

describe('the report on interruption', () => {
  test('takes rates as medians and everything that counts over all trials', () => {
    const [one, ...others] = cutsSummaries(
      results([
        trial({ resumeMs: [1, 2, 3] }),
        trial({
          elapsedMs: 2_000,
          standstillMs: 1_000,
          sentBytes: 130 * MiB,
          bodyBytes: 110 * MiB,
          resumeMs: [4],
        }),
        trial({
          elapsedMs: 4_000,
          arrivedBytes: 105 * MiB,
          errors: 1,
          differing: 1,
          unfinished: 2,
          resumeMs: [],
        }),
      ]),
    );
    expect(others).toEqual([]);
    expect(one).toMatchObject({
      goodput: 50,
      minGoodput: 25,
      maxGoodput: 100,
      movingGoodput: 100,
      ofSent: 300 / 330,
      efficiency: 300 / 310,
      kept: 300 / 305,
      resentPerCut: (10 * MiB) / 30,
      resumeP50Ms: 3,
      resumeP99Ms: 4,
      requestsPerUpload: 7,
      queries: 30,
      cuts: 30,
      errors: 1,
      differing: 1,
      unfinished: 2,
    });
  });

  test('holds the worst schedule against the targets, and each variant against itself uncut', () => {
    const tus = nameOf('tus');
    const all = cutsSummaries(
      results([
        trial({ schedule: 'uncut' }),
        trial({ bodyBytes: 100.4 * MiB }),
        trial({ schedule: 'rst', elapsedMs: 1_300, bodyBytes: 102 * MiB }),
        trial({ schedule: 'mixed', elapsedMs: 2_000, standstillMs: 900 }),
        trial({ schedule: 'line-uncut', elapsedMs: 4_000 }),
        trial({ schedule: 'line', elapsedMs: 4_400, bodyBytes: 100.5 * MiB }),
        trial({ schedule: 'uncut', variant: tus }),
        trial({ variant: tus, elapsedMs: 2_500 }),
        trial({ schedule: 'mixed', variant: tus, elapsedMs: 9_000 }),
        trial({ variant: nameOf('fs-power-103'), queries: 0 }),
        trial({ variant: nameOf('sqlite-power-103'), queries: 2 }),
      ]),
    );
    const lines = cutsTargets(all).map(targetLine);
    expect(lines).toContain("- met: efficiency, fin, ours, fs, 'process' >= 0.9950 (0.9960)");
    expect(lines).toContain("- MISSED: efficiency, rst, ours, fs, 'process' >= 0.9900 (0.9804)");
    expect(lines).toContain("- not measured: efficiency, fin, ours, fs, 'power' >= 0.9950");
    expect(lines).toContain(
      "- MISSED: goodput / uncut, ours, fs, 'process', worst schedule: rst >= 0.80x (0.77x)",
    );
    expect(lines).toContain("- met: efficiency, line, ours, fs, 'process' >= 0.9900 (0.9950)");
    expect(lines).toContain(
      "- met: goodput / uncut, ours, fs, 'process', worst schedule: line >= 0.80x (0.91x)",
    );
    expect(lines).toContain(
      "- met: goodput / @tus/server, ours, fs, 'process', worst schedule: fin >= 2.00x (2.50x)",
    );
    expect(lines).toContain("- met: queries on resume, ours, fs, 'power', 103 <= 0 (0)");
    expect(lines).toContain("- MISSED: queries on resume, ours, sqlite, 'power', 103 <= 0 (2)");
    expect(lines).toContain('- met: errors and unfinished uploads, ours <= 0 (0)');
  });

  test('shows one that never completes as such, and leaves out what nobody measured', () => {
    const never = trial({ completed: 0, unfinished: 4, fileBytes: 0, resumeMs: [] });
    const rows = cutsTable(cutsSummaries(results([never])), 'fin').split('\n');
    const cells = (rows[2] ?? '').split('|').map((cell) => cell.trim());
    expect(cells.slice(1, -1)).toEqual([
      "ours, fs, 'process'",
      '0',
      '0–0',
      '0',
      '',
      '',
      '0.0000',
      '0.0000',
      '0.0000',
      '10240.0',
      '',
      '',
      '7.0',
      '10',
      '10',
      '4',
      '0',
      '0',
    ]);
  });
});
