import { Readable } from 'node:stream';
import { UploadError } from '../errors.ts';
import type { Range } from '../intervals.ts';
import type { Store, StoredUpload } from '../store.ts';
import type { LiveReader, LiveUpload } from './live-upload.ts';

const readBytes = 256 * 1024;

/** How often it is looked whether another process has stored more: seldom while somebody sends to this one. */
const lookMs = { alone: 500, beside: 5000 };

export interface FollowerOptions {
  /** How long nobody may be sending before the body errors. */
  readonly resumeTimeoutMs: number;
  load(): Promise<StoredUpload | undefined>;
  /** Called once, when nothing of this is in use any more. */
  release(): Promise<void>;
}

/**
 * The content of an upload from its first byte to its last while it is still coming: one body, however many
 * connections bring it. It gives nothing that is not safe, so a reader never knows more than the store. Errors
 * with `interrupted` when nobody has sent for `resumeTimeoutMs`, with `gone` when the upload was removed, with
 * `closing` when the server stops.
 */
export class Follower extends Readable implements LiveReader {
  readonly #live: LiveUpload;
  readonly #store: Store;
  readonly #options: FollowerOptions;
  readonly #onSafe = (): void => this.#advance();
  #position = 0;
  #length: number | undefined;
  #source: Readable | undefined;
  #isWanted = false;
  #isHungry = false;
  #clock: NodeJS.Timeout | undefined;
  /** When bytes last came, or somebody was there to send some. */
  #lastSeen = 0;

  /** Uses `live` until it is closed. */
  constructor(live: LiveUpload, store: Store, length: number | undefined, options: FollowerOptions) {
    super({ highWaterMark: readBytes });
    this.#live = live;
    this.#store = store;
    this.#length = length;
    this.#options = options;
    live.reader = this;
    live.onSafe.add(this.#onSafe);
  }

  get position(): number {
    return this.#position;
  }

  get isHungry(): boolean {
    return this.#isHungry;
  }

  /** Of the whole, once somebody has stated it. */
  get length(): number | undefined {
    return this.#length;
  }

  /** What is stored. */
  get received(): readonly Range[] {
    return this.#live.safe.ranges();
  }

  /** Whether these bytes are stored. */
  has(start: number, end: number): boolean {
    return this.#live.safe.covers(start, end);
  }

  get isWhole(): boolean {
    return this.#length !== undefined && this.has(0, this.#length);
  }

  bound(length: number): void {
    this.#length = length;
    this.#advance();
  }

  left(): void {
    if (!this.#isHungry) return;
    this.#lastSeen = Date.now();
    this.#setClock();
  }

  override _read(): void {
    this.#isWanted = true;
    if (this.#source === undefined) this.#advance();
    else this.#source.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#clock);
    this.#source?.destroy();
    this.#isHungry = false;
    this.#live.onSafe.delete(this.#onSafe);
    if (this.#live.reader === this) this.#live.reader = undefined;
    this.#live.relieve();
    this.#options.release().then(
      () => done(error),
      (failure: Error) => done(error ?? failure),
    );
  }

  /** From what is safe to the reader, as far as it goes. */
  #advance(): void {
    if (!this.#isWanted || this.#source !== undefined || this.destroyed) return;
    const safe = this.#live.safe.runEnd(this.#position);
    const end = Math.min(safe, this.#length ?? safe);
    if (end > this.#position) this.#open(end);
    else if (this.#position === this.#length) this.#finish();
    else this.#wait();
  }

  #open(end: number): void {
    this.#sate();
    const source = this.#store.read(this.#live.id, this.#position, end);
    this.#source = source;
    source.on('data', (chunk: Buffer) => {
      this.#position += chunk.byteLength;
      if (!this.push(chunk)) {
        this.#isWanted = false;
        source.pause();
      }
      this.#live.relieve();
    });
    source.on('end', () => {
      this.#source = undefined;
      this.#advance();
    });
    source.on('error', (error) => this.destroy(error));
  }

  #finish(): void {
    this.#sate();
    this.push(null);
  }

  #wait(): void {
    if (this.#isHungry) return;
    this.#isHungry = true;
    this.#lastSeen = Date.now();
    this.#setClock();
    this.#live.hurry();
  }

  #sate(): void {
    this.#isHungry = false;
    clearTimeout(this.#clock);
  }

  #setClock(): void {
    clearTimeout(this.#clock);
    const left = this.#lastSeen + this.#options.resumeTimeoutMs - Date.now();
    const next = this.#live.transfers.size > 0 ? lookMs.beside : lookMs.alone;
    this.#clock = setTimeout(() => void this.#look(), Math.max(1, Math.min(next, left)));
  }

  async #look(): Promise<void> {
    const before = this.#live.safe.runEnd(this.#position);
    try {
      const stored = await this.#options.load();
      if (stored === undefined)
        throw new UploadError('gone', 'the upload was removed', { id: this.#live.id });
      this.#live.merge(stored);
      this.#length ??= stored.record.length;
    } catch (error) {
      this.destroy(error as Error);
      return;
    }
    if (this.#live.transfers.size > 0 || this.#live.safe.runEnd(this.#position) > before) {
      this.#lastSeen = Date.now();
    }
    this.#advance();
    if (!this.#isHungry || this.destroyed) return;
    if (Date.now() - this.#lastSeen < this.#options.resumeTimeoutMs) this.#setClock();
    else {
      const facts = { id: this.#live.id, offset: this.#position, expected: this.#length };
      this.destroy(new UploadError('interrupted', 'nobody has sent the rest in time', facts));
    }
  }
}
