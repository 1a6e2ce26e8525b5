import { join } from 'node:path';
import { systemCode } from '../../src/errors.ts';
import type { Step } from '../conformance/world.ts';
import { realFs } from './faulty-fs.ts';

const {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} = realFs;

/** Longer files are kept as if they were never synced: no test cuts their power. */
const mostBytes = 64 * 1024 * 1024;

interface Entry {
  readonly inode: number;
  readonly isFolder: boolean;
}

/**
 * What a power cut would leave of a folder at its worst: of each file the bytes as they were last synced, of each
 * folder the names as they were last synced. A disk may keep more than that, but none has to. (Linux; inodes are kept
 * from being reused by holding them open.)
 */
export class SyncedFolder {
  readonly #root: string;
  readonly #files = new Map<number, Buffer>();
  readonly #folders = new Map<number, ReadonlyMap<string, Entry>>();
  readonly #held = new Map<number, number>();

  /** The folder and what is in it now are safe. */
  constructor(root: string) {
    this.#root = root;
    this.#noteAll(root);
  }

  /** To be told of every step in the folder: what was synced is safe when the call is back. */
  observe({ name, when }: Step, descriptor: unknown): void {
    if (when !== 'after' || (name !== 'fsync' && name !== 'fdatasync')) return;
    const path = `/proc/self/fd/${descriptor}`;
    const facts = fstatSync(descriptor as number);
    const inode = this.#hold(path);
    if (facts.isDirectory()) this.#folders.set(inode, this.#entries(path));
    else if (facts.size <= mostBytes) this.#files.set(inode, readFileSync(path));
  }

  /** Puts the folder back to what was safe; and that is what is safe then. */
  cut(): void {
    for (const name of readdirSync(this.#root)) rmSync(join(this.#root, name), { recursive: true });
    this.#restore(this.#root, statSync(this.#root).ino);
    this.close();
    this.#files.clear();
    this.#folders.clear();
    this.#noteAll(this.#root);
  }

  close(): void {
    for (const descriptor of this.#held.values()) closeSync(descriptor);
    this.#held.clear();
  }

  #restore(path: string, folder: number): void {
    for (const [name, { inode, isFolder }] of this.#folders.get(folder) ?? []) {
      const target = join(path, name);
      if (isFolder) {
        mkdirSync(target);
        this.#restore(target, inode);
      } else {
        writeFileSync(target, this.#files.get(inode) ?? '');
      }
    }
  }

  #noteAll(path: string): void {
    const entries = this.#entries(path);
    this.#folders.set(this.#hold(path), entries);
    for (const [name, { inode, isFolder }] of entries) {
      if (isFolder) this.#noteAll(join(path, name));
      else this.#files.set(inode, readFileSync(join(path, name)));
    }
  }

  #entries(path: string): ReadonlyMap<string, Entry> {
    const entries = new Map<string, Entry>();
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      try {
        entries.set(entry.name, { inode: this.#hold(join(path, entry.name)), isFolder: entry.isDirectory() });
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error; // gone just now, by a call that is under way
      }
    }
    return entries;
  }

  #hold(path: string): number {
    const inode = statSync(path).ino;
    if (!this.#held.has(inode)) this.#held.set(inode, openSync(path, 'r'));
    return inode;
  }
}
