import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** Writes `bench/results/NAME.json`; resolves with its path. */
export const writeResults = async (name: string, results: unknown): Promise<string> => {
  const directory = new URL('../results/', import.meta.url);
  await mkdir(directory, { recursive: true });
  const file = new URL(`${name}.json`, directory);
  await writeFile(file, `${JSON.stringify(results, undefined, 2)}\n`);
  return fileURLToPath(file);
};
