import { describe, expect, test } from 'vitest';
import { charts } from '../../bench/charts.ts';
import { isMet } from '../../bench/lib/targets.ts';
import { length, rangeBytes, startOf } from '../../bench/servers/slots.js';
import { rangesSummaries, rangesTargets } from '../../bench/steady/ranges-report.ts';
import {
  type StreamsResults,
  streamsOverview,
  streamsSummaries,
  streamsTable,
} from '../../bench/steady/streams-report.ts';
import { withSummaries } from '../../bench/steady-report.ts';
import { tusName } from '../../bench/steady-variants.ts';

const MiB = 2 ** 20;
const ours = "ours, fs, 'process'";

describe('the ranges of an upload of gaps', () => {
  test('are disjoint, touch nothing, and lie inside of it', () => {
    const starts = Array.from({ length: 110_000 }, (_, n) => startOf(n)).sort((a, b) => a - b);
    expect(starts[0]).toBeGreaterThanOrEqual(0);
    expect((starts.at(-1) ?? Number.NaN) + rangeBytes).toBeLessThanOrEqual(length);
    const gaps = starts.slice(1).map((start, i) => start - (starts[i] ?? Number.NaN) - rangeBytes);
    expect(Math.min(...gaps)).toBeGreaterThan(0);
  });

  test('come in no order', () => {
    const ascents = Array.from({ length: 1000 }, (_, n) => startOf(n + 1) > startOf(n)).filter(
      Boolean,
    ).length;
    expect(ascents).toBeGreaterThan(100);
    expect(ascents).toBeLessThan(900);
  });
});

describe('the growth with ranges', () => {
  const row = (ranges: number, requestMs: number, listed: number) => ({
    trial: 1,
    store: 'fs' as const,
    ranges,
    request: { p50Ms: requestMs, p99Ms: requestMs },
    write: { p50Ms: 0.1, p99Ms: 0.2 },
    listed: { least: listed, most: listed },
  });
  const targets = (requestMs: number, listed: number) =>
    rangesTargets(
      rangesSummaries({
        trials: 1,
        samples: 1,
        counts: [1, 100, 100_000],
        raw: [row(1, 1, 2), row(100, 2, 64), row(100_000, requestMs, listed)],
      }),
    );

  test('is that of a hundred thousand over that of a hundred, for requests and for writes by themselves', () => {
    const [write, request] = targets(7, 64);
    expect(write?.actual).toBeCloseTo(1);
    expect(request?.actual).toBeCloseTo(3.5);
    expect(targets(7, 64).slice(0, 2).map(isMet)).toEqual([true, false]);
    expect(targets(5, 64).slice(0, 2).map(isMet)).toEqual([true, true]);
  });

  test('is not measured where a store was not, and no answer may list more than 64', () => {
    expect(targets(5, 64)[2]?.actual).toBeUndefined();
    expect(isMet(targets(5, 64)[4] ?? expect.fail())).toBe(true);
    expect(isMet(targets(5, 65)[4] ?? expect.fail())).toBe(false);
  });
});

describe('streams', () => {
  const trial = (variant: string, bytes: number, streams: number, answered: number) => ({
    trial: 1,
    variant,
    bytes,
    streams,
    answered,
    elapsedMs: 2000,
    cpuSeconds: 1,
    peakRssBytes: 100 * MiB,
  });
  const results: StreamsResults = {
    trials: 1,
    seconds: 2,
    cellBytes: 1024 * MiB,
    cells: [
      { bytes: 1024, streams: 8 },
      { bytes: MiB, streams: 1 },
    ],
    raw: [
      trial(tusName, 1024, 8, 1000),
      trial(ours, 1024, 8, 3000),
      trial(tusName, MiB, 1, 256),
      trial(ours, MiB, 1, 1024),
    ],
  };
  const all = streamsSummaries(results);

  test('are compared within one cell, per uploaded GiB', () => {
    const [, , , row = ''] = streamsTable(all, MiB).split('\n');
    expect(row.split('|').map((cell) => cell.trim())).toEqual([
      '',
      ours,
      '1',
      '512',
      '512–512',
      '512',
      '1.00',
      '100',
      '4.00x',
      '',
    ]);
  });

  test('are told in requests where they are small, in MiB where they are not', () => {
    const rows = streamsOverview(all)
      .split('\n')
      .slice(2)
      .map((row) =>
        row
          .split('|')
          .map((cell) => cell.trim())
          .slice(1, -1),
      );
    expect(rows).toEqual([
      ['8 × 1 KiB', 'requests/s', '500', '1500'],
      ['1 × 1 MiB', 'MiB/s', '128', '512'],
    ]);
  });

  test('are drawn eight at once, in a group for each size', () => {
    const machine = { cpu: 'a processor', cores: 2, memoryGiB: 8, platform: 'linux x64', node: 'v20.0.0' };
    const run = { machine, date: '2026-01-02T03:04:05.000Z', command: '', scratchIsMemory: false };
    const chart = charts.steady(withSummaries({ ...run, streams: results }));
    expect(chart?.groups.map(({ title, unit }) => [title, unit])).toEqual([
      ['Bodies of 1 KiB', 'requests/s'],
    ]);
    expect(chart?.groups[0]?.bars.map(({ label, value }) => [label, value])).toEqual([
      [tusName, 500],
      [ours, 1500],
    ]);
    expect(charts.steady(withSummaries(run))).toBeUndefined();
  });
});
