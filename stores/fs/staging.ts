import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDead, self } from '../../src/owner.ts';
import { createFile, ignoring } from './files.ts';

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
  /** Files that hold room for the next record of an upload. */
  readonly #reserved = new Map<string, string>();
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

  /**
   * Blocks that are allocated (Node has no fallocate) stay so until the file is cut or removed. False when
   * there were some before.
   */
  async reserve(id: string, bytes: number, sync: boolean): Promise<boolean> {
    if (this.#reserved.has(id)) return false;
    const path = this.path();
    await createFile(path, [Buffer.alloc(bytes)], sync);
    this.#reserved.set(id, path);
    return true;
  }

  /** The reserved file of an upload, the caller's from now on; or a new name. */
  take(id: string): string {
    const path = this.#reserved.get(id) ?? this.path();
    this.#reserved.delete(id);
    return path;
  }

  async release(id: string): Promise<void> {
    const path = this.#reserved.get(id);
    this.#reserved.delete(id);
    if (path !== undefined) await rm(path, { force: true });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#reserved.keys()].map((id) => this.release(id)));
  }
}

const isOld = async (path: string): Promise<boolean> => {
  const facts = await stat(path).catch(ignoring('ENOENT'));
  return facts !== undefined && Date.now() - facts.mtimeMs > lifetimeMs;
};
