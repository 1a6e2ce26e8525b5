import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ignoring } from '../../src/errors.ts';
import { syncDirectory } from '../../src/place-file.ts';
import { createFile, openFd, removeFile } from '../files/io.ts';

/**
 * Content files. Their names are random, and the index knows whose they are: a name is never used twice, so that
 * what is removed late can't be what was written since.
 */
export class Contents {
  readonly #folder: string;
  readonly #power: boolean;
  readonly #shards = new Set<string>();

  constructor(folder: string, power: boolean) {
    this.#folder = folder;
    this.#power = power;
  }

  /** The name of a file that is not there yet. */
  newName(): string {
    const name = randomBytes(16).toString('base64url');
    return `${name.slice(0, 2)}/${name}`;
  }

  path(file: string): string {
    return join(this.#folder, file);
  }

  /** A new file with all its bytes, safe with its name. */
  async create(file: string, content: readonly Uint8Array[]): Promise<void> {
    await this.#makeShard(file);
    await createFile(this.path(file), content, this.#power);
    await this.syncName(file);
  }

  /** The descriptor of a file for reading and writing; it is made where it is missing. */
  async open(file: string): Promise<number> {
    await this.#makeShard(file);
    return openFd(this.path(file), constants.O_CREAT | constants.O_RDWR);
  }

  /** A file's own sync does not cover its name. */
  async syncName(file: string): Promise<void> {
    if (this.#power) await syncDirectory(dirname(this.path(file)));
  }

  async remove(file: string): Promise<void> {
    await removeFile(this.path(file));
  }

  async #makeShard(file: string): Promise<void> {
    const shard = dirname(this.path(file));
    if (this.#shards.has(shard)) return;
    await mkdir(shard, { mode: 0o700 }).catch(ignoring('EEXIST'));
    if (this.#power) await syncDirectory(this.#folder);
    this.#shards.add(shard);
  }
}
