import { constants } from 'node:fs';
import { access, mkdir, open, opendir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ignoring, systemCode, UploadError } from '../src/errors.ts';
import { IntervalSet, type Range } from '../src/intervals.ts';
import { isDead, self } from '../src/owner.ts';
import { placeLink, syncDirectory } from '../src/place-file.ts';
import type {
  Durability,
  Reservation,
  Store,
  StoreCapabilities,
  StoredUpload,
  StoreWriter,
  UploadRecord,
} from '../src/store.ts';
import { createFile, cutOff, makeDirectory, openFd, removeFile, renamePath } from './files/io.ts';
import { ContentReader, openFirst } from './files/reader.ts';
import { Reserve } from './files/reserve.ts';
import { Staging } from './files/staging.ts';
import { ContentWriter } from './files/writer.ts';
import { decodeEntries } from './fs/journal.ts';
import { JournalFile } from './fs/journal-file.ts';
import { logName, type NewRecord, Records, writebackMs } from './fs/records.ts';

// One folder for each upload, under the first two characters of its id:
//
//     uploads/ab/ab…/records          the record, a log of its versions (fs/record-entry.ts)
//     uploads/ab/ab…/content          bytes at their offsets; or
//     uploads/ab/ab…/whole            all bytes, from an upload that arrived at once: needs no journal
//     uploads/ab/ab…/journal.OWNER.K  received ranges, appended by one process each (fs/journal.ts)
//     staging/OWNER~K                 whatever is being built: only its rename makes it exist

export interface FsStoreOptions {
  /**
   * How safe "stored" is (see `Durability`).
   * @default 'power'
   */
  readonly durability?: Durability;
}

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

class FsStore implements Store {
  readonly name = 'fs';
  readonly supports: StoreCapabilities;
  readonly #uploads: string;
  readonly #staging: Staging;
  readonly #reserve: Reserve;
  readonly #records: Records;
  readonly #power: boolean;
  readonly #instance = ++instances;
  readonly #shards = new Set<string>();
  /** Uploads that were made whole and claimed here, until their next version: they have no journal. */
  readonly #bare = new Set<string>();
  /** Journals this instance has open, by path; two writers of one upload must not share one. */
  readonly #journals = new Map<string, JournalFile>();
  #ready: Promise<void> | undefined;

  constructor(directory: string, power: boolean) {
    this.#uploads = join(directory, 'uploads');
    this.#staging = new Staging(join(directory, 'staging'));
    this.#reserve = new Reserve(this.#staging, power);
    this.#records = new Records(this.#staging, this.#reserve, power);
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

  async create(
    record: UploadRecord,
    content?: readonly Uint8Array[],
    options: Reservation = {},
  ): Promise<void> {
    await this.#prepare();
    const { id, state } = record;
    const first = await this.#records.create(record, options);
    try {
      await this.#build(id, first, content);
    } catch (error) {
      await first.drop();
      throw error;
    }
    first.keep();
    if (content !== undefined && state === 'claimed') this.#bare.add(id);
  }

  async load(id: string): Promise<StoredUpload | undefined> {
    const folder = this.#path(id);
    this.#records.forgetPurged(id);
    for (let last: string | undefined; ; ) {
      const names = await readdir(folder).catch(ignoring('ENOENT', 'ENOTDIR'));
      if (names === undefined) return undefined;
      const current = await this.#records.read(folder);
      if (current !== undefined && current !== 'unreadable') {
        const { record, version, at } = current;
        const index = await this.#index(folder, names, record);
        if (!index.isLost) {
          const isFresh = index.isFresh || this.#records.isFresh(current);
          if (this.#power && isFresh) await this.#settle(id);
          return { record, version, received: index.received, activeAt: Math.max(at, index.activeAt) };
        }
      }
      // Between two looks the upload may have ended, and its content with it; it is lost if nothing else
      // changed.
      const seen = JSON.stringify([current, names.sort()]);
      if (seen === last) throw new UploadError('gone', 'the upload is not what was stored', { id });
      last = seen;
    }
  }

  async update(version: number, record: UploadRecord, options: Reservation = {}): Promise<boolean> {
    await this.#prepare();
    const { id, state } = record;
    const folder = this.#path(id);
    const won = await this.#records.replace(folder, version, record, options);
    const isBare = this.#bare.delete(id);
    // Of a finished upload everything is received: the index has served.
    if (won && state === 'finished' && !isBare) {
      const names = (await readdir(folder).catch(ignoring('ENOENT'))) ?? [];
      await remove(
        folder,
        names.filter((name) => name.startsWith('journal.')),
      );
    }
    return won;
  }

  async writer(id: string): Promise<StoreWriter> {
    const folder = this.#path(id);
    const content = await this.#openContent(id, folder);
    const journal = this.#freeJournal(folder);
    this.#journals.set(journal.path, journal);
    const onClose = (): unknown => this.#journals.delete(journal.path);
    const writer = new ContentWriter({ id, content, index: journal, power: this.#power, onClose });
    try {
      await journal.open();
      await this.#fold(folder, journal);
    } catch (error) {
      await writer.close();
      throw error;
    }
    return writer;
  }

  read(id: string, start: number, end: number): ContentReader {
    const folder = this.#path(id);
    const paths = [join(folder, 'content'), join(folder, 'whole')];
    return new ContentReader(id, () => openFirst(paths), start, end);
  }

  async discard(id: string): Promise<void> {
    await this.#prepare();
    const folder = this.#path(id);
    const names = (await readdir(folder).catch(ignoring('ENOENT'))) ?? [];
    const data = names.filter((name) => name !== logName);
    await remove(folder, data);
    if (this.#power && data.length > 0) await syncDirectory(folder);
    await this.#records.compact(folder);
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
    if ((await stat(content)).size > length) await cutOff(content, length, this.#power);
    await placeLink(content, resolve(path), this.#power);
  }

  async close(): Promise<void> {
    this.#records.close();
    await this.#reserve.close();
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

  /** The folder of a new upload appears under its name as a whole. */
  async #build(id: string, first: NewRecord, content: readonly Uint8Array[] | undefined): Promise<void> {
    const building = this.#staging.path();
    const file = join(building, content === undefined ? 'content' : 'whole');
    try {
      await makeDirectory(building);
      await this.#makeShard(id);
      // Both have ended before either's failure is dealt with: what comes later would be left over, and open.
      const made = await Promise.allSettled([
        createFile(file, content ?? [], this.#power && content !== undefined),
        first.write(building),
      ]);
      for (const outcome of made) if (outcome.status === 'rejected') throw outcome.reason;
      if (this.#power) await syncDirectory(building);
      await renamePath(building, this.#path(id));
    } catch (error) {
      await rm(building, { recursive: true, force: true });
      if (systemCode(error) !== 'ENOTEMPTY' && systemCode(error) !== 'EEXIST') throw error;
      throw new UploadError('exists', 'the id is taken', { id, cause: error });
    }
    if (this.#power) await syncDirectory(this.#shard(id));
  }

  /** What another process has only just made is on the disk when this resolves. */
  async #settle(id: string): Promise<void> {
    await this.#records.settle(this.#path(id));
    await syncDirectory(this.#shard(id));
  }

  /** What is received, from the journals; and whether the content is shorter than they say. */
  async #index(folder: string, names: readonly string[], { state, length }: UploadRecord): Promise<Index> {
    const nothing: Index = { received: [], activeAt: 0, isLost: false, isFresh: false };
    if (state === 'removed') return nothing;
    // A finished upload's content is the application's; what was answered stays true whatever became of it.
    if (state === 'finished') {
      return { ...nothing, received: IntervalSet.from([{ start: 0, end: length ?? 0 }]).ranges() };
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
    if (whole) received.add(0, length ?? 0);
    // What came past the length may have been cut off (see `link`).
    const isLost = size === undefined || size < Math.min(received.end, length ?? Number.POSITIVE_INFINITY);
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

const remove = async (folder: string, names: readonly string[]): Promise<void> => {
  await Promise.all(names.map((name) => removeFile(join(folder, name))));
};
