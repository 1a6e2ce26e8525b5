import { readFile } from 'node:fs/promises';

/**
 * How many files a process that this one starts may have open at once, connections among them: Node raises its own
 * bound to the hard one. Undefined where the system does not say.
 */
export const openFilesLimit = async (): Promise<number | undefined> => {
  let limits: string;
  try {
    limits = await readFile('/proc/self/limits', 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1];
  return hard === undefined ? undefined : Number(hard);
};
