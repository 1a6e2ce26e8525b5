import { spawnSync } from 'node:child_process';
import { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Bar, barLine, type Step } from '../../src/cli/bar.ts';
import {
  displayWidth,
  formatAge,
  formatBytes,
  formatDuration,
  printable,
  shortened,
} from '../../src/cli/format.ts';
import { content } from '../support/requests.ts';
import { file, folder, nodeArgs, serve } from './support.ts';

const MiB = 1024 * 1024;
const step: Step = {
  file: 'films/film.mp4',
  label: 'film.mp4',
  state: 'sending',
  done: 30 * MiB,
  total: 120 * MiB,
  rate: 2.5 * MiB,
  etaMs: 36_000,
};

describe('the line of a bar', () => {
  test('says how far it is, how fast, and for how long still', () => {
    expect(barLine(step, 100)).toBe(
      'film.mp4  [=========>                            ]   25%  30.0 MiB of 120.0 MiB  2.5 MiB/s  ETA 0:36',
    );
  });

  test('is never wider than the terminal, whatever the label', () => {
    for (const label of ['film.mp4', '電影'.repeat(40), `e\u0301${'x'.repeat(200)}`, '🎬'.repeat(50), '']) {
      for (let columns = 1; columns <= 140; columns++) {
        for (const part of [0, 0.5, 1]) {
          const line = barLine({ ...step, label, done: part * step.total }, columns);
          expect(displayWidth(line)).toBeLessThanOrEqual(columns);
        }
      }
    }
  });

  test('does without a share where nobody knows the whole, and is full of nothing', () => {
    expect(barLine({ ...step, total: Number.POSITIVE_INFINITY }, 80)).toBe('film.mp4  30.0 MiB  2.5 MiB/s');
    expect(barLine({ ...step, done: 0, total: 0 }, 80)).toContain('100%');
  });

  test('says what is going on where nothing moves', () => {
    expect(barLine({ ...step, state: 'reconnecting' }, 80)).toMatch(
      /30\.0 MiB of 120\.0 MiB {2}reconnecting$/,
    );
  });
});

test('a bar is drawn over itself, ten times a second at most, and leaves an empty line', () => {
  const written: string[] = [];
  const terminal = Object.assign(
    new Writable({
      write(chunk, _encoding, done) {
        written.push(String(chunk));
        done();
      },
    }),
    { columns: 80, isTTY: true },
  );
  const bar = new Bar(terminal);
  for (let done = 0; done < 1000; done++) bar.show({ ...step, done });
  const drawn = written.filter((text) => text.startsWith('film.mp4'));
  expect(drawn.length).toBeGreaterThan(0);
  expect(drawn.length).toBeLessThan(10);
  bar.clear();
  for (const line of drawn) expect(displayWidth(line)).toBeLessThanOrEqual(77); // ^C fits behind it
  expect(written.join('')).not.toContain('\n');
  const [, after = ''] = written.join('').split('film.mp4').at(-1)?.split('ETA 0:36') ?? [];
  expect(after).toContain('\u001b[1G\u001b[2K');
});

test.runIf(spawnSync('script', ['--version']).status === 0)(
  'on a terminal there is a bar, and the result after it',
  async () => {
    const server = await serve('--dir', await folder());
    const path = await file(content(3 * MiB));
    const command = [
      process.execPath,
      ...nodeArgs(),
      'upload',
      path,
      `http://127.0.0.1:${server.port}/upload`,
    ].join(' ');
    const { stdout, status } = spawnSync('script', ['-qec', command, '/dev/null'], {
      encoding: 'utf8',
      env: { ...process.env, XDG_STATE_HOME: await folder() },
    });
    expect(status).toBe(0);
    expect(stdout).toContain('\u001b[1G');
    const text = stripVTControlCharacters(stdout);
    expect(text).toMatch(/film\.mp4 .*100% {2}3\.0 MiB of 3\.0 MiB/);
    expect(text.trim()).toMatch(/201 http:\/\/127\.0\.0\.1:\d+\/files\/[\w-]+ film\.mp4$/);
  },
);

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1536, '1.5 KiB'],
  [1024 * 1024 - 1, '1.0 MiB'],
  [5 * 1024 ** 5, '5.0 PiB'],
])('%d bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test('times are short', () => {
  expect([0, 900, 61_000, 3_723_000, Number.POSITIVE_INFINITY].map(formatDuration)).toEqual([
    '0:00',
    '0:01',
    '1:01',
    '1:02:03',
    '-:--',
  ]);
  expect([-5, 59_999, 60_000, 7_200_000, 10 * 86_400_000].map(formatAge)).toEqual([
    '0 s',
    '59 s',
    '1 min',
    '2 h',
    '10 d',
  ]);
});

test('what others have written cannot steer a terminal', () => {
  expect(printable('a\u001b[31mb\u0007\r\nc\u009bd\u202ee\ud800')).toBe('a [31mb c de\ufffd');
  expect(shortened('電影電影', 5)).toBe('電影…');
});
