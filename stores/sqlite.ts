import { mkdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { ignoring, UploadError } from '../src/errors.ts';
import { isDead, self } from '../src/owner.ts';
import { placeCopy, placeLink, syncDirectory } from '../src/place-file.ts';
import type {
  Durability,
  ListFilter,
  Reservation,
  Store,
  StoreCapabilities,
  StoredUpload,
  StoreWriter,
  UploadRecord,
} from '../src/store.ts';
import { byteLength, closeFd, cutOff } from './files/io.ts';
import { ContentReader, openFirst } from './files/reader.ts';
import { Reserve } from './files/reserve.ts';
import { Staging } from './files/staging.ts';
import { ContentWriter } from './files/writer.ts';
import { BodyWriter } from './sqlite/body-writer.ts';
import { Committer } from './sqlite/committer.ts';
import { Contents } from './sqlite/contents.ts';
import { driverPath } from './sqlite/driver.ts';
import { type IndexedHead, type IndexedUpload, IndexReader, type UploadSummary } from './sqlite/reader.ts';
import { RowRanges } from './sqlite/row-ranges.ts';
import * as change from './sqlite/statements.ts';
import type { WalkFilter } from './sqlite/walk.ts';

export type { UploadSummary } from './sqlite/reader.ts';

// A folder and a database:
//
//     index.sqlite       uploads, ranges, small contents (sqlite/schema.ts)
//     content/ab/ab…     other contents, bytes at their offsets
//     staging/OWNER~K    room kept for answers

export interface SqliteStoreOptions {
  /** Where contents are kept; on a local file system. Made if it is missing. */
  readonly directory: string;
  /**
   * The path of the database, on a local file system too.
   * @default 'index.sqlite' in the directory
   */
  readonly database?: string;
  /**
   * How safe "stored" is (see `Durability`). All processes that share a store choose the same.
   * @default 'power'
   */
  readonly durability?: Durability;
  /**
   * The longest content, in bytes, that is kept in the database when it arrives at once.
   * @default 65536 (64 KiB)
   */
  readonly inlineBytes?: number;
}

/** What uploads a query is for; each field narrows it. */
export interface UploadQuery extends WalkFilter {}

/** A store with an index that can be asked. */
export interface SqliteStore extends Store {
  /**
   * The uploads that the query names, tombstones among them, streamed in no promised order and by an index: by
   * state, by age, by metadata. What comes or goes meanwhile may be in it or not.
   */
  find(query?: UploadQuery): AsyncIterable<UploadSummary>;
  /** How many those are, and how many bytes they have received together. */
  count(query?: UploadQuery): Promise<{ readonly uploads: number; readonly bytes: number }>;
}

const KiB = 1024;

/** Room for the ranges of all uploads together, under a name that is no upload's. */
const forRanges = 'ranges';
const rangesBytes = 256 * KiB;

/** Past this age, a file announced by a process of another boot is litter. */
const lifetimeMs = 24 * 60 * 60 * 1000;

/**
 * Keeps contents in files and everything else in one SQLite database, by the package better-sqlite3, which the
 * application installs. Several processes of one machine may use it at once. Network file systems are not
 * promised.
 *
 * Throws `not_supported` when the package is missing, `invalid_argument` for an unusable option.
 */
export const sqliteStore = (options: SqliteStoreOptions): SqliteStore => {
  const { directory, durability = 'power', inlineBytes = 64 * KiB } = options;
  if (directory === '') throw new UploadError('invalid_argument', 'sqliteStore needs a directory');
  if (!Number.isSafeInteger(inlineBytes) || inlineBytes < 0) {
    throw new UploadError('invalid_argument', 'inlineBytes must be a safe integer', { actual: inlineBytes });
  }
  driverPath(); // missing: said at once
  const folder = resolve(directory);
  const file = resolve(options.database ?? join(folder, 'index.sqlite'));
  return new IndexedStore(folder, file, durability === 'power', inlineBytes);
};

/** Both ends of the open index. */
interface Index {
  readonly committer: Committer;
  readonly reader: IndexReader;
}

class IndexedStore implements SqliteStore {
  readonly name = 'sqlite';
  readonly supports: StoreCapabilities;
  readonly #folder: string;
  readonly #file: string;
  readonly #power: boolean;
  readonly #inlineBytes: number;
  readonly #contents: Contents;
  readonly #staging: Staging;
  readonly #reserve: Reserve;
  #index: Promise<Index> | undefined;

  constructor(folder: string, file: string, power: boolean, inlineBytes: number) {
    this.#folder = folder;
    this.#file = file;
    this.#power = power;
    this.#inlineBytes = inlineBytes;
    this.#contents = new Contents(join(folder, 'content'), power);
    this.#staging = new Staging(join(folder, 'staging'));
    this.#reserve = new Reserve(this.#staging, power);
    this.supports = {
      sparse: true,
      readOpen: true,
      multiProcess: true,
      persistent: true,
      link: true,
      maxLength: Number.MAX_SAFE_INTEGER,
      // As in the fs store: a second write of one file spins, unless the first waits for the disk.
      writesInFlight: power ? 2 : 1,
    };
  }

  async create(
    record: UploadRecord,
    content?: readonly Uint8Array[],
    { reserve }: Reservation = {},
  ): Promise<void> {
    const { committer } = await this.#open();
    const { id } = record;
    const isReserved = reserve !== undefined && (await this.#reserve.take(id, roomFor(reserve)));
    let made = 0;
    try {
      const place = await this.#place(committer, content);
      made = await committer.commit(change.createUpload(record, place, Date.now()));
      const isStray = made === 0 && content !== undefined && place.file !== undefined;
      if (isStray) await this.#remove(committer, place.file);
    } finally {
      if (isReserved && made === 0) await this.#reserve.release(id);
    }
    if (made === 0) throw new UploadError('exists', 'the id is taken', { id });
  }

  async load(id: string): Promise<StoredUpload | undefined> {
    const { reader } = await this.#open();
    for (let last: string | undefined; ; ) {
      const upload = reader.load(id);
      if (upload === undefined) return undefined;
      if (!(await this.#isLost(upload))) {
        const { record, version, received, activeAt } = upload;
        return { record, version, received, activeAt };
      }
      // Between two looks the upload may have ended, and its content with it.
      const seen = `${upload.version} ${upload.activeAt}`;
      if (seen === last) throw new UploadError('gone', 'the content is not what was stored', { id });
      last = seen;
    }
  }

  async update(version: number, record: UploadRecord, { reserve }: Reservation = {}): Promise<boolean> {
    const { committer, reader } = await this.#open();
    const { id } = record;
    const isReserved = reserve !== undefined && (await this.#reserve.take(id, roomFor(reserve)));
    const wanted = change.updateUpload(version, record, Date.now());
    let won = false;
    try {
      const commit = async () => (await committer.commit(wanted)) > 0;
      // The second time it may find its own work done.
      const again = async () => (await commit()) || isInForce(reader.head(id), version + 1, record);
      won = await (reserve === undefined ? this.#reserve.spend(id, commit, again) : commit());
    } finally {
      if (reserve === undefined || (isReserved && !won)) await this.#reserve.release(id);
    }
    return won;
  }

  async writer(id: string): Promise<StoreWriter> {
    const { committer, reader } = await this.#open();
    const upload = reader.head(id);
    if (upload?.place === undefined) throw new UploadError('gone', 'the upload has no content', { id });
    if (upload.place === 'index') {
      const isThere = (): boolean => reader.head(id)?.place === 'index';
      return new BodyWriter(id, reader.load(id)?.received[0]?.end ?? 0, isThere);
    }
    const { file } = upload.place;
    // On a full disk what was written must still be recorded, or it would have been written in vain.
    await this.#reserve.take(forRanges, rangesBytes);
    const content = await this.#contents.open(file);
    const index = new RowRanges({
      id,
      file,
      commit: (ranges) => this.#reserve.spend(forRanges, () => committer.commit(ranges)),
      syncName: () => this.#contents.syncName(file),
      isFinished: () => reader.head(id)?.record.state === 'finished',
    });
    const writer = new ContentWriter({ id, content, index, power: this.#power });
    // Whoever removed the upload before the file was opened has found no file to remove: it would be nobody's.
    const place = reader.head(id)?.place;
    if (typeof place !== 'object' || place.file !== file) {
      await writer.close();
      await this.#contents.remove(file);
      throw new UploadError('gone', 'the upload has no content', { id });
    }
    return writer;
  }

  read(id: string, start: number, end: number): Readable {
    const open = async (): Promise<number | Uint8Array | undefined> => {
      const { reader } = await this.#open();
      const place = reader.head(id)?.place;
      if (place === 'index') return reader.body(id);
      // A content that nothing was written to has no file yet.
      return place && ((await openFirst([this.#contents.path(place.file)])) ?? new Uint8Array());
    };
    return new ContentReader(id, open, start, end);
  }

  async discard(id: string): Promise<void> {
    const { committer, reader } = await this.#open();
    const place = reader.head(id)?.place;
    if (place === undefined) return;
    await committer.commit(change.discardContent(id));
    if (place !== 'index') await this.#remove(committer, place.file);
  }

  async purge(id: string): Promise<void> {
    const { committer, reader } = await this.#open();
    const place = reader.head(id)?.place;
    await committer.commit(change.purgeUpload(id));
    if (place !== undefined && place !== 'index') await this.#remove(committer, place.file);
  }

  async *list(filters: readonly ListFilter[] = [{}]): AsyncIterable<string> {
    const index = await this.#open();
    await this.#sweepLitter(index);
    for (const [n, filter] of filters.entries()) {
      const walk = index.reader.walk<{ readonly id: string }>(filter, 'id', filters.slice(0, n));
      for await (const { id } of walk) yield id;
    }
  }

  async *find(query: UploadQuery = {}): AsyncIterable<UploadSummary> {
    const { reader } = await this.#open();
    yield* reader.summaries(query);
  }

  async count(query: UploadQuery = {}): Promise<{ readonly uploads: number; readonly bytes: number }> {
    const { reader } = await this.#open();
    let uploads = 0;
    let bytes = 0;
    for await (const { size } of reader.walk<{ readonly size: number }>(query, 'size')) {
      uploads++;
      bytes += size;
    }
    return { uploads, bytes };
  }

  async link(id: string, path: string, length: number): Promise<void> {
    const { reader } = await this.#open();
    const place = reader.head(id)?.place;
    if (place === undefined) throw new UploadError('gone', 'the upload has no content', { id });
    if (place === 'index') {
      return placeCopy(
        new ContentReader(id, async () => reader.body(id), 0, length),
        resolve(path),
        this.#power,
      );
    }
    const content = this.#contents.path(place.file);
    if (length === 0) await closeFd(await this.#contents.open(place.file));
    // Bytes past the end came before the end was known: they must not go along.
    if ((await stat(content)).size > length) await cutOff(content, length, this.#power);
    await placeLink(content, resolve(path), this.#power);
  }

  async close(): Promise<void> {
    const index = await this.#index?.catch(() => undefined); // it never opened, and whoever opened it knows
    this.#index = undefined;
    await index?.committer.close();
    index?.reader.close();
    await this.#reserve.close();
  }

  /** On first use, and again when the thread has ended; in a time that does not depend on how much is stored. */
  async #open(): Promise<Index> {
    this.#index ??= this.#openIndex();
    const opening = this.#index;
    const index = await opening.catch((error: unknown) => {
      if (this.#index === opening) this.#index = undefined;
      throw error;
    });
    if (index.committer.isUsable) return index;
    if (this.#index === opening) {
      this.#index = undefined;
      index.reader.close();
    }
    return this.#open();
  }

  async #openIndex(): Promise<Index> {
    const content = join(this.#folder, 'content');
    const first = await mkdir(content, { recursive: true, mode: 0o700 });
    await mkdir(dirname(this.#file), { recursive: true, mode: 0o700 });
    await this.#staging.prepare();
    // A name is safe when the folder that holds it is synced: of every folder that was made just now.
    if (this.#power && first !== undefined) {
      for (let path = content; path !== dirname(first); path = dirname(path))
        await syncDirectory(dirname(path));
    }
    const committer = await Committer.open(this.#file, this.#power);
    try {
      if (this.#power) await syncDirectory(dirname(this.#file));
      return { committer, reader: new IndexReader(this.#file) };
    } catch (error) {
      await committer.close();
      throw error;
    }
  }

  /** Where a new content goes, and there it is: safe, but nobody's yet. */
  async #place(committer: Committer, content: readonly Uint8Array[] | undefined): Promise<change.Place> {
    if (content === undefined) return { file: this.#contents.newName() };
    const size = byteLength(content);
    if (size === 0) return { size };
    if (size <= this.#inlineBytes) return { size, body: joined(content, size) };
    const file = this.#contents.newName();
    await committer.commit(change.announceFile(file, self, Date.now()));
    try {
      await this.#contents.create(file, content);
    } catch (error) {
      await this.#remove(committer, file);
      throw error;
    }
    return { file, size };
  }

  /** Removes a file that the index calls litter. */
  async #remove(committer: Committer, file: string): Promise<void> {
    await this.#contents.remove(file);
    await committer.commit(change.forgetFile(file));
  }

  /** What a crash has left: files that were announced and never became an upload's, or that should be gone. */
  async #sweepLitter({ committer, reader }: Index): Promise<void> {
    for (const { file, owner, at } of reader.litter()) {
      const isOld = owner !== self && Date.now() - at > lifetimeMs;
      if (owner === '' || isDead(owner) || isOld) await this.#remove(committer, file);
    }
  }

  /** Whether the content is shorter than what the index says was received. */
  async #isLost({ record, place, received }: IndexedUpload): Promise<boolean> {
    const isOpen = record.state === 'open' || record.state === 'claimed';
    // What came past the length may have been cut off (see `link`).
    const end = Math.min(received.at(-1)?.end ?? 0, record.length ?? Number.POSITIVE_INFINITY);
    if (!isOpen || end === 0 || place === 'index') return false;
    if (place === undefined) return true;
    const size = (await stat(this.#contents.path(place.file)).catch(ignoring('ENOENT')))?.size ?? 0;
    return size < end;
  }
}

const isInForce = (upload: IndexedHead | undefined, version: number, record: UploadRecord): boolean =>
  upload?.version === version && isDeepStrictEqual(upload.record, record);

/** What a record costs in the write-ahead log: its pages with their heads, and those of the tree above them. */
const roomFor = (bytes: number): number => Math.ceil(bytes * 1.05) + 64 * KiB;

/** A copy of its own, of exactly this size: it is handed to another thread. */
const joined = (content: readonly Uint8Array[], size: number): Uint8Array => {
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const buffer of content) {
    bytes.set(buffer, offset);
    offset += buffer.byteLength;
  }
  return bytes;
};
