import { parseArgs } from 'node:util';
import { isUploadError } from '../errors.ts';
import type { Store, StoredUpload } from '../store.ts';
import type { Command } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { formatAge, formatBytes, printable } from './format.ts';
import { Output, outputHelp, outputOptions } from './output.ts';
import { findStore, readPlace, storeHelp, storeOptions } from './stores.ts';
import { UsageError } from './usage-error.ts';

const help = `Lists uploads, the one that has moved last at the end: id, state (open, claimed by a handler, finished, removed), what has
arrived of what length, how long ago, and the name its sender gave.

${storeHelp()}  --all                   those that were removed, too
${outputHelp}`;

/** How many are looked at at once: in a bucket each look is a request. */
const atOnce = 16;

interface Row {
  readonly id: string;
  readonly state: string;
  /** In bytes. */
  readonly received: number;
  /** Undefined while nobody has said it. */
  readonly length: number | undefined;
  readonly activeAt: number;
  readonly name: string | undefined;
}

const rowOf = ({ record, received, activeAt }: StoredUpload): Row => ({
  id: record.id,
  state: record.state,
  received: received.reduce((sum, { start, end }) => sum + end - start, 0),
  length: record.length,
  activeAt,
  name: record.metadata.filename ?? record.metadata.name,
});

/** What another process removes meanwhile is left out. */
const look = async (store: Store, id: string): Promise<Row | undefined> => {
  try {
    const stored = await store.load(id);
    return stored && rowOf(stored);
  } catch (error) {
    if (!isUploadError(error, 'gone')) throw error;
    return { id, state: 'unreadable', received: 0, length: undefined, activeAt: 0, name: undefined };
  }
};

const rowsOf = async (store: Store, all: boolean): Promise<Row[]> => {
  const rows = new Map<string, Row>();
  let looks: Promise<Row | undefined>[] = [];
  const take = async (): Promise<void> => {
    for (const row of await Promise.all(looks)) {
      if (row !== undefined && (all || row.state !== 'removed')) rows.set(row.id, row);
    }
    looks = [];
  };
  const filters = all ? [] : [{ states: ['open', 'claimed', 'finished'] as const }];
  for await (const id of filters.length === 0 ? store.list() : store.list(filters)) {
    looks.push(look(store, id));
    if (looks.length === atOnce) await take();
  }
  await take();
  return [...rows.values()].sort((a, b) => a.activeAt - b.activeAt);
};

/** In columns. */
const table = (rows: readonly (readonly string[])[]): string[] => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
};

const run: Command['run'] = async (args, streams) => {
  const options = { ...storeOptions, ...outputOptions, all: { type: 'boolean', default: false } } as const;
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
  if (positionals.length > 0) throw new UsageError(`ls takes no ${positionals[0]}`);
  const output = new Output(values, streams);
  const store = await findStore(readPlace(values));
  try {
    const rows = await rowsOf(store, values.all);
    const now = Date.now();
    const texts = rows.map(({ id, state, received, length, activeAt, name }) => [
      id,
      state,
      `${formatBytes(received)} of ${length === undefined ? '?' : formatBytes(length)}`,
      activeAt === 0 ? '?' : formatAge(now - activeAt),
      name === undefined ? '-' : printable(name),
    ]);
    const head = output.isForPeople ? [['ID', 'STATE', 'RECEIVED', 'AGE', 'NAME']] : [];
    const lines = table([...head, ...texts]);
    if (head.length > 0) output.result(lines.shift() ?? '', {});
    for (const [index, row] of rows.entries()) output.result(lines[index] ?? '', { ...row });
  } finally {
    await store.close();
  }
  return exitCodes.done;
};

export const ls: Command = { summary: 'list uploads', operands: '[options]', help, run };
