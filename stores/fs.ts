import { randomBytes } from 'node:crypto';
import { constants, open as openCallback } from 'node:fs';
import {
  access,
  link,
  mkdir,
  open,
  opendir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
} from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { systemCode, UploadError } from '../src/errors.ts';
import { IntervalSet, type Range } from '../src/intervals.ts';
import { isDead, self } from '../src/owner.ts';
import { placeLink, syncDirectory } from '../src/place-file.ts';
import type {
  Durability,
  Store,
  StoreCapabilities,
  StoredUpload,
  StoreWriter,
  UploadRecord,
} from '../src/store.ts';
import { createFile, ignoring, writeAll } from './fs/files.ts';
import { decodeEntries } from './fs/journal.ts';
import { JournalFile } from './fs/journal-file.ts';
import { FileReader } from './fs/reader.ts';
import { decodeRecord, encodeRecord, isAncestor, nextRecord, type RecordFile } from './fs/record-file.ts';
import { Staging } from './fs/staging.ts';
import { FsWriter } from './fs/writer.ts';

// One folder for each upload, under the first two characters of its id:
//
//     uploads/ab/ab…/content          bytes at their offsets; or
//     uploads/ab/ab…/whole            all bytes, from an upload that arrived at once: needs no journal
//     uploads/ab/ab…/journal.OWNER.K  received ranges, appended by one process each (fs/journal.ts)
//     uploads/ab/ab…/record.N         version N of the record; the highest counts (fs/record-file.ts)
//     staging/OWNER~K                 whatever is being built: only its rename or link makes it exist
//
// Compare-and-set is `link`: of all who try to give version N + 1 its name, the file system lets one.

export interface FsStoreOptions {
  /**
   * How safe "stored" is (see `Durability`).
   * @default 'power'
   */
  readonly durability?: Durability;
}

/** Journals of dead processes are folded into one when there are this many. */
const foldAt = 8;

/** Longer than an operating system keeps what it was given from the disk, by a margin. */
const writebackMs = 60_000;

const openFd = promisify(openCallback);

let instances = 0;

/**
 * Keeps uploads in a folder of a local file system with hard links. Several processes of one machine may use
 * it at once. Network file systems are not promised.
 */
export const fsStore = (directory: string, options: FsStoreOptions = {}): Store => {
  if (directory === '') throw new UploadError('invalid_argument', 'fsStore needs a directory');
  return new FsStore(resolve(directory), (options.durability ?? 'power') === 'power');
};

class FsStore implements Store {
  readonly name = 'fs';
  readonly supports: StoreCapabilities;
  readonly #uploads: string;
  readonly #staging: Staging;
  readonly #power: boolean;
  readonly #instance = ++instances;
  readonly #author = randomBytes(6).toString('base64url');
  /** Uploads a version of whose record this instance is just putting in force. */
  readonly #publishing = new Set<string>();
  readonly #shards = new Set<string>();
  /** Journals this instance has open, by path; two writers of one upload must not share one. */
  readonly #journals = new Map<string, JournalFile>();
  #ready: Promise<void> | undefined;

  constructor(directory: string, power: boolean) {
    this.#uploads = join(directory, 'uploads');
    this.#staging = new Staging(join(directory, 'staging'));
    this.#power = power;
    this.supports = {
      sparse: true,
      readOpen: true,
      multiProcess: true,
      persistent: true,
      link: true,
      maxLength: Number.MAX_SAFE_INTEGER,
      // The kernel lets one thread at a time write a file: a second spins, unless the first waits for the
      // disk.
      writesInFlight: power ? 2 : 1,
    };
  }

  async create(record: UploadRecord, content?: readonly Uint8Array[]): Promise<void> {
    await this.#prepare();
    const building = this.#staging.path();
    await mkdir(building, { mode: 0o700 });
    try {
      const name = content === undefined ? 'content' : 'whole';
      await createFile(join(building, name), content ?? [], this.#power && content !== undefined);
      const bytes = encodeRecord(nextRecord(record, undefined, this.#author));
      await createFile(join(building, 'record.1'), [bytes], this.#power);
      if (this.#power) await syncDirectory(building);
      await this.#makeShard(record.id);
      await rename(building, this.#path(record.id));
    } catch (error) {
      await rm(building, { recursive: true, force: true });
      if (systemCode(error) !== 'ENOTEMPTY' && systemCode(error) !== 'EEXIST') throw error;
      throw new UploadError('exists', 'the id is taken', { id: record.id, cause: error });
    }
    if (this.#power) await syncDirectory(this.#shard(record.id));
  }

  async load(id: string): Promise<StoredUpload | undefined> {
    const folder = this.#path(id);
    for (let last: string | undefined; ; ) {
      const names = await readdir(folder).catch(ignoring('ENOENT', 'ENOTDIR'));
      if (names === undefined) return undefined;
      const version = highestVersion(names);
      const file = await readRecord(folder, version);
      if (file === 'unreadable') throw new UploadError('gone', 'the record cannot be read', { id });
      if (file === undefined) continue; // a later version has replaced it
      const { record, at } = file;
      const index = await this.#index(folder, names, record);
      if (!index.isLost) {
        if (this.#power && (index.isFresh || this.#isFresh(file, folder))) await syncDirectory(folder);
        return { record, version, received: index.received, activeAt: Math.max(at, index.activeAt) };
      }
      // Between two looks the upload may have ended, and its content with it; it is lost if nothing else
      // changed.
      const seen = names.sort().join('/');
      if (seen === last) throw new UploadError('gone', 'the content is not what was stored', { id });
      last = seen;
    }
  }

  async update(
    version: number,
    record: UploadRecord,
    { reserve }: { readonly reserve?: number } = {},
  ): Promise<boolean> {
    await this.#prepare();
    const { id } = record;
    const folder = this.#path(id);
    const previous = await readRecord(folder, version);
    if (previous === undefined || previous === 'unreadable') {
      if (reserve === undefined) await this.#staging.release(id);
      return false;
    }
    const file = nextRecord(record, previous, this.#author);
    const bytes = encodeRecord(file);
    const room = bytes.byteLength + (reserve ?? 0);
    const reserved = reserve !== undefined && (await this.#staging.reserve(id, room, this.#power));
    const path = reserve === undefined ? this.#staging.take(id) : this.#staging.path();
    let won = false;
    try {
      await this.#writeRecord(path, bytes);
      this.#publishing.add(folder);
      won = await this.#publish(path, folder, version + 1, file);
    } finally {
      this.#publishing.delete(folder);
      await rm(path, { force: true });
      if (reserved && !won) await this.#staging.release(id);
    }
    return won;
  }

  async writer(id: string): Promise<StoreWriter> {
    const folder = this.#path(id);
    const content = await this.#openContent(id, folder);
    const journal = this.#freeJournal(folder);
    this.#journals.set(journal.path, journal);
    const onClose = (): unknown => this.#journals.delete(journal.path);
    const writer = new FsWriter({ id, content, journal, power: this.#power, onClose });
    try {
      await journal.open();
      await this.#fold(folder, journal);
    } catch (error) {
      await writer.close();
      throw error;
    }
    return writer;
  }

  read(id: string, start: number, end: number): FileReader {
    const folder = this.#path(id);
    return new FileReader(id, [join(folder, 'content'), join(folder, 'whole')], start, end);
  }

  async discard(id: string): Promise<void> {
    const folder = this.#path(id);
    const names = (await readdir(folder).catch(ignoring('ENOENT'))) ?? [];
    const data = names.filter((name) => versionOf(name) === 0);
    await remove(folder, data);
    if (this.#power && data.length > 0) await syncDirectory(folder);
  }

  async purge(id: string): Promise<void> {
    await this.#prepare();
    const doomed = this.#staging.path();
    const moved = await rename(this.#path(id), doomed).then(() => true, ignoring('ENOENT'));
    if (moved === true) await rm(doomed, { recursive: true, force: true });
  }

  async *list(): AsyncIterable<string> {
    await this.#prepare();
    for await (const shard of await opendir(this.#uploads)) {
      const folder = await opendir(join(this.#uploads, shard.name)).catch(ignoring('ENOENT', 'ENOTDIR'));
      if (folder === undefined) continue;
      for await (const { name } of folder) if (isId(name)) yield name;
    }
  }

  async link(id: string, path: string, length: number): Promise<void> {
    const content = await this.#contentPath(id);
    // Bytes past the end came before the end was known: they must not go along.
    if ((await stat(content)).size > length) await truncate(content, length);
    await placeLink(content, resolve(path), this.#power);
  }

  close(): Promise<void> {
    return this.#staging.close();
  }

  /** Once, on first use, and in a time that does not depend on how many uploads there are. */
  #prepare(): Promise<void> {
    this.#ready ??= this.#makeFolders().catch((error: unknown) => {
      this.#ready = undefined;
      throw error;
    });
    return this.#ready;
  }

  async #makeFolders(): Promise<void> {
    const first = await mkdir(this.#uploads, { recursive: true, mode: 0o700 });
    await this.#staging.prepare();
    if (!this.#power || first === undefined) return;
    // A name is safe when the folder that holds it is synced: of every folder that was made just now.
    for (let path = this.#uploads; path !== dirname(first); path = dirname(path)) {
      await syncDirectory(dirname(path));
    }
  }

  async #makeShard(id: string): Promise<void> {
    const shard = this.#shard(id);
    if (this.#shards.has(shard)) return;
    await mkdir(shard, { mode: 0o700 }).catch(ignoring('EEXIST'));
    if (this.#power) await syncDirectory(this.#uploads);
    this.#shards.add(shard);
  }

  /** Gives a finished file the name of a version, if that is still to be had. */
  async #publish(path: string, folder: string, version: number, file: RecordFile): Promise<boolean> {
    const name = join(folder, `record.${version}`);
    if (!(await link(path, name).then(() => true, ignoring('EEXIST', 'ENOENT')))) return false;
    const names = await readdir(folder).catch(ignoring('ENOENT'));
    if (names === undefined) return false;
    if (highestVersion(names) !== version) {
      // Either others have built on this version already, or its name was free because it had come and gone.
      const wasInForce = await descendsFrom(folder, file);
      if (!wasInForce) await rm(name, { force: true });
      return wasInForce;
    }
    if (this.#power) await syncDirectory(folder);
    const isDone = (entry: string): boolean =>
      (versionOf(entry) > 0 && versionOf(entry) < version) ||
      (file.record.state === 'finished' && entry.startsWith('journal.'));
    await remove(folder, names.filter(isDone));
    return true;
  }

  /** What is received, from the journals; and whether the content is shorter than they say. */
  async #index(
    folder: string,
    names: readonly string[],
    { state, length = 0 }: UploadRecord,
  ): Promise<Index> {
    const nothing: Index = { received: [], activeAt: 0, isLost: false, isFresh: false };
    if (state === 'removed') return nothing;
    // A finished upload's content is the application's; what was answered stays true whatever became of it.
    if (state === 'finished') {
      return { ...nothing, received: IntervalSet.from([{ start: 0, end: length }]).ranges() };
    }
    const received = new IntervalSet();
    let activeAt = 0;
    let isFresh = false;
    for (const journal of names.filter((entry) => entry.startsWith('journal.'))) {
      const content = await this.#readJournal(join(folder, journal), received);
      // One that is missing has been folded into another since we looked: then this is not the union.
      if (content === undefined) return { ...nothing, isLost: true };
      activeAt = Math.max(activeAt, content.activeAt);
      isFresh ||= content.isFresh;
    }
    // After the journals: content grows before its index does.
    const whole = names.includes('whole');
    const size = (await stat(join(folder, whole ? 'whole' : 'content')).catch(ignoring('ENOENT')))?.size;
    if (whole) received.add(0, size ?? 0);
    const isLost = size === undefined || size < received.end;
    return { received: received.ranges(), activeAt, isLost, isFresh };
  }

  /**
   * Only safe entries count: of a journal that a writer here has open, those whose sync has ended. What
   * another process has only just written may not be on the disk yet, so under `power` it is synced before it
   * is believed.
   */
  async #readJournal(
    path: string,
    received: IntervalSet,
  ): Promise<{ activeAt: number; isFresh: boolean } | undefined> {
    const limit = this.#journals.get(path)?.safeEntries;
    const handle = await open(path, 'r').catch(ignoring('ENOENT'));
    if (handle === undefined) return undefined;
    try {
      const bytes = await handle.readFile();
      const isForeign = !path.includes(`journal.${self}.${this.#instance}-`);
      const isFresh = this.#power && isForeign && Date.now() - (await handle.stat()).mtimeMs < writebackMs;
      if (isFresh) await handle.datasync();
      return { ...decodeEntries(bytes, received, limit), isFresh };
    } finally {
      await handle.close();
    }
  }

  /**
   * Whether a record may be in force without its name being on the disk: another process may have only just
   * made it.
   */
  #isFresh({ at, lineage }: RecordFile, folder: string): boolean {
    if (Date.now() - at > writebackMs) return false;
    return lineage.at(-1)?.startsWith(this.#author) !== true || this.#publishing.has(folder);
  }

  async #openContent(id: string, folder: string): Promise<number> {
    for (const name of ['content', 'whole']) {
      const fd = await openFd(join(folder, name), constants.O_RDWR).catch(ignoring('ENOENT'));
      if (fd !== undefined) return fd;
    }
    throw new UploadError('gone', 'the upload has no content', { id });
  }

  async #contentPath(id: string): Promise<string> {
    const whole = join(this.#path(id), 'whole');
    const exists = await access(whole).then(() => true, ignoring('ENOENT'));
    return exists ? whole : join(this.#path(id), 'content');
  }

  /** A process that reconnects goes on in its own journal; only one still open is another writer's. */
  #freeJournal(folder: string): JournalFile {
    for (let k = 0; ; k++) {
      const path = join(folder, `journal.${self}.${this.#instance}-${k}`);
      if (!this.#journals.has(path)) return new JournalFile(path, this.#power);
    }
  }

  /** Many restarts leave many journals: their union is safe in ours before they go. */
  async #fold(folder: string, journal: JournalFile): Promise<void> {
    const dead = (await readdir(folder)).filter(
      (name) => name.startsWith('journal.') && isDead(name.slice('journal.'.length, name.lastIndexOf('.'))),
    );
    if (dead.length < foldAt) return;
    const union = new IntervalSet();
    for (const name of dead) {
      // One that is gone by now has been folded by another process.
      const bytes = await readFile(join(folder, name)).catch(ignoring('ENOENT'));
      if (bytes !== undefined) decodeEntries(bytes, union);
    }
    if (union.count > 0) await journal.append(union.ranges());
    await remove(folder, dead);
  }

  async #writeRecord(path: string, bytes: Buffer): Promise<void> {
    const handle = await open(path, constants.O_CREAT | constants.O_WRONLY, 0o600);
    try {
      await writeAll(handle, [bytes], 0);
      await handle.truncate(bytes.byteLength);
      if (this.#power) await handle.sync();
    } finally {
      await handle.close();
    }
  }

  #shard(id: string): string {
    return join(this.#uploads, id.slice(0, 2));
  }

  /** The one place where an id becomes part of a path. */
  #path(id: string): string {
    if (!isId(id)) throw new UploadError('invalid_argument', 'not an upload id', { actual: id });
    return join(this.#shard(id), id);
  }
}

interface Index {
  readonly received: readonly Range[];
  readonly activeAt: number;
  /** Whether the content is shorter than the index says, or a part of the index has gone meanwhile. */
  readonly isLost: boolean;
  /**
   * Whether another process has written to the index so lately that its files' names may not be on the disk.
   */
  readonly isFresh: boolean;
}

const isId = (name: string): boolean => /^[A-Za-z0-9_-]{16,64}$/.test(name);

const versionOf = (name: string): number => Number(/^record\.([1-9]\d{0,14})$/.exec(name)?.[1] ?? 0);

const highestVersion = (names: readonly string[]): number => Math.max(0, ...names.map(versionOf));

/** Undefined when there is no such version (any more). */
const readRecord = async (
  folder: string,
  version: number,
): Promise<RecordFile | 'unreadable' | undefined> => {
  if (version === 0) return 'unreadable'; // an upload is never without one
  const bytes = await readFile(join(folder, `record.${version}`)).catch(ignoring('ENOENT', 'ENOTDIR'));
  return bytes && (decodeRecord(bytes) ?? 'unreadable');
};

/** Whether the version in force came from this one. */
const descendsFrom = async (folder: string, file: RecordFile): Promise<boolean> => {
  for (;;) {
    const names = await readdir(folder).catch(ignoring('ENOENT'));
    if (names === undefined) return false;
    const current = await readRecord(folder, highestVersion(names));
    if (current !== undefined) return current !== 'unreadable' && isAncestor(file, current);
  }
};

const remove = async (folder: string, names: readonly string[]): Promise<void> => {
  await Promise.all(names.map((name) => rm(join(folder, name), { force: true })));
};
