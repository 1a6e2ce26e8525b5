import assert from 'node:assert/strict';
import { isUploadError } from '../../../src/errors.ts';
import { IntervalSet, type Range } from '../../../src/intervals.ts';
import type { Reservation, Store, StoredUpload, UploadRecord } from '../../../src/store.ts';
import { contentOf, inPieces, newRecord, sha256 } from '../content.ts';
import { assertCovers, assertOrdered, isSameRecord, readSum, refuses } from '../expect.ts';
import { together } from '../together.ts';

/** What has become of an upload's content, as far as anybody can know. */
type Content = 'none' | 'kept' | 'being removed' | 'removed';

/**
 * What may be said of an upload whose store fails in between: of a call that rejected nobody knows whether it took
 * effect, so there are several possible records; but never half of one.
 */
export class Ledger {
  readonly content: Uint8Array;
  readonly acknowledged = new IntervalSet();
  readonly #first: UploadRecord;
  /** The record in force is one of these; undefined stands for no upload. */
  #possible: (UploadRecord | undefined)[] = [undefined];
  #content: Content = 'none';
  /** Made with all its content, if it was made. */
  #isWhole = false;
  /** A sync has failed, and nothing has been written since: then what is received is what was acknowledged. */
  #isExact = false;
  /** The end of its life was begun: from then on, no upload is the end itself. */
  #isEnding = false;
  /** The record before that. */
  #last: UploadRecord | undefined;

  constructor(length: number) {
    this.#first = newRecord({ length });
    this.content = contentOf(this.id, length);
  }

  get id(): string {
    return this.#first.id;
  }

  get length(): number {
    return this.content.length;
  }

  get isEnding(): boolean {
    return this.#isEnding;
  }

  /** The whole, or a part. */
  sum(start = 0, end = this.length): string {
    return sha256(this.content.subarray(start, end));
  }

  async create(store: Store, facts: Partial<UploadRecord> = {}): Promise<void> {
    await this.#make(store, { ...this.#first, ...facts }, undefined);
  }

  async createWhole(store: Store, facts: Partial<UploadRecord> = {}, options?: Reservation): Promise<void> {
    this.#isWhole = true;
    await this.#make(store, { ...this.#first, ...facts }, inPieces(this.content, 3), options);
    this.acknowledged.add(0, this.length);
  }

  async update(
    store: Store,
    { record, version }: StoredUpload,
    facts: object,
    options?: Reservation,
  ): Promise<void> {
    const next = JSON.parse(JSON.stringify({ ...record, ...facts })) as UploadRecord;
    this.#possible = [record, next];
    assert.equal(await store.update(version, next, options), true, 'an update of the version in force lost');
    this.#possible = [next];
  }

  /** One writer, which writes the ranges at once where the store takes that, and syncs once. */
  async put(store: Store, ranges: readonly Range[]): Promise<void> {
    const writer = await store.writer(this.id);
    try {
      const write = ({ start, end }: Range): Promise<void> =>
        writer.write(inPieces(this.content.subarray(start, end), 2), start);
      this.#isExact = false;
      if (store.supports.sparse) {
        await together(ranges.map(write));
      } else {
        for (const range of ranges) await write(range);
      }
      try {
        this.acknowledged.addAll(await writer.sync());
      } catch (error) {
        this.#isExact = true;
        await refuses(writer.write([this.content.subarray(0, 1)], 0), 'a write after a sync that failed');
        await refuses(writer.sync(), 'a sync after one that failed');
        throw error;
      }
    } finally {
      await writer.close();
    }
  }

  async discard(store: Store): Promise<void> {
    this.#content = 'being removed';
    await store.discard(this.id);
    this.#content = 'removed';
  }

  async purge(store: Store): Promise<void> {
    this.#isEnding = true;
    this.#last = this.#possible[0];
    this.#possible.push(undefined);
    this.#content = 'being removed';
    await store.purge(this.id);
    this.#possible = [undefined];
    this.#content = 'removed';
  }

  /** That something went is not promised to be safe: an upload that was purged, or content that was discarded, may be back. */
  forgetRemovals(): void {
    if (this.#isEnding) this.#possible.push(this.#last);
    if (this.#content === 'removed') this.#content = 'being removed';
  }

  /** What the store has now; finds out which of the possible records it is. */
  async load(store: Store): Promise<StoredUpload | undefined> {
    const stored = await store.load(this.id);
    const record = this.#possible.find((one) =>
      one === undefined || stored === undefined ? one === stored : isSameRecord(one, stored.record),
    );
    const isPossible = record !== undefined || (stored === undefined && this.#possible.includes(undefined));
    assert.ok(isPossible, `the record is none that was ever made: ${JSON.stringify(stored?.record)}`);
    this.#possible = [record];
    if (record !== undefined && this.#content === 'none') {
      this.#content = 'kept';
      if (this.#isWhole) this.acknowledged.add(0, this.length);
    }
    return stored;
  }

  /**
   * Everything that must be so at any time: nothing is half made, all that was acknowledged is there, and every byte
   * is the one that was sent. `isFailureKnown`: the process whose calls failed goes on, and knows that what they were
   * about is not safe.
   */
  async check(store: Store, isFailureKnown: boolean): Promise<void> {
    const stored = await this.load(store);
    if (stored === undefined || this.#content !== 'kept') return this.#checkRemoved(store, stored);
    const { received, record } = stored;
    assertOrdered(received, 'received');
    assertCovers(received, this.acknowledged, 'received lacks what was acknowledged');
    if (isFailureKnown && this.#isExact && record.state === 'open') {
      assertCovers(this.acknowledged.ranges(), IntervalSet.from(received), 'a failed sync counts as stored');
    }
    if (record.state === 'open' && !store.supports.readOpen) return;
    for (const { start, end } of received) {
      assert.equal(
        await readSum(store, this.id, start, end),
        this.sum(start, end),
        `the bytes ${start}-${end}`,
      );
    }
  }

  async #make(
    store: Store,
    record: UploadRecord,
    content: readonly Uint8Array[] | undefined,
    options?: Reservation,
  ): Promise<void> {
    this.#possible = [undefined, record];
    await store.create(record, content, options);
    this.#possible = [record];
    this.#content = 'kept';
  }

  /** Content that goes is all there, or gone; once it is, it is gone. */
  async #checkRemoved(store: Store, stored: StoredUpload | undefined): Promise<void> {
    const isGone = stored === undefined || this.#content === 'removed';
    try {
      assert.equal(await readSum(store, this.id, 0, this.length), this.sum(), 'the bytes that are to go');
      assert.ok(!isGone, 'content that was removed can be read');
    } catch (error) {
      if (!isUploadError(error, 'gone')) throw error;
    }
  }
}
