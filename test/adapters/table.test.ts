import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import type { ResumableOptions } from '../../src/index.ts';
import { fsStore } from '../../stores/fs.ts';
import { sqliteStore } from '../../stores/sqlite.ts';
import { closeClients } from '../support/raw-client.ts';
import { type Schedule, schedules } from './drive.ts';
import type { Answer } from './line.ts';
import { compose } from './message.ts';
import { type App, header, type Route, routes, status } from './routes.ts';

// Every adapter, with the parsers that people put behind it, under every way in which a client gets its bytes through:
// what the parser has seen is what was sent.

type Mode = 'hold' | 'stream';

const columns = (['hold', 'stream'] as const).flatMap((mode) =>
  (Object.keys(schedules) as Schedule[]).map((schedule) => ({ mode, schedule })),
);

const table = new Map<string, 'equal'>();
const nameOf = ({ adapter, parser }: Route): string => `${adapter}: ${parser}`;

/** Numbers in [0, 1) that follow from the name of a cell. */
const seeded = (name: string): (() => number) => {
  let word = 2166136261;
  for (const char of name) word = Math.imul(word ^ char.charCodeAt(0), 16777619);
  return () => {
    word = (word + 0x6d2b79f5) | 0;
    let mixed = Math.imul(word ^ (word >>> 15), word | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  closeClients();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** What this process has open below a folder, where the system tells. */
const openBelow = async (folder: string): Promise<string[]> => {
  if (!existsSync('/proc/self/fd')) return [];
  const names = await readdir('/proc/self/fd');
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(folder));
};

/** A database stays open as long as its store. */
const isDatabase = (path: string): boolean => /\.sqlite(-\w+)?$/.test(path);

/** An application over a store of its own, which can be stopped and started again. */
const startCell = async (route: Route, mode: Mode, kind: 'fs' | 'sqlite', random: () => number) => {
  const folder = await mkdtemp(join(tmpdir(), 'resumable-http-table-'));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const parsed = join(folder, 'parsed');
  await mkdir(parsed);
  const directory = join(folder, 'store');
  const attempts: (number | undefined)[] = [];
  const errors: unknown[] = [];
  const start = (): Promise<App> => {
    const durability = 'process'; // no power cut is to be survived here
    const options: ResumableOptions = {
      store: kind === 'fs' ? fsStore(directory, { durability }) : sqliteStore({ directory, durability }),
      mode,
      identify: ({ url = '' }) => new URL(url, 'http://localhost').searchParams.get('name') ?? undefined,
      onError: (error) => errors.push(error),
    };
    return route.start({ options, folder: parsed, enter: (upload) => attempts.push(upload?.attempt) });
  };
  let app = await start();
  cleanups.push(() => app.stop());
  const stop = async (): Promise<void> => {
    await app.stop();
    await expect.poll(() => openBelow(folder), { interval: 2 }).toEqual([]);
  };
  return {
    message: compose(route.form, 300_000 + Math.floor(random() * 400_000), Math.ceil(random() * 1000)),
    random,
    get line() {
      return app.line;
    },
    async restart() {
      await stop();
      app = await start();
    },
    stop,
    attempts,
    errors,
    usage: () => app.uploads.usage(),
    /** What its parsers have made. */
    files: () => readdir(parsed),
    openFiles: async () => (await openBelow(folder)).filter((path) => !isDatabase(path)),
  };
};

const shown = ({ status, headers, body }: Answer) => ({
  status,
  route: headers[header.toLowerCase()],
  type: headers['content-type'],
  body: body.toString(),
});

const idle = { heldBytes: 0, liveUploads: 0, completions: 0 };

describe.each(routes.map((route, row) => [nameOf(route), route, row] as const))('%s', (name, route, row) => {
  const cells = columns.map(({ mode, schedule }, column) => {
    const kind = (row + column) % 2 === 0 ? ('fs' as const) : ('sqlite' as const);
    return [mode, schedule, kind] as const;
  });

  test.each(cells)('sees what was sent: %s, %s, %s', async (mode, schedule, kind) => {
    const cell = await startCell(route, mode, kind, seeded(`${name}, ${mode}, ${schedule}`));
    const { answer, again } = await schedules[schedule](cell);
    expect(JSON.parse(answer.body.toString())).toEqual(cell.message.seen);
    expect([answer.status, answer.headers[header.toLowerCase()]]).toEqual([status, route.parser]);
    // Who posts to a URL of many uploads and has no session has no way to ask again.
    if (schedule !== 'plain POST') expect(shown(await again())).toEqual(shown(answer));
    // Only who had begun to read before the restart begins again.
    expect(cell.attempts).toEqual(mode === 'stream' && schedule === 'restart' ? [1, 2] : [1]);
    await expect.poll(cell.usage, { interval: 2 }).toEqual(idle);
    await expect.poll(cell.openFiles, { interval: 2 }).toEqual([]);
    await expect.poll(cell.files, { interval: 2 }).toHaveLength(route.files);
    await cell.stop();
    expect(cell.errors).toEqual([]);
    table.set(`${name}, ${mode}, ${schedule}`, 'equal');
  });
});

afterAll(() => {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const head = ['', ...columns.map(({ mode, schedule }) => `${mode}, ${schedule}`)];
  const rows = routes.map(nameOf).map((name) => {
    const cells = columns.map(({ mode, schedule }) => table.get(`${name}, ${mode}, ${schedule}`) ?? '—');
    return line([name, ...cells]);
  });
  console.log([line(head), line(head.map(() => '---')), ...rows].join('\n'));
});
