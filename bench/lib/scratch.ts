import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, stat, statfs, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Runs `use` with a fresh directory, and resolves when that is gone and the disk is idle again. */
export const withScratch = async <T>(use: (directory: string) => Promise<T>): Promise<T> => {
  const directory = await mkdtemp(join(tmpdir(), 'resumable-bench-'));
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
    await settle();
  }
};

/**
 * Runs `use` with a source of fresh directories, none of which is removed before it has ended: ext4 steps over
 * every inode that was freed in the last minutes, so what one trial removes makes each file of the next dearer.
 */
export const withScratches = async <T>(use: (fresh: () => Promise<string>) => Promise<T>): Promise<T> => {
  const parent = await mkdtemp(join(tmpdir(), 'resumable-bench-'));
  try {
    return await use(() => mkdtemp(join(parent, 'trial-')));
  } finally {
    process.stderr.write(`removing ${parent}\n`);
    await rm(parent, { recursive: true, force: true });
    await settle();
  }
};

/** One trial's write-back must not be paid for by the next. */
export const settle = async (): Promise<void> => {
  if (process.platform !== 'win32') await run('sync');
};

/** Bytes that the files under a directory really occupy: a hole in a file was never written. */
export const allocatedBytes = async (directory: string): Promise<number> => {
  let total = 0;
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) total += (await stat(join(entry.parentPath, entry.name))).blocks * 512;
  }
  return total;
};

/**
 * Gives back what the files under a directory occupy, and keeps the files: a run of many gigabytes fits on the disk, and
 * no inode is freed before its end.
 */
export const emptyFiles = async (directory: string): Promise<void> => {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await truncate(join(entry.parentPath, entry.name));
  }
};

const tmpfsMagic = 0x01021994;

/** Whether scratch directories are kept in memory, where writing is a copy and syncing is free. */
export const scratchIsMemory = async (): Promise<boolean> => (await statfs(tmpdir())).type === tmpfsMagic;
