import assert from 'node:assert/strict';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { StoreWriter } from '../../src/store.ts';
import { scribble } from './content.ts';
import { assertCovers } from './expect.ts';
import type { TrackedUpload } from './tracked-upload.ts';

/** A writer, and what it owes: which ranges its next sync must acknowledge, and which it may. */
export class TrackedWriter {
  readonly #upload: TrackedUpload;
  readonly #writer: StoreWriter;
  readonly #sparse: boolean;
  readonly #onClose: () => void;
  /** Every write that has resolved. */
  readonly #taken = new IntervalSet();
  /** Every write that was begun since a sync last gave it back. */
  #begun = new IntervalSet();

  constructor(upload: TrackedUpload, writer: StoreWriter, sparse: boolean, onClose: () => void) {
    this.#upload = upload;
    this.#writer = writer;
    this.#sparse = sparse;
    this.#onClose = onClose;
  }

  /**
   * One write for each range: all at once where the store takes that, otherwise one after another. Their buffers
   * are overwritten as soon as they are the caller's again.
   */
  async write(...ranges: readonly Range[]): Promise<void> {
    if (this.#sparse) await Promise.all(ranges.map((range) => this.#write(range)));
    else for (const range of ranges) await this.#write(range);
  }

  async sync(): Promise<readonly Range[]> {
    const due = this.#taken.clone();
    const ranges = await this.#writer.sync();
    const given = IntervalSet.from(ranges);
    assertCovers(this.#begun.ranges(), given, 'sync gave back what was not written since the last');
    this.#begun = without(this.#begun, given);
    this.#upload.acknowledged.addAll(ranges);
    assertCovers(this.#upload.acknowledged.ranges(), due, 'sync did not acknowledge what had been written');
    return given.ranges();
  }

  async put(...ranges: readonly Range[]): Promise<void> {
    await this.write(...ranges);
    await this.sync();
  }

  async close(): Promise<void> {
    await this.#writer.close();
    this.#onClose();
  }

  /**
   * Writes and syncs for an upload that has gone. Whether that is refused is the store's choice: whoever writes looks
   * at the upload's state before telling anybody.
   */
  async writeInVain(range: Range): Promise<void> {
    await this.#write(range).catch(() => undefined);
    await this.#writer.sync().catch(() => undefined);
  }

  async #write({ start, end }: Range): Promise<void> {
    assert.ok(end <= this.#upload.length, 'a scenario writes past its content');
    const middle = start + Math.floor((end - start) / 3);
    const buffers = [this.#upload.bytes(start, middle), this.#upload.bytes(middle, end)];
    this.#begun.add(start, end);
    this.#upload.offered.add(start, end);
    await this.#writer.write(buffers, start);
    scribble(buffers);
    this.#begun.add(start, end);
    this.#taken.add(start, end);
  }
}

/** What of `a` is not in `b`. */
const without = (a: IntervalSet, b: IntervalSet): IntervalSet =>
  IntervalSet.from(a.ranges().flatMap(({ start, end }) => b.missing(start, end)));
