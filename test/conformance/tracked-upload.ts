import assert from 'node:assert/strict';
import { isUploadError } from '../../src/errors.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { Reservation, Store, StoredUpload, StoreWriter, UploadRecord } from '../../src/store.ts';
import { contentOf, inPieces, newRecord, scribble, sha256 } from './content.ts';
import { assertCovers, assertOrdered, assertRecord, readSum, rejectsWith } from './expect.ts';
import { TrackedWriter } from './tracked-writer.ts';

export interface UploadPlan extends Partial<UploadRecord> {
  /** Of the content, in bytes. */
  readonly length: number;
  /**
   * Which content it is.
   * @default the id
   */
  readonly name?: string;
}

/**
 * One upload, and what the contract says it must be after all that was done to it through here. `verify` compares
 * the two.
 */
export class TrackedUpload {
  readonly id: string;
  readonly content: Uint8Array;
  /** As it must be; undefined while there is no such upload. */
  record: UploadRecord | undefined;
  version = 0;
  /** Every range that a store has called safe. */
  acknowledged = new IntervalSet();
  /** Every range that a writer was given: a store may have it safe before it is asked to. */
  offered = new IntervalSet();
  hasContent = false;
  /** As it is made. */
  readonly #first: UploadRecord;
  readonly #writers: Set<StoreWriter>;

  /** Writers that it opens are in `writers` until they are closed. */
  constructor({ length, name, ...facts }: UploadPlan, writers: Set<StoreWriter>) {
    this.#first = newRecord(facts);
    this.id = this.#first.id;
    this.content = contentOf(name ?? this.id, length);
    this.#writers = writers;
  }

  get length(): number {
    return this.content.length;
  }

  get exists(): boolean {
    return this.record !== undefined;
  }

  get sum(): string {
    return sha256(this.content);
  }

  /** A copy. */
  bytes(start = 0, end = this.length): Uint8Array {
    return this.content.slice(start, end);
  }

  /** Makes it without content, its length stated. */
  create(store: Store, facts: Partial<UploadRecord> = {}, options?: Reservation): Promise<void> {
    return this.#make(store, { ...this.#first, length: this.length, ...facts }, undefined, options);
  }

  /** Makes it with all its content, given in these buffers, which are overwritten afterwards. */
  createWhole(
    store: Store,
    facts: Partial<UploadRecord> = {},
    options?: Reservation,
    buffers: readonly Uint8Array[] = inPieces(this.content, 3),
  ): Promise<void> {
    return this.#make(store, { ...this.#first, length: this.length, ...facts }, buffers, options);
  }

  /** Replaces the version in force; a field that is undefined goes. */
  async update(store: Store, facts: Change, options?: Reservation): Promise<void> {
    const record = this.changed(facts);
    assert.equal(
      await store.update(this.version, record, options),
      true,
      'an update of the version in force lost',
    );
    this.adopt(record);
  }

  /** Somebody else has made this version. */
  adopt(record: UploadRecord, version = this.version + 1): void {
    this.record = record;
    this.version = version;
  }

  /** The record as it would be. */
  changed(facts: Change): UploadRecord {
    const entries = Object.entries({ ...(this.record ?? this.#first), ...facts });
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as unknown as UploadRecord;
  }

  claim(store: Store, options?: Reservation): Promise<void> {
    const attempt = (this.record?.attempt ?? 0) + 1;
    return this.update(store, { state: 'claimed', attempt, claim: someClaim }, options);
  }

  finish(store: Store, response = '{"status":201}'): Promise<void> {
    return this.update(store, { state: 'finished', claim: undefined, response });
  }

  /** Finished, and its content the application's. */
  async handOver(store: Store): Promise<void> {
    await this.update(store, { moved: true });
    await this.discard(store);
  }

  /** The claim comes first, and then the content goes. */
  async remove(store: Store): Promise<void> {
    const removedAt = Date.now();
    const gone = {
      length: undefined,
      digest: undefined,
      context: undefined,
      claim: undefined,
      response: undefined,
    };
    await this.update(store, { ...gone, state: 'removed', metadata: {}, removedAt });
    await this.discard(store);
  }

  async discard(store: Store): Promise<void> {
    await store.discard(this.id);
    this.#forgetContent();
  }

  async purge(store: Store): Promise<void> {
    await store.purge(this.id);
    this.record = undefined;
    this.#forgetContent();
  }

  async writer(store: Store): Promise<TrackedWriter> {
    const writer = await store.writer(this.id);
    this.#writers.add(writer);
    return new TrackedWriter(this, writer, store.supports.sparse, () => this.#writers.delete(writer));
  }

  /** One writer, from its opening to its close. */
  async put(store: Store, ...ranges: readonly Range[]): Promise<void> {
    const writer = await this.writer(store);
    await writer.put(...ranges);
    await writer.close();
  }

  /** Every bit of what a store says of the upload. */
  async verify(store: Store): Promise<void> {
    const { id, record } = this;
    if (record === undefined) {
      assert.equal(await store.load(id), undefined, 'there is an upload that must not be');
      await this.#verifyNoContent(store);
      return;
    }
    const stored = await this.#load(store);
    if (stored !== undefined) {
      assertRecord(stored.record, record);
      assert.equal(stored.version, this.version, 'its version');
      this.#verifyReceived(stored.received);
    }
    if (this.hasContent) await this.verifyContent(store, stored?.received ?? []);
    else await this.#verifyNoContent(store);
  }

  /** Reads ranges back, where that is possible yet, and compares their sums. */
  async verifyContent(store: Store, ranges: readonly Range[]): Promise<void> {
    if (!this.#isReadable(store)) return;
    for (const { start, end } of ranges) {
      const sum = await readSum(store, this.id, start, end);
      assert.equal(
        sum,
        sha256(this.content.subarray(start, end)),
        `the bytes ${start}-${end} are not what was sent`,
      );
    }
  }

  async #make(
    store: Store,
    record: UploadRecord,
    buffers: readonly Uint8Array[] | undefined,
    options: Reservation | undefined,
  ): Promise<void> {
    await store.create(record, buffers, options);
    scribble(buffers ?? []);
    this.record = record;
    this.version = 1;
    this.hasContent = true;
    this.acknowledged = IntervalSet.from(buffers === undefined ? [] : [{ start: 0, end: this.length }]);
    this.offered = new IntervalSet();
  }

  /** Whether it may be read at all, be there anything or not. */
  #isReadable(store: Store): boolean {
    return this.record?.state !== 'open' || store.supports.readOpen;
  }

  #forgetContent(): void {
    this.hasContent = false;
    this.acknowledged = new IntervalSet();
    this.offered = new IntervalSet();
  }

  /** An upload that is to go on and has lost its content may be called gone, or be empty. */
  async #load(store: Store): Promise<StoredUpload | undefined> {
    try {
      const stored = await store.load(this.id);
      assert.ok(stored, 'an upload is missing');
      return stored;
    } catch (error) {
      const isStranded = !this.hasContent && /open|claimed/.test(this.record?.state ?? '');
      if (isStranded && isUploadError(error, 'gone')) return undefined;
      throw error;
    }
  }

  #verifyReceived(received: readonly Range[]): void {
    assertOrdered(received, 'received');
    const { state, length = 0 } = this.record as UploadRecord;
    if (state === 'finished') {
      assert.deepEqual(
        received,
        length === 0 ? [] : [{ start: 0, end: length }],
        'received, once it is finished',
      );
      return;
    }
    // Between the record that says so and the removal of the content there is nothing that must be.
    if (state === 'removed' && this.hasContent) return;
    assertCovers(received, this.acknowledged, 'received lacks what was acknowledged');
    const known = [...this.acknowledged.ranges(), ...this.offered.ranges()];
    assertCovers(known, IntervalSet.from(received), 'received has what was never sent');
  }

  async #verifyNoContent(store: Store): Promise<void> {
    await rejectsWith(store.writer(this.id), 'gone', 'a writer on an upload without content');
    if (this.length === 0 || !this.#isReadable(store)) return;
    await rejectsWith(readSum(store, this.id, 0, this.length), 'gone', 'reading content that is not there');
    await rejectsWith(readSum(store, this.id, this.length - 1, this.length), 'gone', 'reading its last byte');
  }
}

/** Fields to set; those that are undefined go. */
export type Change = { readonly [Field in keyof UploadRecord]?: UploadRecord[Field] | undefined };

/** Nobody in particular, for long enough. */
export const someClaim = { owner: 'machine.1.1.000000000000-1', expiresAt: Date.now() + 3_600_000 };
