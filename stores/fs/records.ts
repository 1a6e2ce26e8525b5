import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { ignoring } from '../../src/errors.ts';
import { syncDirectory } from '../../src/place-file.ts';
import type { Reservation, UploadRecord } from '../../src/store.ts';
import { closeFd, openFd, removeFile, syncFd } from '../files/io.ts';
import type { Reserve } from '../files/reserve.ts';
import type { Staging } from '../files/staging.ts';
import { type RecordVersion, replay } from './record-entry.ts';
import { RecordLog } from './record-log.ts';

/** The name of the log in an upload's folder. */
export const logName = 'records';

/** Longer than an operating system keeps what it was given from the disk, by a margin. */
export const writebackMs = 60_000;

/** Claims whose log is kept open at the most, until they end. */
const mostKept = 256;

/** The first version of a record on its way into the folder that is being built. Exactly one of the ends ends it. */
export interface NewRecord {
  /** Makes the log in a folder. */
  write(folder: string): Promise<void>;
  /** The folder exists now. */
  keep(): void;
  /** It never will. */
  drop(): Promise<void>;
}

/** Every change of a record in this store instance. */
export class Records {
  readonly #staging: Staging;
  readonly #reserve: Reserve;
  readonly #power: boolean;
  readonly #author = randomBytes(9).toString('base64url');
  #versions = 0;
  /** Logs to which this instance is just appending, by their upload. */
  readonly #appending = new Set<string>();
  /** Claims made here end here too, as a rule, and soon. */
  readonly #kept = new Map<string, RecordLog>();

  constructor(staging: Staging, reserve: Reserve, power: boolean) {
    this.#staging = staging;
    this.#reserve = reserve;
    this.#power = power;
  }

  async create(record: UploadRecord, { reserve }: Reservation): Promise<NewRecord> {
    const { id } = record;
    const isReserved = reserve !== undefined && (await this.#reserve.take(id, reserve));
    let log: RecordLog | undefined;
    return {
      write: async (folder) => {
        log = await RecordLog.create(join(folder, logName), this.#version(record, 1), this.#power);
      },
      keep: () => this.#keep(record, log),
      drop: async () => {
        log?.close();
        if (isReserved) await this.#reserve.release(id);
      },
    };
  }

  /** See `Store.update`. */
  async replace(
    folder: string,
    version: number,
    record: UploadRecord,
    { reserve }: Reservation,
  ): Promise<boolean> {
    const { id } = record;
    const isReserved = reserve !== undefined && (await this.#reserve.take(id, reserve));
    let log: RecordLog | undefined;
    let won = false;
    try {
      // What has come into a kept log since, the append finds out.
      log = this.#takeKept(id, version) ?? (await RecordLog.open(join(folder, logName)));
      won = log !== undefined && (await this.#append(log, version, record, reserve === undefined));
    } finally {
      if (reserve === undefined || (isReserved && !won)) await this.#reserve.release(id);
      if (won) this.#keep(record, log);
      else log?.close();
    }
    return won;
  }

  /** Whoever looks learns of the upload that has the id now: a log of an earlier one is no use any more. */
  forgetPurged(id: string): void {
    const log = this.#kept.get(id);
    if (log === undefined || log.isLinked) return;
    this.#kept.delete(id);
    log.close();
  }

  /** The version in force; undefined when there is no log, `unreadable` when it is damaged. */
  async read(folder: string): Promise<RecordVersion | 'unreadable' | undefined> {
    const bytes = await readFile(join(folder, logName)).catch(ignoring('ENOENT', 'ENOTDIR'));
    return bytes && (replay(bytes).current ?? 'unreadable');
  }

  /** Makes sure that what was read is on the disk, whoever wrote it. */
  async settle(folder: string): Promise<void> {
    const fd = await openFd(join(folder, logName), constants.O_RDONLY).catch(ignoring('ENOENT'));
    if (fd === undefined) return;
    try {
      await syncFd(fd);
    } finally {
      await closeFd(fd);
    }
    await syncDirectory(folder).catch(ignoring('ENOENT'));
  }

  /**
   * Whether a version may be in force without being on the disk: another process may have only just made it, or
   * this one be making it.
   */
  isFresh({ at, name, record }: RecordVersion): boolean {
    if (Date.now() - at > writebackMs) return false;
    return !name.startsWith(this.#author) || this.#appending.has(record.id);
  }

  /**
   * No other version will follow a tombstone, and what the upload was before is nobody's business any more: cut
   * that off.
   */
  async compact(folder: string): Promise<void> {
    const bytes = await readFile(join(folder, logName)).catch(ignoring('ENOENT'));
    const last = bytes && replay(bytes).current;
    if (last === undefined || last === 'unreadable' || last.record.state !== 'removed') return;
    if (bytes?.lastIndexOf('\nrecord/') === 0) return; // it holds nothing else
    const path = this.#staging.path();
    try {
      const log = await RecordLog.create(path, last, this.#power);
      log.close();
      await rename(path, join(folder, logName)).catch(ignoring('ENOENT'));
    } finally {
      await removeFile(path);
    }
    if (this.#power) await syncDirectory(folder).catch(ignoring('ENOENT'));
  }

  close(): void {
    for (const log of this.#kept.values()) log.close();
    this.#kept.clear();
  }

  async #append(
    log: RecordLog,
    version: number,
    record: UploadRecord,
    mayUseReserve: boolean,
  ): Promise<boolean> {
    const { id } = record;
    if (log.current?.version !== version) return false;
    const next = this.#version(record, version + 1);
    this.#appending.add(id);
    try {
      const append = () => log.append(next, this.#power);
      return await (mayUseReserve ? this.#reserve.spend(id, append) : append());
    } finally {
      this.#appending.delete(id);
    }
  }

  #version(record: UploadRecord, version: number): RecordVersion {
    const name = this.#author + (this.#versions++).toString(36);
    return { record, version, name, at: Date.now() };
  }

  /** Undefined, too, when others have gone on from the version that is known here. */
  #takeKept(id: string, version: number): RecordLog | undefined {
    const log = this.#kept.get(id);
    this.#kept.delete(id);
    if (log === undefined || log.current?.version === version) return log;
    log.close();
    return undefined;
  }

  #keep({ id, state }: UploadRecord, log: RecordLog | undefined): void {
    if (log === undefined) return;
    this.#kept.get(id)?.close();
    this.#kept.delete(id);
    if (state === 'claimed' && this.#kept.size < mostKept) this.#kept.set(id, log);
    else log.close();
  }
}
