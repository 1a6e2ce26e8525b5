// Writes the performance section of README.md from bench/results, so that no figure in it is typed by hand, and draws
// the charts it shows. With a path, that file instead of README.md.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Recorded } from './charts.ts';
import { drawChart } from './draw.ts';
import { readResults } from './lib/results.ts';
import { performanceText, recordedNames, withPerformance } from './performance.ts';

const readme = process.argv[2] ?? fileURLToPath(new URL('../README.md', import.meta.url));

const recorded: Partial<Record<keyof Recorded, unknown>> = {};
for (const name of recordedNames) {
  const results = await readResults(name);
  if (results !== undefined) recorded[name] = results;
  await drawChart(name);
}
const text = performanceText(recorded as Partial<Recorded>);
await writeFile(readme, withPerformance(await readFile(readme, 'utf8'), text));
