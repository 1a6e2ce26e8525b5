import { UploadError } from '../../src/errors.ts';
import { IntervalSet } from '../../src/intervals.ts';
import type { Bucket, ListedObject, MultipartUpload } from './bucket.ts';
import { type Entry, encodeEntry } from './entry.ts';
import type { Keys, Place } from './keys.ts';
import { type Lister, lastVersion } from './listing.ts';
import { rangeOfPart } from './plan.ts';

export interface GcOptions {
  /**
   * In milliseconds: what is younger is left alone. Longer than a request may take, or the upload that one is just
   * making loses what it has.
   */
  readonly olderThanMs: number;
  /**
   * Only tells what there is.
   * @default false
   */
  readonly dryRun?: boolean;
}

/** What was removed, or would have been: how many of each, and their size. */
export interface GcCounts {
  /** Of no upload, of another that had the id before, or of one that has its content or needs none any more. */
  readonly multipartUploads: number;
  /** Bytes that waited for the rest of their part. */
  readonly fragments: number;
  /** Versions of records without a first one. */
  readonly records: number;
  /** Of uploads that were removed or handed over, or that there are not. */
  readonly contents: number;
  /** Empty objects: tombstones of contents whose upload is gone, and what a start-up probe has left. */
  readonly markers: number;
  /** Of all these, in bytes. */
  readonly bytes: number;
}

type Found = ListedObject & { readonly place: Place };

type Multipart = MultipartUpload & { readonly startedAt: number };

/** What is in the bucket under one id. */
interface Folder {
  readonly id: string;
  readonly objects: Found[];
}

interface Waste {
  readonly objects: readonly Found[];
  readonly multiparts: readonly Multipart[];
  /** The first version of a record, if it still has content that is not needed. */
  readonly inline?: Entry | undefined;
  /** The content is to be marked as discarded before it is. */
  readonly mark?: boolean;
}

const counterOf = {
  record: 'records',
  fragment: 'fragments',
  content: 'contents',
  discarded: 'markers',
} as const;

/**
 * Removes what processes that died have left: two listings, and a look at the records of uploads that have something
 * which may be waste. Whatever is not below the prefix, or has a name that the store does not give, is not seen at all.
 */
export class Janitor {
  readonly #bucket: Bucket;
  readonly #keys: Keys;
  readonly #lister: Lister;

  constructor(bucket: Bucket, keys: Keys, lister: Lister) {
    this.#bucket = bucket;
    this.#keys = keys;
    this.#lister = lister;
  }

  async run({ olderThanMs, dryRun = false }: GcOptions): Promise<GcCounts> {
    if (!(Number.isFinite(olderThanMs) && olderThanMs >= 0)) {
      throw new UploadError('invalid_argument', 'no age', { expected: '0 or more', actual: olderThanMs });
    }
    const until = Date.now() - olderThanMs;
    const counts = { multipartUploads: 0, fragments: 0, records: 0, contents: 0, markers: 0, bytes: 0 };
    // Before the records are read: an upload whose record is there has its multipart upload from before.
    const multiparts = await this.#multiparts(until);
    const sweep = async (folder: Folder): Promise<void> => {
      const own = multiparts.get(folder.id) ?? [];
      multiparts.delete(folder.id);
      const waste = await this.#wasteOf(folder, own, until);
      if (waste !== undefined) await this.#remove(folder.id, waste, counts, dryRun);
    };
    const probes: string[] = [];
    let folder: Folder | undefined;
    for await (const object of this.#bucket.list(this.#keys.prefix)) {
      const id = this.#keys.idOf(object.key);
      const place = id === undefined ? undefined : this.#keys.place(id, object.key);
      if (this.#keys.isProbe(object.key) && object.modifiedAt <= until) probes.push(object.key);
      if (id === undefined || place === undefined) continue;
      if (folder?.id !== id) {
        if (folder !== undefined) await sweep(folder);
        folder = { id, objects: [] };
      }
      folder.objects.push({ ...object, place });
    }
    if (folder !== undefined) await sweep(folder);
    for (const id of [...multiparts.keys()]) await sweep({ id, objects: [] });
    counts.markers += probes.length;
    if (!dryRun) await this.#bucket.delete(probes);
    return counts;
  }

  async #multiparts(until: number): Promise<Map<string, Multipart[]>> {
    const found = new Map<string, Multipart[]>();
    for await (const upload of this.#bucket.multipartUploads(this.#keys.prefix)) {
      const id = this.#keys.idOf(upload.key);
      if (id === undefined || upload.key !== this.#keys.content(id) || upload.startedAt > until) continue;
      found.set(id, [...(found.get(id) ?? []), upload]);
    }
    return found;
  }

  async #wasteOf(
    { id, objects }: Folder,
    multiparts: readonly Multipart[],
    until: number,
  ): Promise<Waste | undefined> {
    const old = objects.filter(({ modifiedAt }) => modifiedAt <= until);
    const version = lastVersion(
      objects.flatMap(({ place }) => (place.kind === 'record' ? [place.version] : [])),
    );
    if (version === 0) {
      if (old.length + multiparts.length === 0) return undefined;
      // The id may have been given to a new upload since it was listed.
      const isTaken = (await this.#bucket.sizeOf(this.#keys.record(id, 1))) !== undefined;
      return isTaken ? undefined : { objects: old, multiparts };
    }
    const has = (kind: Place['kind']): boolean => objects.some(({ place }) => place.kind === kind);
    const fragments = old.filter(({ place }) => place.kind === 'fragment');
    if (fragments.length + multiparts.length === 0 && !has('discarded')) return undefined;
    const entry = await this.#lister.entry(id, version);
    if (entry === undefined) return undefined; // purged this moment
    const isMine = ({ uploadId }: Multipart): boolean => uploadId === entry.multipart?.uploadId;
    const isWhole = has('content') || entry.inline !== undefined;
    const isOver =
      has('discarded') ||
      entry.record.state === 'removed' ||
      entry.record.moved === true ||
      (!isWhole && multiparts.some(isMine) && (await this.#isLost(id, entry)));
    const isNeeded = !isOver && !isWhole;
    return {
      objects: [
        ...fragments.filter(
          ({ place }) => !(isNeeded && place.kind === 'fragment' && place.life === entry.life),
        ),
        ...(isOver ? old.filter(({ place }) => place.kind === 'content') : []),
      ],
      multiparts: multiparts.filter((upload) => !(isNeeded && isMine(upload))),
      inline: isOver && entry.inline !== undefined ? await this.#inlineOf(id, old) : undefined,
      mark: isOver && !has('discarded'),
    };
  }

  /** An upload that was answered before all of its bytes were there, and so never will have them. */
  async #isLost(id: string, { record }: Entry): Promise<boolean> {
    if (record.state !== 'finished' || record.length === undefined) return record.state === 'finished';
    const listing = await this.#lister.look(id).catch(() => undefined);
    const plan = listing?.entry.multipart?.plan;
    if (listing?.place !== 'parts' || plan === undefined) return false;
    const parts = listing.parts.map(({ number, size }) => {
      const { start } = rangeOfPart(plan, number);
      return { start, end: start + size };
    });
    return !IntervalSet.from([...listing.fragments, ...parts]).covers(0, record.length);
  }

  async #inlineOf(id: string, old: readonly Found[]): Promise<Entry | undefined> {
    if (!old.some(({ place }) => place.kind === 'record' && place.version === 1)) return undefined;
    const first = await this.#lister.entry(id, 1);
    return first?.inline === undefined ? undefined : first;
  }

  async #remove(
    id: string,
    { objects, multiparts, inline, mark = false }: Waste,
    counts: { -readonly [Name in keyof GcCounts]: number },
    dryRun: boolean,
  ): Promise<void> {
    if (objects.length + multiparts.length === 0 && inline === undefined) return;
    if (mark && !dryRun) await this.#bucket.put(this.#keys.discarded(id), new Uint8Array());
    for (const upload of multiparts) {
      const parts = await this.#bucket.parts(upload);
      if (parts === undefined) continue; // somebody else has ended it
      counts.multipartUploads++;
      for (const { size } of parts) counts.bytes += size;
      if (!dryRun) await this.#bucket.abort(upload);
    }
    for (const { place, size } of objects) {
      counts[counterOf[place.kind]]++;
      counts.bytes += size;
    }
    if (inline !== undefined) {
      counts.contents++;
      counts.bytes += inline.record.length ?? 0;
      const { inline: _, ...entry } = inline;
      if (!dryRun) await this.#bucket.put(this.#keys.record(id, 1), encodeEntry(entry, undefined));
    }
    if (!dryRun) await this.#bucket.delete(objects.map(({ key }) => key));
  }
}
