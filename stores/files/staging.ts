import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ignoring } from '../../src/errors.ts';
import { isDead, self } from '../../src/owner.ts';

/** Past this age, what belongs to a machine or boot that cannot be asked is litter. */
const lifetimeMs = 24 * 60 * 60 * 1000;

let instances = 0;

/**
 * The folder where everything is built before a rename or link makes it exist. Names begin with their owner,
 * so that what a dead process has left can be told from what a living one is at work on.
 */
export class Staging {
  readonly #folder: string;
  readonly #instance = ++instances;
  #counter = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes the folder, and removes what the dead have left in it. */
  async prepare(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      const owner = name.split('~', 1)[0] ?? '';
      if (isDead(owner) || (owner !== self && (await isOld(path)))) {
        await rm(path, { recursive: true, force: true });
      }
    }
  }

  /** A name nobody else uses. */
  path(): string {
    return join(this.#folder, `${self}~${this.#instance}-${this.#counter++}`);
  }
}

const isOld = async (path: string): Promise<boolean> => {
  const facts = await stat(path).catch(ignoring('ENOENT'));
  return facts !== undefined && Date.now() - facts.mtimeMs > lifetimeMs;
};
