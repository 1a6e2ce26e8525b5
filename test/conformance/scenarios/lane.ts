import assert from 'node:assert/strict';
import type { Range } from '../../../src/intervals.ts';
import type { Store } from '../../../src/store.ts';
import { KiB, sha256 } from '../content.ts';
import { readSum, rejectsWith } from '../expect.ts';
import type { Random } from '../random.ts';
import type { Stage } from '../stage.ts';
import type { TrackedUpload } from '../tracked-upload.ts';
import type { TrackedWriter } from '../tracked-writer.ts';

export const maxLength = 48 * KiB;

/** How often each is chosen, against the others. */
const weights = {
  write: 6,
  sync: 4,
  openWriter: 2,
  closeWriter: 1,
  advance: 4,
  change: 2,
  loseUpdate: 1,
  takenId: 1,
  read: 2,
  look: 2,
  purge: 1,
};
type Move = keyof typeof weights;

const moves = Object.entries(weights).flatMap(([move, weight]) => Array<Move>(weight).fill(move as Move));

/**
 * One after another, uploads of one id, each of which lives through random moves in a random order. Since nothing else
 * touches them, what must be is known at every moment.
 */
export class Lane {
  readonly #stage: Stage;
  readonly #random: Random;
  readonly #id: string;
  /** What it has done, for whoever reads of a failure. */
  readonly trail: string[] = [];
  #stores: readonly Store[] = [];
  #upload: TrackedUpload;
  #generation = 0;
  #writers: TrackedWriter[] = [];
  /** Where the next byte goes, in a store that takes no other. */
  #position = 0;

  constructor(stage: Stage, random: Random, id: string) {
    this.#stage = stage;
    this.#random = random;
    this.#id = id;
    this.#upload = this.#next();
  }

  /** So many moves over these instances. */
  async live(stores: readonly Store[], steps: number): Promise<void> {
    this.#stores = stores;
    for (let n = 0; n < steps; n++) {
      const move = this.#upload.exists ? this.#random.pick(moves) : 'create';
      this.trail.push(move);
      await this[move]();
    }
  }

  /** Holds nothing of its instances any more. */
  async rest(): Promise<void> {
    while (this.#writers.length > 0) await this.closeWriter();
  }

  /** After a power cut. That something went is not promised to be safe, so it goes once more. */
  async recover(store: Store): Promise<void> {
    this.#writers = [];
    if (!this.#upload.exists) await store.purge(this.#id);
    else if (!this.#upload.hasContent) await store.discard(this.#id);
  }

  async create(): Promise<void> {
    const { store } = this;
    assert.equal(await store.update(1, this.#upload.changed({})), false);
    const reserve = this.#random.oneIn(3) ? { reserve: this.#random.below(50 * KiB) } : {};
    if (this.#random.oneIn(3)) await this.#upload.createWhole(store, {}, reserve);
    else await this.#upload.create(store, {}, reserve);
  }

  async openWriter(): Promise<void> {
    if (!this.#upload.hasContent) return rejectsWith(this.store.writer(this.#id), 'gone', 'writer');
    if (this.#writers.length === (this.#stage.supports.sparse ? 3 : 1)) return;
    this.#writers.push(await this.#upload.writer(this.store));
    this.#position = (await this.store.load(this.#id))?.received.at(-1)?.end ?? 0;
  }

  async write(): Promise<void> {
    if (this.#writers.length === 0) await this.openWriter();
    if (this.#writers.length === 0) return;
    const ranges = this.#ranges();
    this.trail.push(ranges.map(({ start, end }) => `${start}-${end}`).join(' '));
    await this.#random.pick(this.#writers).write(...ranges);
  }

  async sync(): Promise<void> {
    if (this.#writers.length > 0) await this.#random.pick(this.#writers).sync();
  }

  async closeWriter(): Promise<void> {
    const [writer] = this.#writers.splice(0, 1);
    await writer?.close();
  }

  /** Whatever comes next in an upload's life. */
  async advance(): Promise<void> {
    const store = await this.#informed();
    const upload = this.#upload;
    const state = upload.record?.state;
    const isWhole = upload.acknowledged.covers(0, upload.length);
    const reserve = this.#random.oneIn(2) ? { reserve: 1 + this.#random.below(50 * KiB) } : {};
    if (state === 'open' && isWhole) await upload.claim(store, reserve);
    else if (state === 'open' && this.#random.oneIn(3)) await this.#end(() => upload.remove(store));
    else if (state === 'claimed') {
      if (this.#random.oneIn(4)) await upload.update(store, { state: 'open', claim: undefined });
      else if (this.#random.oneIn(3)) await upload.claim(store, reserve);
      else await upload.finish(store, 'r'.repeat(this.#random.below(40 * KiB)));
    } else if (state === 'finished') {
      if (this.#random.oneIn(2)) await this.#end(() => upload.handOver(store));
      else await this.#end(() => upload.remove(store));
    } else if (state === 'removed') await upload.discard(store);
  }

  async change(): Promise<void> {
    const metadata = { [`ä${this.#random.below(3)}`]: '\n'.repeat(this.#random.below(2000)) };
    await this.#upload.update(await this.#informed(), { metadata });
  }

  async loseUpdate(): Promise<void> {
    const version = this.#upload.version + (this.#random.oneIn(2) ? 1 : -1);
    assert.equal(await this.store.update(version, this.#upload.changed({ attempt: 99 })), false);
  }

  async takenId(): Promise<void> {
    const record = this.#upload.changed({ length: 5 });
    await rejectsWith(this.store.create(record, [new Uint8Array(5)]), 'exists', 'create');
  }

  async read(): Promise<void> {
    const { hasContent, acknowledged, record } = this.#upload;
    if (!hasContent || (record?.state === 'open' && !this.#stage.supports.readOpen)) return;
    const ranges = acknowledged.ranges();
    if (ranges.length === 0) return;
    const { start, end } = this.#within(this.#random.pick(ranges));
    this.trail.push(`${start}-${end}`);
    assert.equal(await readSum(this.store, this.#id, start, end), sha256(this.#upload.bytes(start, end)));
  }

  async look(): Promise<void> {
    await this.#upload.verify(this.store);
  }

  async purge(): Promise<void> {
    if (!this.#random.oneIn(3)) return;
    await this.#end(() => this.#upload.purge(this.store));
    await this.look();
    this.#upload = this.#next();
  }

  /** Any of the instances. */
  get store(): Store {
    return this.#random.pick(this.#stores);
  }

  /** One that knows of the upload: what others have made since, an instance learns by loading it. */
  async #informed(): Promise<Store> {
    const { store } = this;
    await store.load(this.#id);
    return store;
  }

  /** The next upload of this id has other bytes. */
  #next(): TrackedUpload {
    const length = this.#random.pick([0, 1, 1 + this.#random.below(1000), this.#random.below(maxLength)]);
    return this.#stage.upload({ id: this.#id, name: `${this.#id} ${this.#generation++}`, length });
  }

  /** The content goes, and writers that are still open find out. */
  async #end(bringAbout: () => Promise<void>): Promise<void> {
    await bringAbout();
    await this.look();
    for (const writer of this.#writers.splice(0)) {
      const start = this.#stage.supports.sparse ? 0 : this.#position;
      await writer.writeInVain({ start, end: this.#upload.length });
      await this.look();
      await writer.close();
    }
  }

  /** Where offsets are free up to three, overlapping or not; otherwise the next. */
  #ranges(): Range[] {
    const { length, acknowledged } = this.#upload;
    if (!this.#stage.supports.sparse) {
      const start = this.#position;
      this.#position += this.#random.below(length - start + 1);
      return [{ start, end: this.#position }];
    }
    const whole = { start: 0, end: length };
    const places = [whole, ...acknowledged.missing(0, length)];
    const range = (): Range => this.#within(this.#random.pick(places));
    return Array.from({ length: 1 + this.#random.below(3) }, range);
  }

  #within({ start, end }: Range): Range {
    const length = this.#random.below(end - start + 1);
    const from = start + this.#random.below(end - start - length + 1);
    return { start: from, end: from + length };
  }
}
