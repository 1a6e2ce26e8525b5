import { watch } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const everyMs = 20;

/** What was seen in a directory. */
export interface Sighting {
  /** Different names, however short each was there. */
  readonly files: number;
  /** The most that was there at once, as far as a look every 20 ms can tell. */
  readonly peakBytes: number;
  readonly leftFiles: number;
}

const isGone = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Files may go between the two looks. */
const sizeOf = async (path: string): Promise<number> => {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isGone(error)) return 0;
    throw error;
  }
};

/** Runs `use`, and tells what came into the directory meanwhile. */
export const watchFiles = async <T>(
  directory: string,
  use: () => Promise<T>,
): Promise<{ readonly result: T; readonly seen: Sighting }> => {
  const names = new Set<string>();
  let peakBytes = 0;
  const watcher = watch(directory, (_event, name) => void names.add(String(name)));
  const failed = new Promise<never>((_resolve, reject) => watcher.once('error', reject));
  const look = async (): Promise<string[]> => {
    const found = await readdir(directory);
    for (const name of found) names.add(name);
    const sizes = await Promise.all(found.map((name) => sizeOf(join(directory, name))));
    peakBytes = Math.max(
      peakBytes,
      sizes.reduce((total, size) => total + size, 0),
    );
    return found;
  };
  let ended = false;
  const looking = (async (): Promise<void> => {
    while (!ended) {
      await look();
      await sleep(everyMs);
    }
  })();
  try {
    const lookFailed = looking.then(() => new Promise<never>(() => {}));
    const result = await Promise.race([use(), failed, lookFailed]);
    ended = true;
    await looking;
    const left = await look();
    return { result, seen: { files: names.size, peakBytes, leftFiles: left.length } };
  } finally {
    ended = true;
    watcher.close();
    await looking;
  }
};
