import { access, constants, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ignoring } from '../errors.ts';
import type { Problem } from './problems.ts';

/** Whether it is a folder: the file goes into it. */
export const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(ignoring('ENOENT')))?.isDirectory() === true;

/** Where a file called `name` goes. */
export const targetIn = (folder: string, name: string): string =>
  folder === '.' ? name : join(folder, name);

/** Rejects when the folder of the target is none that can be written. */
export const assertFolder = async (target: string): Promise<void> => {
  await access(dirname(target), constants.W_OK);
};

/** Whether a later download can go on from what is there. */
export const isKept = async (target: string): Promise<boolean> =>
  (await stat(`${target}.partial.json`).catch(ignoring('ENOENT'))) !== undefined;

/** What would be lost by saving there: a part of a download of another URL. */
export const inTheWay = async (target: string, url: URL): Promise<Problem | undefined> => {
  const notes = await readFile(`${target}.partial.json`, 'utf8').catch(ignoring('ENOENT'));
  const other = notes === undefined ? undefined : /"url":("(?:[^"\\]|\\.)*")/.exec(notes)?.[1];
  if (other === undefined || JSON.parse(other) === url.href) return undefined;
  return {
    code: 'target_exists',
    message: `${target}.partial is a part of ${JSON.parse(other)}`,
    hints: ['--force gives that up; or name another: resumable-http download URL FILE'],
  };
};
