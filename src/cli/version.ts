import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** Of the package, wherever this file is in it. */
export const packageVersion = async (): Promise<string> => {
  const path = fileURLToPath(import.meta.resolve('resumable-http/package.json'));
  const { version } = JSON.parse(await readFile(path, 'utf8')) as { version: string };
  return version;
};
