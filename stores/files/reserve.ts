import { isFull } from '../../src/errors.ts';
import { createFile, removeFile } from './io.ts';
import type { Staging } from './staging.ts';

/** Sizes are rounded up to this, so that one file serves for many uploads. */
const unit = 64 * 1024;

/** Files that are kept though nobody needs them at the moment. */
const mostFree = 64;

interface Room {
  readonly path: string;
  readonly bytes: number;
}

/**
 * Room on the disk for what must not fail for want of it: files whose blocks are allocated (Node has no
 * fallocate), and stay so until the file is removed. Writing one costs many times what is stored in its stead,
 * so one that was not needed serves the next upload.
 */
export class Reserve {
  readonly #staging: Staging;
  readonly #sync: boolean;
  #free: Room[] = [];
  readonly #taken = new Map<string, Room>();

  constructor(staging: Staging, sync: boolean) {
    this.#staging = staging;
    this.#sync = sync;
  }

  /** Keeps `bytes` for an upload; false when it has some already. Rejects with ENOSPC where there is no room. */
  async take(id: string, bytes: number): Promise<boolean> {
    if (this.#taken.has(id)) return false;
    const index = this.#free.findIndex((room) => room.bytes >= bytes);
    const [found] = index === -1 ? [] : this.#free.splice(index, 1);
    const room = found ?? (await this.#make(bytes));
    const isFirst = !this.#taken.has(id);
    if (isFirst) this.#taken.set(id, room);
    else this.#free.push(room);
    return isFirst;
  }

  /**
   * Does what the room is kept for. Where it fails because the disk is full, the room is given up, and it is done
   * again at once, so that hardly anybody else can take the blocks in between.
   */
  async spend<T>(id: string, action: () => Promise<T>, again = action): Promise<T> {
    try {
      return await action();
    } catch (error) {
      const room = isFull(error) ? this.#taken.get(id) : undefined;
      if (room === undefined) throw error;
      // For whoever else has just failed for the same want, too: what is removed already is given up for all.
      await removeFile(room.path);
      if (this.#taken.get(id) === room) this.#taken.delete(id);
      return await again();
    }
  }

  /** The upload needs its room no more. */
  async release(id: string): Promise<void> {
    const room = this.#taken.get(id);
    if (room === undefined) return;
    this.#taken.delete(id);
    if (this.#free.length < mostFree) this.#free.push(room);
    else await removeFile(room.path);
  }

  async close(): Promise<void> {
    const rooms = [...this.#free, ...this.#taken.values()];
    this.#free = [];
    this.#taken.clear();
    await Promise.all(rooms.map(({ path }) => removeFile(path)));
  }

  async #make(wanted: number): Promise<Room> {
    const room = { path: this.#staging.path(), bytes: Math.ceil(wanted / unit) * unit };
    try {
      await createFile(room.path, [Buffer.alloc(room.bytes)], this.#sync);
    } catch (error) {
      await removeFile(room.path);
      throw error;
    }
    return room;
  }
}
