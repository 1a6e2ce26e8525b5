// Writes the performance section of README.md from bench/results, so that no figure in it is typed by hand.
import { readFile, writeFile } from 'node:fs/promises';
import { machineLines } from './lib/machine.ts';
import { type Conditions, summaries, type Trial, uploadTable } from './upload-report.ts';

const readme = new URL('../README.md', import.meta.url);
const results = new URL('results/upload.json', import.meta.url);
const section = /(<!-- performance: begin[^\n]*-->\n)[\s\S]*?(<!-- performance: end -->)/;

const { raw: trials, ...conditions } = JSON.parse(await readFile(results, 'utf8')) as Conditions & {
  raw: Trial[];
};
const text = [
  `One upload of ${conditions.sizeMiB} MiB over loopback; medians of ${conditions.trials} trials, each against a fresh`,
  'server process, all variants interleaved. `power` syncs everything before it says so; nobody else syncs at all.',
  '',
  uploadTable(summaries(trials, conditions.sizeMiB)),
  '',
  ...machineLines(conditions.machine).map((line) => `${line}  `),
  `${conditions.date.slice(0, 10)}, \`${conditions.command}\``,
  '',
].join('\n');
await writeFile(
  readme,
  (await readFile(readme, 'utf8')).replace(section, (_all, begin, end) => `${begin}${text}${end}`),
);
