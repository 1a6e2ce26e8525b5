import { isUploadError, UploadError } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { StoreWriter } from '../../src/store.ts';
import type { Bucket, MultipartUpload } from './bucket.ts';
import type { BufferPool } from './buffer-pool.ts';
import { isNoUpload, statusOf } from './failures.ts';
import { fill, inOrder } from './gather.ts';
import type { Keys } from './keys.ts';
import type { Fragment } from './listing.ts';
import type { Holder, PartMemory, Permits } from './memory.ts';
import { PartBuffer } from './part-buffer.ts';
import { patiently } from './patience.ts';
import { type PartPlan, type partAt, partsOf } from './plan.ts';

export interface WriterParts {
  readonly bucket: Bucket;
  readonly keys: Keys;
  readonly memory: PartMemory;
  readonly permits: Permits;
  readonly pool: BufferPool;
  readonly id: string;
  readonly life: string;
  readonly multipart: MultipartUpload;
  readonly plan: PartPlan;
  /** Of the whole, where it is known. */
  readonly length: number | undefined;
  readonly fragments: readonly Fragment[];
  /** What has waited so long for the rest of its part is sent off without it. */
  readonly spillMs: number;
  /** A part of more bytes that is not here as a whole is put together on its way. */
  readonly inMemory: number;
}

/** What is put aside is put aside in pieces of at least so much, where there is so much. */
const leastFragment = 1024 * 1024;

/**
 * Cuts what arrives into the parts of the plan. A part that is there as a whole is uploaded; what is left when all must
 * be safe, when it has waited for long, or when memory is short, becomes a fragment: an object named by its range, which
 * is read back when the rest of its part has come.
 */
export class S3Writer implements StoreWriter, Holder {
  readonly #parts: WriterParts;
  readonly #buffers = new Map<number, PartBuffer>();
  readonly #underway = new Set<Promise<void>>();
  readonly #fragments: Fragment[];
  #activeAt = 0;
  #safe = new IntervalSet();
  #failure: unknown;
  #isClosed = false;

  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#fragments = [...parts.fragments];
    parts.memory.add(this);
  }

  get heldBytes(): number {
    let bytes = 0;
    for (const buffer of this.#buffers.values()) bytes += buffer.size;
    return bytes;
  }

  get missingBytes(): number {
    let bytes = 0;
    for (const { range, size } of this.#buffers.values()) bytes += range.end - range.start - size;
    return bytes;
  }

  get activeAt(): number {
    return this.#activeAt;
  }

  async write(buffers: readonly Uint8Array[], offset: number): Promise<void> {
    this.#assertUsable();
    const { plan, memory } = this.#parts;
    let length = 0;
    for (const buffer of buffers) length += buffer.byteLength;
    await memory.take(this, length);
    this.#activeAt = Date.now();
    let added = 0;
    try {
      this.#assertUsable();
      const end = offset + length;
      for (const part of partsOf(plan, offset, end)) {
        const buffer = this.#bufferOf(part);
        const from = Math.max(part.start, offset);
        const rest = skip(buffers, from - offset);
        added += buffer.add(rest, from, Math.min(part.end, end) - from);
        if (this.#isWhole(buffer)) this.#send(buffer, () => this.#upload(buffer));
      }
    } finally {
      // What was there twice; and now that the others are in their places, they can be sent off.
      memory.release(length - added, false);
    }
  }

  async sync(all = true): Promise<readonly Range[]> {
    this.#assertUsable();
    const due = Date.now() - this.#parts.spillMs;
    for (const buffer of this.#buffers.values()) if (all || buffer.since <= due) this.#spill(buffer);
    if (all) await Promise.all(this.#underway);
    if (this.#failure !== undefined) throw this.#failure;
    const safe = this.#safe.ranges();
    this.#safe = new IntervalSet();
    return safe;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { memory } = this.#parts;
    memory.remove(this);
    for (const buffer of this.#buffers.values()) {
      memory.release(buffer.size, false);
      buffer.end();
    }
    this.#buffers.clear();
    await Promise.all(this.#underway);
  }

  /** Memory is short: what only waits for more goes as it is. */
  spill(): void {
    for (const buffer of this.#buffers.values()) this.#spill(buffer);
  }

  #spill(buffer: PartBuffer): void {
    this.#send(buffer, () => this.#putFragments(buffer));
  }

  async #putFragments(buffer: PartBuffer): Promise<void> {
    const { bucket, keys, id, life, permits, inMemory } = this.#parts;
    const runs = buffer.joinedRuns(Math.max(inMemory, leastFragment));
    const putNext = async (): Promise<boolean> => {
      const { done, value: run } = runs.next();
      if (done === true) return false;
      const { start, end, bytes } = run;
      const key = keys.fragment({ id, life }, run, Date.now());
      await bucket.put(key, bytes);
      this.#fragments.push({ key, start, end });
      this.#safe.add(start, end);
      return true;
    };
    while (await permits.run(putNext));
  }

  #bufferOf({ number, start, end }: ReturnType<typeof partAt>): PartBuffer {
    const { length = end } = this.#parts;
    const range = { start, end: length > start ? Math.min(end, length) : end };
    const buffer = this.#buffers.get(number) ?? new PartBuffer(number, range, this.#parts);
    this.#buffers.set(number, buffer);
    return buffer;
  }

  /** Whether all of the part is here, or in fragments that are known. */
  #isWhole({ gaps }: PartBuffer): boolean {
    if (gaps.length === 0 || this.#fragments.length === 0) return gaps.length === 0;
    const elsewhere = IntervalSet.from(this.#fragments);
    return gaps.every((gap) => elsewhere.covers(gap.start, gap.end));
  }

  async #upload(buffer: PartBuffer): Promise<void> {
    const { start, end } = buffer.range;
    const used = this.#fragments.filter((fragment) => fragment.start < end && start < fragment.end);
    try {
      await this.#parts.permits.run(() => this.#uploadPart(buffer, used));
    } catch (error) {
      if (!isUploadError(error, 'gone')) throw error;
      // Another process has merged the fragments into the part: what is here is in it too, or will be.
      for (const fragment of used) this.#fragments.splice(this.#fragments.indexOf(fragment), 1);
      return this.#putFragments(buffer);
    }
    this.#safe.addAll(buffer.held.ranges());
    for (const fragment of used) this.#fragments.splice(this.#fragments.indexOf(fragment), 1);
    // They are in the part now, and were not for a moment in neither. What stays goes when the content is complete.
    if (used.length > 0) await this.#parts.bucket.delete(used.map(({ key }) => key)).catch(() => undefined);
  }

  async #uploadPart(buffer: PartBuffer, used: readonly Fragment[]): Promise<void> {
    const { bucket, multipart, inMemory } = this.#parts;
    const { number, range, gaps } = buffer;
    const size = range.end - range.start;
    if (size > inMemory && (gaps.length > 0 || !buffer.isJoined)) {
      const read = () => inOrder(bucket, used, range, buffer.runs());
      await bucket.uploadPartFrom(multipart, number, size, read);
    } else {
      const target = buffer.joined();
      await fill(bucket, used, gaps, { target, start: range.start });
      await bucket.uploadPart(multipart, number, target);
    }
  }

  /** The buffer is on its way; whatever comes for its part from now on begins another. */
  #send(buffer: PartBuffer, send: () => Promise<void>): void {
    const { memory, id } = this.#parts;
    const { size } = buffer;
    this.#buffers.delete(buffer.number);
    memory.leave(size);
    const sending = send()
      .then(
        () => buffer.end(),
        (error: unknown) => {
          buffer.end(true);
          throw error;
        },
      )
      .catch(async (error: unknown) => {
        // Another process has completed the upload: these bytes are in it.
        if (!(await this.#hasEnded(error))) throw error;
        if (!(await this.#isComplete()))
          throw new UploadError('gone', 'the upload takes no more bytes', { id, cause: error });
        this.#safe.addAll(buffer.held.ranges());
      })
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => {
        memory.release(size);
        this.#underway.delete(sending);
      });
    this.#underway.add(sending);
  }

  /** Whether the failure of a part means that there is no multipart upload any more. moto says so with a 500. */
  async #hasEnded(error: unknown): Promise<boolean> {
    const { bucket, multipart } = this.#parts;
    if (isNoUpload(error)) return true;
    if ((statusOf(error) ?? 0) < 500) return false;
    return (await bucket.parts(multipart).catch(() => [])) === undefined;
  }

  async #isComplete(): Promise<boolean> {
    const { bucket, multipart } = this.#parts;
    return (await patiently(() => bucket.sizeOf(multipart.key))) !== undefined;
  }

  #assertUsable(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isClosed) throw new UploadError('invalid_argument', 'the writer is closed');
  }
}

/** Of an upload that is whole already: it takes what it has. */
export class WholeWriter implements StoreWriter {
  #written = new IntervalSet();

  async write(buffers: readonly Uint8Array[], offset: number): Promise<void> {
    let end = offset;
    for (const { byteLength } of buffers) end += byteLength;
    this.#written.add(offset, end);
  }

  async sync(): Promise<readonly Range[]> {
    const written = this.#written.ranges();
    this.#written = new IntervalSet();
    return written;
  }

  async close(): Promise<void> {
    // holds nothing
  }
}

/** The buffers without their first bytes. */
const skip = (buffers: readonly Uint8Array[], bytes: number): readonly Uint8Array[] => {
  let left = bytes;
  let first = 0;
  for (; first < buffers.length && left >= (buffers[first] as Uint8Array).byteLength; first++) {
    left -= (buffers[first] as Uint8Array).byteLength;
  }
  const rest = buffers.slice(first);
  const [head] = rest;
  return head === undefined || left === 0 ? rest : [head.subarray(left), ...rest.slice(1)];
};
