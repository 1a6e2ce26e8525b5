import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';
import { UploadError, unlessGone } from '../src/errors.ts';
import type { Store, StoredUpload, StoreWriter, UploadRecord } from '../src/store.ts';
import { type Assembly, assemble } from './s3/assemble.ts';
import { BucketClient } from './s3/bucket.ts';
import { BufferPool } from './s3/buffer-pool.ts';
import { type Composition, compose } from './s3/compose.ts';
import type { ObjectSource, Source } from './s3/compose-source.ts';
import { type Creation, creationIn } from './s3/creation.ts';
import { type Entry, encodeEntry } from './s3/entry.ts';
import type { EncryptionFields, ObjectFields } from './s3/fields.ts';
import { type GcCounts, type GcOptions, Janitor } from './s3/janitor.ts';
import { Keys } from './s3/keys.ts';
import { Lister, type Listing } from './s3/listing.ts';
import { PartMemory, Permits } from './s3/memory.ts';
import { type PartLimits, planParts, s3Limits } from './s3/plan.ts';
import {
  type PutOptions,
  type PutSetting,
  type PutStream,
  type PutStreamOptions,
  putStream,
} from './s3/put-stream.ts';
import { type ContentPlace, readContent } from './s3/reader.ts';
import { S3Writer, WholeWriter } from './s3/writer.ts';

export type { Composition } from './s3/compose.ts';
export type { ObjectSource, Source } from './s3/compose-source.ts';
export type { EncryptionFields, ObjectFields } from './s3/fields.ts';
export type { GcCounts, GcOptions } from './s3/janitor.ts';
export { decodeMetadata } from './s3/metadata.ts';
export type { PutProgress, PutResult } from './s3/part-sender.ts';
export type { PartLimits, PartPlan } from './s3/plan.ts';
export type { PutOptions, PutState, PutStream, PutStreamOptions } from './s3/put-stream.ts';

const MiB = 1024 * 1024;

/** Sizes in bytes, times in milliseconds. */
export interface S3StoreOptions {
  readonly client: S3Client;
  readonly bucket: string;
  /**
   * All keys of the store begin so; nothing else is ever touched.
   * @default 'uploads/'
   */
  readonly prefix?: string;
  /**
   * Of a part, where the length does not ask for larger ones.
   * @default 8388608 (8 MiB)
   */
  readonly partSize?: number;
  /**
   * Requests with bytes that are under way at once, of all uploads together.
   * @default 8
   */
  readonly concurrency?: number;
  /**
   * What all uploads together may hold in memory.
   * @default 67108864 (64 MiB)
   */
  readonly memoryBudget?: number;
  /**
   * Bytes that have waited so long for the rest of their part are made safe without it.
   * @default 5000 (5 seconds)
   */
  readonly spillMs?: number;
  /**
   * What the provider takes, where that is other than S3's: `{ equalParts: true }` for R2.
   * @default 5 MiB to 5 GiB a part, 10,000 parts, objects of 5 TiB
   */
  readonly provider?: Partial<PartLimits>;
  /**
   * For everything the store writes: contents, fragments and records. Where a bucket refuses what does not ask for it.
   * @default what the bucket does by itself
   */
  readonly encryption?: EncryptionFields;
  /**
   * What the object with the content is made with: content type, ACL, storage class, tags, and `Metadata` of any Unicode
   * text, 2048 bytes (2 KB) in all as it is sent: more is `invalid_argument` before any byte moves. A small content that
   * arrives whole is kept with its record and has no object of its own.
   */
  readonly object?: (record: UploadRecord) => ObjectFields;
}

/** The store, and what only a bucket needs. */
export interface S3Store extends Store {
  /**
   * Removes what is of use to nobody and older than `olderThanMs`: multipart uploads, fragments and record versions that
   * processes left which died, of uploads that are gone, answered, complete or discarded. Never touches an open upload's
   * own, nor anything in the bucket that the store has not made. Harmless when repeated, in any number of processes.
   *
   * Rejects with `invalid_argument` for no age, and with `store_failed` when the bucket cannot be used.
   */
  gc(options: GcOptions): Promise<GcCounts>;

  /**
   * Without a server: puts a stream of any size into the object `key` (as it is, without the store's prefix). Parts of
   * at least 8388608 bytes (8 MiB) unless said otherwise, several under way at once; a content of at most one part is one
   * PutObject. What broke off goes on from its last part with `state()`:
   *
   *     const put = store.putStream('backup.tar', process.stdin);
   *     try {
   *       await put.result; // { key, size, etag }
   *     } catch {
   *       save(put.state()); // later: putStream('backup.tar', from(state.offset), { state })
   *     }
   */
  putStream(key: string, source: Readable, options?: PutStreamOptions): PutStream;

  /**
   * Without a server: puts streams, bytes (`Uint8Array`), files (their paths) and objects (`{ key, bucket, start, end }`)
   * one behind the other into the object `key` (as it is, without the store's prefix). Objects are copied inside the
   * provider, but for at most 5242880 bytes (5 MiB) at each boundary that make what is beside them large enough for a
   * part. A source that changes meanwhile is an error (`gone`). A total below one part is one PutObject.
   */
  compose(key: string, sources: readonly Source[], options?: PutOptions): Composition;

  /**
   * The content of a complete upload as a source for `compose`: so a handler puts it where it belongs, under a name and
   * with fields of its own, and the provider copies it:
   *
   *     await store.compose('films/1.mp4', [await store.contentOf(req.upload.id)], { object: { ContentType } }).result
   *
   * Rejects with `gone` when it is not there, or not whole.
   */
  contentOf(id: string): Promise<ObjectSource>;
}

/**
 * Keeps uploads in a bucket, and nothing anywhere else: any process may take any request. "Safe" is what the bucket has
 * acknowledged.
 *
 * Rejects with `store_failed` before any byte moves when the bucket cannot be used, and says why.
 */
export const s3Store = (options: S3StoreOptions): S3Store => new BucketStore(options);

class BucketStore implements S3Store {
  readonly name = 's3';
  readonly supports: Store['supports'];
  readonly #bucket: BucketClient;
  readonly #keys: Keys;
  readonly #lister: Lister;
  readonly #memory: PartMemory;
  readonly #permits: Permits;
  readonly #pool: BufferPool;
  /** What each request under way may hold beside what has arrived. */
  readonly #inMemory: number;
  readonly #limits: PartLimits;
  readonly #partSize: number;
  readonly #spillMs: number;
  readonly #assembly: Assembly;
  readonly #fields: (record: UploadRecord) => ObjectFields;
  /** What was seen of an upload together with its record. */
  readonly #seen = new WeakMap<UploadRecord, Listing>();
  #usable: Promise<void> | undefined;

  constructor(options: S3StoreOptions) {
    const { partSize = 8 * MiB, concurrency = 8, memoryBudget = 64 * MiB, spillMs = 5000 } = options;
    this.#limits = { ...s3Limits, ...options.provider };
    this.supports = {
      sparse: true,
      readOpen: false,
      multiProcess: true,
      persistent: true,
      link: false,
      maxLength: this.#limits.maxObject,
      writesInFlight: 1,
      batchBytes: 128 * 1024,
    };
    this.#bucket = new BucketClient(options.client, options.bucket, options.encryption);
    this.#keys = new Keys(options.prefix ?? 'uploads/');
    this.#lister = new Lister(this.#bucket, this.#keys);
    this.#memory = new PartMemory(memoryBudget);
    this.#permits = new Permits(concurrency);
    this.#pool = new BufferPool(memoryBudget);
    const share = memoryBudget / concurrency;
    this.#inMemory = partSize <= memoryBudget / 2 ? Math.max(share, partSize) : share;
    this.#partSize = partSize;
    this.#spillMs = spillMs;
    this.#fields = options.object ?? (() => ({}));
    this.#assembly = {
      bucket: this.#bucket,
      keys: this.#keys,
      lister: this.#lister,
      permits: this.#permits,
      inMemory: this.#inMemory,
      fieldsOf: ({ entry }) => this.#fields(entry.record),
    };
    planParts(undefined, partSize, this.#limits); // throws what is wrong with it
  }

  async create(record: UploadRecord, content?: readonly Uint8Array[]): Promise<void> {
    await this.#creation();
    const multipart = content === undefined ? await this.#begin(record) : undefined;
    const entry = { ...newEntry(record), ...(multipart && { multipart }) };
    if (await this.#putEntry(record.id, 1, entry, content)) {
      if (multipart !== undefined) this.#seen.set(record, newListing(entry));
      return;
    }
    if (multipart !== undefined) {
      await this.#bucket.abort({ key: this.#keys.content(record.id), uploadId: multipart.uploadId });
    }
    throw new UploadError('exists', 'the id is taken', { id: record.id });
  }

  async load(id: string): Promise<StoredUpload | undefined> {
    const listing = await this.#look(id);
    if (listing === undefined) return undefined;
    const { entry, version, received, activeAt } = listing;
    // Its own object each time: what is cached must not keep every listing.
    const record = { ...entry.record };
    this.#seen.set(record, listing);
    return { record, version, received, activeAt };
  }

  async update(version: number, record: UploadRecord): Promise<boolean> {
    await this.#creation();
    const before = await this.#lister.entry(record.id, version);
    if (before === undefined) return false;
    return this.#putEntry(record.id, version + 1, newEntry(record, before));
  }

  /** The handler is to read it, and the claim is what lets nobody else write any more. */
  async prepare(id: string): Promise<void> {
    const listing = await this.#look(id);
    if (listing !== undefined) await this.#placeOf(listing);
  }

  async writer(id: string, seen?: UploadRecord): Promise<StoreWriter> {
    // An old look does no harm: an upload that has ended since refuses its bytes, and fragments that were merged since are
    // missed when they are read.
    const listing = (seen && this.#seen.get(seen)) ?? (await this.#look(id));
    const multipart = listing?.entry.multipart;
    if (listing?.place === 'inline' || listing?.place === 'content') return new WholeWriter();
    if (listing?.place !== 'parts' || multipart === undefined) {
      throw new UploadError('gone', 'the upload takes no bytes', { id });
    }
    return new S3Writer({
      bucket: this.#bucket,
      keys: this.#keys,
      memory: this.#memory,
      permits: this.#permits,
      pool: this.#pool,
      id,
      life: listing.entry.life,
      multipart: this.#lister.multipart(id, listing.entry),
      plan: multipart.plan,
      length: listing.entry.record.length,
      fragments: listing.fragments,
      spillMs: this.#spillMs,
      inMemory: this.#inMemory,
    });
  }

  read(id: string, start: number, end: number): ReturnType<Store['read']> {
    const place = async (): Promise<ContentPlace | undefined> => {
      const listing = await this.#look(id);
      return listing && this.#placeOf(listing);
    };
    return readContent(this.#bucket, id, place, { start, end });
  }

  async discard(id: string): Promise<void> {
    const listing = await this.#look(id);
    if (listing === undefined) return;
    const marker = this.#keys.discarded(id);
    if (!listing.keys.includes(marker)) await this.#bucket.put(marker, new Uint8Array());
    // Where the marker was there already, a process may have died before it got this far.
    await this.#removeContent(listing);
    if (listing.entry.inline === undefined) return;
    const first = await this.#lister.entry(id, 1);
    if (first?.inline === undefined) return;
    const { inline: _, ...entry } = first;
    await this.#bucket.put(this.#keys.record(id, 1), encodeEntry(entry, undefined));
  }

  async purge(id: string): Promise<void> {
    await this.#ready();
    const listing = await this.#lister.look(id).catch(unlessGone);
    if (listing !== undefined) await this.#removeContent(listing);
    const keys: string[] = [];
    for await (const { key } of this.#bucket.list(this.#keys.folder(id))) keys.push(key);
    const [first, second] = [this.#keys.record(id, 1), this.#keys.record(id, 2)];
    // Versions count from the first on: that one is made the newest, and then, without the second, is the only one.
    // Wherever this breaks off, the upload is what it was, and in the list.
    if (listing !== undefined && keys.includes(second) && keys.includes(first)) {
      const { inline: _, ...entry } = listing.entry;
      await this.#bucket.put(first, encodeEntry(entry, undefined));
      await this.#bucket.delete([second]);
    }
    await this.#bucket.delete(keys.filter((key) => key !== first));
    if (keys.includes(first)) await this.#bucket.delete([first]);
  }

  async *list(): AsyncIterable<string> {
    await this.#ready();
    for await (const id of this.#bucket.folders(this.#keys.prefix)) {
      // What came late to an upload that was purged is none.
      if ((await this.#bucket.sizeOf(this.#keys.record(id, 1))) !== undefined) yield id;
    }
  }

  async gc(options: GcOptions): Promise<GcCounts> {
    await this.#ready();
    return new Janitor(this.#bucket, this.#keys, this.#lister).run(options);
  }

  async close(): Promise<void> {
    // Its memory and its requests are its writers', which are closed; the client is the application's.
  }

  putStream(key: string, source: Readable, options?: PutStreamOptions): PutStream {
    return putStream(this.#putSetting(), key, source, options);
  }

  compose(key: string, sources: readonly Source[], options?: PutOptions): Composition {
    return compose(this.#putSetting(), key, sources, options);
  }

  async contentOf(id: string): Promise<ObjectSource> {
    const listing = await this.#look(id);
    const length = listing?.entry.record.length;
    const place = listing && (await this.#placeOf(listing));
    if (place === undefined || length === undefined) {
      throw new UploadError('gone', 'the content is not there', { id });
    }
    const { key, offset } = place;
    return { key, start: offset, end: offset + length };
  }

  #putSetting(): PutSetting {
    return {
      bucket: this.#bucket,
      limits: this.#limits,
      partSize: this.#partSize,
      ready: () => this.#ready(),
    };
  }

  /** Once: a wrong bucket, region or key is to be said before any byte moves. */
  #ready(): Promise<void> {
    this.#usable ??= this.#bucket.assertUsable().catch((error: unknown) => {
      this.#usable = undefined;
      throw error;
    });
    return this.#usable;
  }

  /** Found out before the first write. */
  async #creation(): Promise<Creation> {
    await this.#ready();
    return creationIn(this.#bucket, this.#keys);
  }

  async #begin(record: UploadRecord): Promise<NonNullable<Entry['multipart']>> {
    const plan = planParts(record.length, this.#partSize, this.#limits);
    const uploadId = await this.#bucket.begin(this.#keys.content(record.id), this.#fields(record));
    return { uploadId, plan };
  }

  /** A request that was repeated may find its own success: the entry says whose it is. */
  async #putEntry(
    id: string,
    version: number,
    entry: Entry,
    content?: readonly Uint8Array[],
  ): Promise<boolean> {
    const { inline: _, ...rest } = entry;
    const bytes = content === undefined ? encodeEntry(entry, undefined) : encodeEntry(rest, content);
    const creation = await this.#creation();
    const etag = await creation.make(this.#bucket, this.#keys.record(id, version), bytes);
    if (etag !== undefined) {
      this.#lister.remember(id, version, { etag, bytes });
      return true;
    }
    return (await this.#lister.entry(id, version))?.by === entry.by;
  }

  async #look(id: string): Promise<Listing | undefined> {
    await this.#ready();
    return this.#lister.look(id);
  }

  async #placeOf(listing: Listing): Promise<ContentPlace | undefined> {
    const { id, place, entry } = listing;
    if (place === 'inline') return { key: this.#keys.record(id, 1), offset: entry.inline ?? 0 };
    if (place === 'parts') await assemble(this.#assembly, id, listing);
    return place === undefined ? undefined : { key: this.#keys.content(id), offset: 0 };
  }

  /** Of an upload that is of no more use. */
  async #removeContent({ id, entry, fragments, keys }: Listing): Promise<void> {
    if (entry.multipart !== undefined) await this.#bucket.abort(this.#lister.multipart(id, entry));
    const content = this.#keys.content(id);
    const objects = [...fragments.map(({ key }) => key), ...(keys.includes(content) ? [content] : [])];
    await this.#bucket.delete(objects);
  }
}

/** Of an upload that was just made. */
const newListing = (entry: Entry): Listing => ({
  id: entry.record.id,
  entry,
  version: 1,
  place: 'parts',
  parts: [],
  fragments: [],
  received: [],
  activeAt: entry.at,
  keys: [],
});

const newEntry = (record: UploadRecord, before?: Entry): Entry => {
  const by = randomBytes(9).toString('base64url');
  const { life = by, multipart, inline } = before ?? {};
  const kept = { ...(multipart && { multipart }), ...(inline !== undefined && { inline }) };
  return { record, at: Date.now(), by, life, ...kept };
};
