import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';

const block = Buffer.alloc(2 ** 20, 1);

/**
 * Fills and frees as much page cache as a trial is about to fill. A virtual machine hands idle memory back to
 * its host, and the first write to such a page costs many times the write itself: without this a trial
 * measures who touched that memory last (here the same 1 GiB file took 0.25 s or 3 s to write).
 */
export const primePageCache = async (directory: string, bytes: number): Promise<void> => {
  const path = join(directory, 'prime');
  const file = await open(path, 'w');
  try {
    for (let written = 0; written < bytes; written += block.length) await file.write(block);
  } finally {
    await file.close();
    // Removed before the system writes it back: nothing of it reaches the disk.
    await rm(path);
  }
};
