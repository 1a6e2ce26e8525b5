import { UploadError } from '../../src/errors.ts';
import type { Range } from '../../src/intervals.ts';
import type { Bucket, ListedPart } from './bucket.ts';
import { isNoUpload, statusOf } from './failures.ts';
import type { ObjectFields } from './fields.ts';
import { fill, inOrder } from './gather.ts';
import type { Keys } from './keys.ts';
import type { Lister, Listing } from './listing.ts';
import type { Permits } from './memory.ts';
import { type PartPlan, partAt, partsOf } from './plan.ts';

export interface Assembly {
  readonly bucket: Bucket;
  readonly keys: Keys;
  readonly lister: Lister;
  readonly permits: Permits;
  /** A part of more bytes is put together on its way. */
  readonly inMemory: number;
  readonly fieldsOf: (listing: Listing) => ObjectFields;
}

/** How often it is looked again after another process has changed a part under the list of parts. */
const mostTries = 3;

/**
 * Puts the content of a complete upload together: fragments become parts, and the parts one object. Harmless when
 * repeated, and when several processes do it at once. Resolves with the listing of before; rejects with `gone` when bytes
 * are not there.
 */
export const assemble = async (assembly: Assembly, id: string, seen?: Listing): Promise<void> => {
  const { bucket, keys, lister } = assembly;
  for (let tries = 1; ; tries++) {
    const listing = tries === 1 && seen !== undefined ? seen : await lister.look(id);
    if (listing?.place === 'content' || listing?.place === 'inline') return;
    const { length } = listing?.entry.record ?? {};
    const multipart = listing?.entry.multipart;
    if (listing === undefined || length === undefined || multipart === undefined) {
      throw new UploadError('gone', 'the upload has no content', { id });
    }
    try {
      const isOnePart = length <= Math.min(partAt(multipart.plan, 0).end, assembly.inMemory);
      if (listing.parts.length === 0 && isOnePart) {
        await putWhole(assembly, listing, length);
      } else await completeParts(assembly, listing, length, multipart.plan);
    } catch (error) {
      if (!hasChanged(error) || tries === mostTries) throw error;
      continue;
    }
    if ((await bucket.sizeOf(keys.content(id))) !== length) {
      throw new UploadError('store_failed', 'the object has another length than its parts', { id });
    }
    await bucket.delete(listing.fragments.map(({ key }) => key));
    return;
  }
};

/** What is less than a part is one request. */
const putWhole = async (
  { bucket, keys, lister, fieldsOf }: Assembly,
  listing: Listing,
  length: number,
): Promise<void> => {
  const bytes = Buffer.allocUnsafeSlow(length);
  await fill(bucket, listing.fragments, [{ start: 0, end: length }], { target: bytes, start: 0 });
  await bucket.put(keys.content(listing.id), bytes, fieldsOf(listing));
  await bucket.abort(lister.multipart(listing.id, listing.entry));
};

const completeParts = async (
  { bucket, lister, permits, inMemory }: Assembly,
  { id, entry, parts, fragments }: Listing,
  length: number,
  plan: PartPlan,
): Promise<void> => {
  const upload = lister.multipart(id, entry);
  const there = new Map(parts.map((part) => [part.number, part]));
  const all = await Promise.all(
    partsOf(plan, 0, length).map(
      async ({ number, start, end }): Promise<Pick<ListedPart, 'number' | 'etag'>> => {
        const part = there.get(number);
        if (part !== undefined) return part;
        const range: Range = { start, end: Math.min(end, length) };
        const inside = fragments.filter(
          (fragment) => fragment.start < range.end && range.start < fragment.end,
        );
        const etag = await permits.run(async () => {
          const size = range.end - range.start;
          if (size > inMemory) {
            return bucket.uploadPartFrom(upload, number, size, () => inOrder(bucket, inside, range));
          }
          const target = Buffer.allocUnsafeSlow(size);
          await fill(bucket, inside, [range], { target, start: range.start });
          return bucket.uploadPart(upload, number, target);
        });
        return { number, etag };
      },
    ),
  );
  await bucket.complete(upload, all);
};

/** Another process has completed the upload, or has sent one of its parts again. */
const hasChanged = (error: unknown): boolean =>
  isNoUpload(error) ||
  (error instanceof Error && error.name === 'InvalidPart') ||
  (error instanceof UploadError && error.code === 'gone') ||
  statusOf(error) === 409;
