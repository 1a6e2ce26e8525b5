import { UploadError } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { Bucket, ListedPart, MultipartUpload, TaggedBytes } from './bucket.ts';
import { decodeEntry, type Entry } from './entry.ts';
import { EntryCache } from './entry-cache.ts';
import type { Keys } from './keys.ts';
import { patiently } from './patience.ts';
import { type PartPlan, rangeOfPart } from './plan.ts';

export interface Fragment extends Range {
  readonly key: string;
}

interface FoundFragment extends Fragment {
  readonly life: string;
}

/** All there is of an upload, as its objects and parts say. */
export interface Listing {
  readonly id: string;
  readonly entry: Entry;
  readonly version: number;
  /** Where its bytes are: in the object made with it, in one that was put together, in parts, or nowhere. */
  readonly place: 'inline' | 'content' | 'parts' | undefined;
  /** Parts that hold what the plan says. */
  readonly parts: readonly ListedPart[];
  readonly fragments: readonly Fragment[];
  readonly received: readonly Range[];
  readonly activeAt: number;
  readonly keys: readonly string[];
}

/** Most entries are shorter; of an upload that came with its content, the rest of the object is not wanted. */
const entryBytes = 64 * 1024;

interface Found {
  /** With their ETags. */
  versions: Map<number, string>;
  fragments: FoundFragment[];
  hasContent: boolean;
  isDiscarded: boolean;
  activeAt: number;
  keys: string[];
}

/** What is in the bucket of an upload: one listing of its objects, its record, and where it has some its parts. */
export class Lister {
  readonly #bucket: Bucket;
  readonly #keys: Keys;
  readonly #cache = new EntryCache();

  constructor(bucket: Bucket, keys: Keys) {
    this.#bucket = bucket;
    this.#keys = keys;
  }

  /** Undefined when there is no such upload. Rejects with `gone` when its record or bytes were lost. */
  async look(id: string): Promise<Listing | undefined> {
    const seen = await patiently(() => this.#lookOnce(id));
    if (seen === undefined)
      throw new UploadError('gone', 'the multipart upload was ended by somebody else', { id });
    return seen === 'none' ? undefined : seen;
  }

  /** Undefined when an upload is there, and its bytes are not. */
  async #lookOnce(id: string): Promise<Listing | 'none' | undefined> {
    const found = await this.#objects(id);
    const version = lastVersion([...found.versions.keys()]);
    if (version === 0) return 'none';
    const known = this.#cache.get(this.#keys.record(id, version), found.versions.get(version) ?? '');
    const entry = known ?? (await this.entry(id, version));
    if (entry === undefined) return 'none'; // purged this moment
    found.fragments = found.fragments.filter(({ life }) => life === entry.life);
    const place = placeOf(entry, found);
    const { record } = entry;
    const listing = { id, entry, version, keys: found.keys, activeAt: Math.max(found.activeAt, entry.at) };
    const isHere = place === 'inline' || place === 'content';
    // What was answered stays true, whatever has become of the content since.
    const isWhole = record.state === 'finished' || (record.state !== 'removed' && isHere);
    const whole = isWhole ? rangeTo(record.length) : undefined;
    if (place !== 'parts' || record.state === 'removed') {
      return { ...listing, place, parts: [], fragments: found.fragments, received: whole ?? [] };
    }
    const all = await this.#bucket.parts(this.multipart(id, entry));
    if (all === undefined) return this.#without(id, { ...listing, found });
    const plan = entry.multipart?.plan as PartPlan;
    const parts = all.filter((part) => isAsPlanned(part, plan, record.length));
    const received = IntervalSet.from([...found.fragments, ...parts.map((part) => rangeOf(part, plan))]);
    return {
      ...listing,
      place,
      parts,
      fragments: found.fragments,
      received: whole ?? received.ranges(),
      activeAt: Math.max(listing.activeAt, ...all.map(({ modifiedAt }) => modifiedAt)),
    };
  }

  /** Undefined when there is no such version. */
  async entry(id: string, version: number): Promise<Entry | undefined> {
    const key = this.#keys.record(id, version);
    const found = await this.#bucket.getWithTag(key, 0, entryBytes);
    if (found === undefined) return undefined;
    const entry = decodeEntry(found.bytes);
    if (entry !== undefined) this.#cache.set(key, found.etag, entry);
    if (entry !== undefined || found.bytes.byteLength < entryBytes) return entry;
    const all = await this.#bucket.get(key);
    return all && decodeEntry(all);
  }

  /** A version that this process has made itself: it need not be read, as long as it is there with this ETag. */
  remember(id: string, version: number, { etag, bytes }: TaggedBytes): void {
    const entry = decodeEntry(bytes);
    if (entry !== undefined) this.#cache.set(this.#keys.record(id, version), etag, entry);
  }

  multipart(id: string, { multipart }: Entry): MultipartUpload {
    return { key: this.#keys.content(id), uploadId: multipart?.uploadId ?? '' };
  }

  /** The multipart upload is no more: it became the content this moment, or somebody else has ended it. */
  async #without(
    id: string,
    { found, ...listing }: Pick<Listing, 'id' | 'entry' | 'version' | 'keys' | 'activeAt'> & { found: Found },
  ): Promise<Listing | undefined> {
    if ((await this.#bucket.sizeOf(this.#keys.content(id))) === undefined) return undefined;
    const received = rangeTo(listing.entry.record.length);
    return { ...listing, place: 'content', parts: [], fragments: found.fragments, received };
  }

  async #objects(id: string): Promise<Found> {
    const found: Found = {
      versions: new Map(),
      fragments: [],
      hasContent: false,
      isDiscarded: false,
      activeAt: 0,
      keys: [],
    };
    for await (const { key, etag } of this.#bucket.list(this.#keys.folder(id))) {
      const place = this.#keys.place(id, key);
      if (place === undefined) continue;
      found.keys.push(key);
      if (place.kind === 'record') found.versions.set(place.version, etag);
      else if (place.kind === 'fragment') {
        found.fragments.push({ key, life: place.life, start: place.start, end: place.end });
        found.activeAt = Math.max(found.activeAt, place.at);
      } else if (place.kind === 'content') found.hasContent = true;
      else found.isDiscarded = true;
    }
    return found;
  }
}

/**
 * Of those that follow one another from the first, or 0: any other is what a late update has left of an upload that was
 * purged.
 */
export const lastVersion = (versions: readonly number[]): number => {
  const all = new Set(versions);
  let last = 0;
  while (all.has(last + 1)) last++;
  return last;
};

const rangeTo = (length = 0): readonly Range[] => (length === 0 ? [] : [{ start: 0, end: length }]);

const placeOf = (entry: Entry, { isDiscarded, hasContent }: Found): Listing['place'] => {
  if (isDiscarded) return undefined;
  if (entry.inline !== undefined) return 'inline';
  if (hasContent) return 'content';
  return entry.multipart === undefined ? undefined : 'parts';
};

const rangeOf = ({ number, size }: ListedPart, plan: PartPlan): Range => {
  const { start } = rangeOfPart(plan, number);
  return { start, end: start + size };
};

/** Anything else is no part of ours, or one that was cut short: its bytes are not there. */
const isAsPlanned = ({ number, size }: ListedPart, plan: PartPlan, length: number | undefined): boolean => {
  if (number < 1 || number > plan.maxParts) return false;
  const { start, end } = rangeOfPart(plan, number);
  return size === Math.min(end, length ?? end) - start;
};
