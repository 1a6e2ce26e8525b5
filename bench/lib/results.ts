import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** Where results are kept, unless somebody looks elsewhere. */
export const resultsDirectory = new URL('../results/', import.meta.url);

const write = async (file: string, text: string): Promise<string> => {
  await mkdir(resultsDirectory, { recursive: true });
  const path = new URL(file, resultsDirectory);
  await writeFile(path, text);
  return fileURLToPath(path);
};

/** Writes `bench/results/NAME.json`; resolves with its path. */
export const writeResults = (name: string, results: unknown): Promise<string> =>
  write(`${name}.json`, `${JSON.stringify(results, undefined, 2)}\n`);

/** Writes `bench/results/NAME.svg`; resolves with its path. */
export const writePicture = (name: string, svg: string): Promise<string> => write(`${name}.svg`, svg);

/** What a benchmark has recorded; undefined when it never was. */
export const readResults = async <T>(name: string, directory = resultsDirectory): Promise<T | undefined> => {
  let text: string;
  try {
    text = await readFile(new URL(`${name}.json`, directory), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return JSON.parse(text) as T;
};
