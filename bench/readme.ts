// Writes the performance section of README.md from bench/results, so that no figure in it is typed by hand.
import { readFile, writeFile } from 'node:fs/promises';
import { type Machine, machineLines } from './lib/machine.ts';
import { growthSummaries, growthTable } from './stores/growth-report.ts';
import { smallSummaries, smallTable } from './stores/small-report.ts';
import type { StoresResults } from './stores-report.ts';
import { type Conditions, summaries, type Trial, uploadTable } from './upload-report.ts';

const readme = new URL('../README.md', import.meta.url);
const section = /(<!-- performance: begin[^\n]*-->\n)[\s\S]*?(<!-- performance: end -->)/;

/** Undefined when that benchmark was never recorded. */
const readResults = async <T>(name: string): Promise<T | undefined> => {
  const file = new URL(`results/${name}.json`, import.meta.url);
  try {
    return JSON.parse(await readFile(file, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
};

interface Run {
  readonly machine: Machine;
  readonly date: string;
  readonly command: string;
}

/** Where the figures above it come from. */
const origin = ({ machine, date, command }: Run): string[] => [
  ...machineLines(machine).map((line) => `${line}  `),
  `${date.slice(0, 10)}, \`${command}\``,
  '',
];

const uploadSection = (results: Conditions & { readonly raw: readonly Trial[] }): string[] => [
  `One upload of ${results.sizeMiB} MiB over loopback; medians of ${results.trials} trials, each against a fresh`,
  'server process, all variants interleaved. `power` syncs everything before it says so; nobody else syncs at all.',
  '',
  uploadTable(summaries(results.raw, results.sizeMiB)),
  '',
  ...origin(results),
];

const storesSection = ({ small, index, ...run }: StoresResults): string[] => [
  ...(small === undefined
    ? []
    : [
        `Uploads of ${small.contentBytes} bytes, each created and completed by one request, ${small.connections} connections; medians of`,
        `${small.trials} trials of ${small.seconds} s.`,
        '',
        smallTable(smallSummaries(small)),
        '',
      ]),
  ...(index === undefined
    ? []
    : [
        `A query for the state of one of many uploads, one connection, medians of ${index.rounds} rounds of ${index.seconds} s. Opening is`,
        'the first answer of a new process on what a killed one left.',
        '',
        growthTable(growthSummaries(index)),
        '',
      ]),
  ...(small === undefined && index === undefined ? [] : origin(run)),
];

const upload = await readResults<Parameters<typeof uploadSection>[0]>('upload');
const stores = await readResults<StoresResults>('stores');
const text = [...(upload ? uploadSection(upload) : []), ...(stores ? storesSection(stores) : [])].join('\n');
await writeFile(
  readme,
  (await readFile(readme, 'utf8')).replace(section, (_all, begin, end) => `${begin}${text}${end}`),
);
