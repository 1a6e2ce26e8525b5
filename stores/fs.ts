import { constants, open as openCallback } from 'node:fs';
import { access, link, mkdir, open, opendir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { systemCode, UploadError } from '../src/errors.ts';
import { IntervalSet } from '../src/intervals.ts';
import { isDead, self } from '../src/owner.ts';
import type { Durability, Store, StoredUpload, StoreWriter, UploadRecord } from '../src/store.ts';
import { createFile, ignoring, linkOrCopy, syncDirectory, writeAll } from './fs/files.ts';
import { decodeEntries } from './fs/journal.ts';
import { FileReader } from './fs/reader.ts';
import { decodeRecord, encodeRecord } from './fs/record-file.ts';
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

/** Past this age, what lies in staging and belongs to a machine or boot that cannot be asked is litter. */
const stagingLifetimeMs = 24 * 60 * 60 * 1000;

/** Journals of dead processes are folded into one when there are this many. */
const foldAt = 8;

let instances = 0;

/**
 * Keeps uploads in a folder of a local file system with hard links. Several processes of one machine may use
 * it at once. Network file systems are not promised.
 */
export const fsStore = (directory: string, options: FsStoreOptions = {}): Store => {
  if (directory === '') throw new UploadError('invalid_argument', 'fsStore needs a directory');
  return new FsStore(resolve(directory), (options.durability ?? 'power') === 'power');
};

const openFd = promisify(openCallback);

class FsStore implements Store {
  readonly name = 'fs';
  readonly supports = {
    sparse: true,
    readOpen: true,
    multiProcess: true,
    persistent: true,
    link: true,
    maxLength: Number.MAX_SAFE_INTEGER,
  };

  readonly #uploads: string;
  readonly #staging: string;
  readonly #power: boolean;
  readonly #instance = ++instances;
  readonly #shards = new Set<string>();
  /** Files that hold room for the next record of an upload. */
  readonly #reserved = new Map<string, string>();
  /** Journals this instance has open; two writers of one upload must not share one. */
  readonly #journals = new Set<string>();
  #ready: Promise<void> | undefined;
  #counter = 0;

  constructor(directory: string, power: boolean) {
    this.#uploads = join(directory, 'uploads');
    this.#staging = join(directory, 'staging');
    this.#power = power;
  }

  async create(record: UploadRecord, content?: readonly Uint8Array[]): Promise<void> {
    await this.#prepare();
    const building = this.#stagingPath();
    const target = this.#path(record.id);
    await mkdir(building, { mode: 0o700 });
    try {
      const name = content === undefined ? 'content' : 'whole';
      await createFile(join(building, name), content ?? [], this.#power && content !== undefined);
      const bytes = encodeRecord({ record, at: Date.now() });
      await createFile(join(building, 'record.1'), [bytes], this.#power);
      if (this.#power) await syncDirectory(building);
      await this.#makeShard(record.id);
      await rename(building, target);
    } catch (error) {
      await rm(building, { recursive: true, force: true });
      if (systemCode(error) !== 'ENOTEMPTY' && systemCode(error) !== 'EEXIST') throw error;
      throw new UploadError('exists', 'the id is taken', { id: record.id, cause: error });
    }
    if (this.#power) await syncDirectory(this.#shard(record.id));
  }

  async load(id: string): Promise<StoredUpload | undefined> {
    const folder = this.#path(id);
    for (;;) {
      const names = await readdir(folder).catch(ignoring('ENOENT', 'ENOTDIR'));
      if (names === undefined) return undefined;
      const version = highestVersion(names);
      const bytes = await readFile(join(folder, `record.${version}`)).catch(ignoring('ENOENT'));
      if (bytes === undefined && version > 0) continue; // a later version has replaced it
      const file = bytes && decodeRecord(bytes);
      if (file === undefined) throw new UploadError('gone', 'the record cannot be read', { id });
      const index = await this.#index(id, folder, names, file.record);
      if (index === undefined) continue; // a journal was folded into another meanwhile
      const activeAt = Math.max(file.at, index.activeAt);
      return { record: file.record, version, received: index.received.ranges(), activeAt };
    }
  }

  async update(
    version: number,
    record: UploadRecord,
    { reserve }: { reserve?: number } = {},
  ): Promise<boolean> {
    const folder = this.#path(record.id);
    const bytes = encodeRecord({ record, at: Date.now() });
    if (reserve !== undefined) await this.#reserve(record.id, bytes.byteLength + reserve);
    const path = reserve === undefined ? this.#takeReserved(record.id) : this.#stagingPath();
    try {
      await this.#writeRecord(path, bytes);
      await link(path, join(folder, `record.${version + 1}`));
    } catch (error) {
      if (systemCode(error) === 'EEXIST' || systemCode(error) === 'ENOENT') return false;
      throw error;
    } finally {
      await rm(path, { force: true });
    }
    // The name may have been free because later versions had come and gone: then this one came too late.
    const names = await readdir(folder);
    if (highestVersion(names) !== version + 1) {
      await rm(join(folder, `record.${version + 1}`), { force: true });
      return false;
    }
    if (this.#power) await syncDirectory(folder);
    const isDone = (name: string): boolean =>
      (versionOf(name) > 0 && versionOf(name) <= version) ||
      (record.state === 'finished' && name.startsWith('journal.'));
    const old = names.filter(isDone);
    await Promise.all(old.map((name) => rm(join(folder, name), { force: true })));
    return true;
  }

  async writer(id: string): Promise<StoreWriter> {
    const folder = this.#path(id);
    const content = await this.#openContent(id, folder);
    const journal = this.#freeJournal(folder);
    this.#journals.add(journal);
    const writer = new FsWriter({
      id,
      content,
      journal,
      power: this.#power,
      onClose: () => this.#journals.delete(journal),
    });
    try {
      await this.#fold(folder, writer);
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
    await Promise.all(data.map((name) => rm(join(folder, name), { force: true })));
    if (this.#power && data.length > 0) await syncDirectory(folder);
  }

  async purge(id: string): Promise<void> {
    await this.#prepare();
    const doomed = this.#stagingPath();
    const moved = await rename(this.#path(id), doomed).then(() => true, ignoring('ENOENT'));
    if (moved === true) await rm(doomed, { recursive: true, force: true });
  }

  async *list(): AsyncIterable<string> {
    await this.#prepare();
    for await (const shard of await opendir(this.#uploads)) {
      const folder = await opendir(join(this.#uploads, shard.name)).catch(ignoring('ENOENT', 'ENOTDIR'));
      if (folder === undefined) continue;
      for await (const upload of folder) yield upload.name;
    }
  }

  async link(id: string, path: string): Promise<void> {
    await linkOrCopy(await this.#contentPath(id), resolve(path), this.#power);
  }

  async close(): Promise<void> {
    const paths = [...this.#reserved.values()];
    this.#reserved.clear();
    await Promise.all(paths.map((path) => rm(path, { force: true })));
  }

  /**
   * Made once, on first use; says no more than that the folders exist, so it takes no longer the more uploads
   * there are.
   */
  #prepare(): Promise<void> {
    this.#ready ??= this.#makeFolders().catch((error: unknown) => {
      this.#ready = undefined;
      throw error;
    });
    return this.#ready;
  }

  async #makeFolders(): Promise<void> {
    await mkdir(this.#uploads, { recursive: true, mode: 0o700 });
    await mkdir(this.#staging, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#staging)) {
      const path = join(this.#staging, name);
      const owner = name.split('~', 1)[0] ?? '';
      if (isDead(owner) || (owner !== self && (await isOld(path)))) {
        await rm(path, { recursive: true, force: true });
      }
    }
  }

  async #makeShard(id: string): Promise<void> {
    const shard = this.#shard(id);
    if (this.#shards.has(shard)) return;
    await mkdir(shard, { mode: 0o700 }).catch(ignoring('EEXIST'));
    if (this.#power) await syncDirectory(this.#uploads);
    this.#shards.add(shard);
  }

  async #index(id: string, folder: string, names: readonly string[], record: UploadRecord) {
    const received = new IntervalSet();
    let activeAt = 0;
    if (record.state === 'removed') return { received, activeAt };
    if (record.state === 'finished') {
      // The content is the application's by now; what was answered stays true whatever became of it.
      received.add(0, record.length ?? 0);
      return { received, activeAt };
    }
    const name = names.includes('whole') ? 'whole' : 'content';
    const size = (await stat(join(folder, name)).catch(ignoring('ENOENT')))?.size;
    if (name === 'whole') received.add(0, size ?? 0);
    for (const journal of names.filter((entry) => entry.startsWith('journal.'))) {
      const bytes = await readFile(join(folder, journal)).catch(ignoring('ENOENT'));
      if (bytes === undefined) return undefined;
      activeAt = Math.max(activeAt, decodeEntries(bytes, received).activeAt);
    }
    if (size === undefined || size < received.end) {
      throw new UploadError('gone', 'the content is not what was stored', {
        id,
        expected: received.end,
        actual: size,
      });
    }
    return { received, activeAt };
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
    return access(whole).then(
      () => whole,
      () => join(this.#path(id), 'content'),
    );
  }

  /** A process that reconnects goes on in its own journal; only one still open is another writer's. */
  #freeJournal(folder: string): string {
    for (let k = 0; ; k++) {
      const path = join(folder, `journal.${self}.${this.#instance}-${k}`);
      if (!this.#journals.has(path)) return path;
    }
  }

  /** Many restarts leave many journals: their union is safe in ours before they go. */
  async #fold(folder: string, writer: FsWriter): Promise<void> {
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
    if (union.count > 0) await writer.append(union.ranges());
    await Promise.all(dead.map((name) => rm(join(folder, name), { force: true })));
  }

  /** Blocks that are allocated (Node has no fallocate) stay so until the file is cut or removed. */
  async #reserve(id: string, bytes: number): Promise<void> {
    if (this.#reserved.has(id)) return;
    const path = this.#stagingPath();
    await createFile(path, [Buffer.alloc(bytes)], this.#power);
    this.#reserved.set(id, path);
  }

  #takeReserved(id: string): string {
    const path = this.#reserved.get(id) ?? this.#stagingPath();
    this.#reserved.delete(id);
    return path;
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

  #stagingPath(): string {
    return join(this.#staging, `${self}~${this.#instance}-${this.#counter++}`);
  }

  #shard(id: string): string {
    return join(this.#uploads, id.slice(0, 2));
  }

  /** The one place where an id becomes part of a path. */
  #path(id: string): string {
    if (!/^[A-Za-z0-9_-]{16,64}$/.test(id)) {
      throw new UploadError('invalid_argument', 'not an upload id', { actual: id });
    }
    return join(this.#shard(id), id);
  }
}

const versionOf = (name: string): number => Number(/^record\.([1-9]\d{0,14})$/.exec(name)?.[1] ?? 0);

const highestVersion = (names: readonly string[]): number => Math.max(0, ...names.map(versionOf));

const isOld = async (path: string): Promise<boolean> => {
  const facts = await stat(path).catch(ignoring('ENOENT'));
  return facts !== undefined && Date.now() - facts.mtimeMs > stagingLifetimeMs;
};
