import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { askFor } from '../lib/ask.ts';
import type { Child } from '../lib/child.ts';
import type { Variant } from '../stores-variants.ts';

// What a server has really stored, looked up behind its back where its format allows that.

/** For a walk over all that a trial has stored. */
const walkTimeoutMs = 120_000;
const sampleSize = 20;

/** Files of exactly that size: one that an upload was cut off from has less. */
const countFiles = async (directory: string, size: number): Promise<number> => {
  let count = 0;
  for (const name of await readdir(directory)) {
    // What @tus/server keeps beside each upload.
    if (name.endsWith('.json')) continue;
    if ((await stat(join(directory, name))).size === size) count++;
  }
  return count;
};

/** The fs store's folders, one for each upload, in folders by the first characters of their names. */
const countFolders = async (directory: string): Promise<number> => {
  const uploads = join(directory, 'uploads');
  let count = 0;
  for (const shard of await readdir(uploads)) count += (await readdir(join(uploads, shard))).length;
  return count;
};

/** How many uploads of that size a variant has stored. */
export const countStored = (
  { keeps }: Variant,
  server: Child,
  directory: string,
  size: number,
): Promise<number> => {
  switch (keeps) {
    case 'files':
      return countFiles(directory, size);
    case 'folders':
      return countFolders(directory);
    case 'index':
      return askFor<number>(server, 'count', true, walkTimeoutMs);
  }
};

/** Rejects unless some uploads, chosen at random, have content with this SHA-256. */
export const assertContent = async (server: Child, sha256: string): Promise<void> => {
  const sums = await askFor<string[]>(server, 'sample', sampleSize, walkTimeoutMs);
  const wrong = sums.find((sum) => sum !== sha256);
  if (wrong !== undefined) throw new Error(`read back with SHA-256 ${wrong}, sent with ${sha256}`);
  if (sums.length === 0) throw new Error('nothing can be read back');
};
