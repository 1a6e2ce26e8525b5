import { isUploadError, storeError, type UploadError } from '../errors.ts';
import { IntervalSet } from '../intervals.ts';
import type { Store, StoredUpload, StoreWriter, UploadRecord } from '../store.ts';
import type { NewClaim } from './completion.ts';
import type { Transfer } from './transfer.ts';

/** What brings no byte for so long has none on its way, or they are slow to come. */
const quietMs = 25;
/** Nobody waits longer for what another connection may still bring. */
const mostQuietMs = 200;

/** Whoever reads the content in order while it comes. */
export interface LiveReader {
  /** The next byte it wants. */
  readonly position: number;
  /** It has read all that is safe, and waits for more. */
  readonly isHungry: boolean;
  /** The length of the whole has become known. */
  bound(length: number): void;
  /** The last that was sending to this process has gone: now it is others that may. */
  left(): void;
  /** There will be no more. */
  destroy(reason: UploadError): void;
}

export interface LiveUploadOptions {
  /** Written bytes are made safe when there are this many, … */
  readonly checkpointBytes: number;
  /** … or this long after the first of them. */
  readonly checkpointMs: number;
  /** How many written bytes a reader may have before it until the senders are held back. */
  readonly aheadBytes: number;
}

/**
 * What this process knows of one upload while any request is at work on it: shared by all of them, so that
 * they share one writer, skip each other's bytes and are made safe by one sync.
 */
export class LiveUpload {
  readonly id: string;
  /** Safe under the store's durability: may be acknowledged. */
  readonly safe = new IntervalSet();
  /** `safe`, and what the store has taken from us since: need not be written again. */
  written = new IntervalSet();
  readonly transfers = new Set<Transfer>();
  /** Called after `safe` grew. */
  readonly onSafe = new Set<() => void>();
  /** Requests that use this object, and the reader; the last one out closes the writer. */
  users = 0;
  /** Set while the handler reads what is still coming. */
  reader: LiveReader | undefined;

  readonly #store: Store;
  readonly #options: LiveUploadOptions;
  readonly #reconcile: (record: UploadRecord) => Promise<void>;
  /** The upload is made with its first bytes: until then it is only this. */
  #pending: UploadRecord | undefined;
  #creation: Promise<boolean> | undefined;
  /** As the store has seen it last, for its writer. */
  #seen: UploadRecord | undefined;
  #writer: Promise<StoreWriter> | undefined;
  readonly #writes = new Set<Promise<void>>();
  #unsafeBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #following: Promise<void> | undefined;
  #quieting: Promise<void> | undefined;
  /** Set while `quiet` waits, which it does once at a time. */
  #onEmpty: (() => void) | undefined;

  /** `reconcile` states the facts of a record about an upload that was made without them. */
  constructor(
    store: Store,
    id: string,
    options: LiveUploadOptions,
    reconcile: (record: UploadRecord) => Promise<void>,
  ) {
    this.#store = store;
    this.#reconcile = reconcile;
    this.id = id;
    this.#options = options;
  }

  /** The record of an upload that is not in the store yet. */
  get pending(): UploadRecord | undefined {
    return this.#pending;
  }

  set pending(record: UploadRecord | undefined) {
    this.#pending = record;
  }

  /** The highest byte that any request here has brought, safe or not. */
  get end(): number {
    return Math.max(
      this.written.end,
      ...[...this.transfers].map(({ position, start }) => (position > start ? position : 0)),
    );
  }

  /** Whether the reader has so much before it that the senders should wait for it. */
  get isAhead(): boolean {
    const { reader } = this;
    if (reader === undefined) return false;
    return this.written.runEnd(reader.position) - reader.position > this.#options.aheadBytes;
  }

  /** What has arrived is to be safe as soon as can be: somebody waits for it. */
  hurry(): void {
    for (const transfer of this.transfers) transfer.feed();
    if (this.#unsafeBytes > 0 && this.#running === undefined) this.#checkpointBeside();
  }

  /** Lets the senders go on, if nothing else holds them. */
  relieve(): void {
    for (const transfer of this.transfers) transfer.relieve();
  }

  /** All that it was given is written. */
  leave(transfer: Transfer): void {
    this.transfers.delete(transfer);
    if (this.transfers.size > 0) return;
    this.reader?.left();
    this.#onEmpty?.();
  }

  /** Takes in what the store, and so other processes, know. */
  merge(stored: StoredUpload): void {
    this.safe.addAll(stored.received);
    this.written.addAll(stored.received);
    this.#seen = stored.record;
  }

  /**
   * Makes the upload exist, with all its bytes when the caller has them. One that somebody else made
   * meanwhile is taken as it is; `content` is then still the caller's to write. Resolves with whether
   * `content` was stored, and with it the `claim`.
   */
  async establish(content?: readonly Uint8Array[], claim?: NewClaim): Promise<boolean> {
    const record = this.#pending;
    if (record === undefined) return false;
    if (this.#creation !== undefined) {
      await this.#creation;
      return false;
    }
    const creation = this.#create(record, content, claim);
    this.#creation = creation;
    try {
      return await creation;
    } finally {
      this.#creation = undefined;
    }
  }

  /** Rejects with an `UploadError`. */
  write(buffers: readonly Uint8Array[], offset: number, bytes: number): Promise<void> {
    const writing = this.#write(buffers, offset, bytes).finally(() => this.#writes.delete(writing));
    this.#writes.add(writing);
    return writing;
  }

  /**
   * Resolves when no transfer is being given bytes any more, or after a moment. A connection that was closed may still
   * have some in the system's buffers, and whoever comes back would have to send them again.
   */
  quiet(): Promise<void> {
    this.#quieting ??= this.#quiet().finally(() => {
      this.#quieting = undefined;
    });
    return this.#quieting;
  }

  async #quiet(): Promise<void> {
    const until = Date.now() + mostQuietMs;
    for (let before = -1, now = this.#progress(); this.transfers.size > 0 && Date.now() < until; ) {
      const isHeld = [...this.transfers].some(({ held }) => held);
      if (now === before && !isHeld) return;
      before = now;
      await this.#emptyOr(quietMs);
      now = this.#progress();
    }
  }

  /** Makes safe what the transfers have given to the store by now, and what they were gathering. */
  async checkpointAll(): Promise<void> {
    for (const transfer of this.transfers) transfer.flush();
    await Promise.allSettled(this.#writes); // a write that fails is its transfer's to report
    await this.checkpoint();
  }

  /**
   * Makes safe what was written before this call. Of many callers at once, the first begins a sync and all
   * others share the next: it is the one that covers their bytes. Without `all`, only what costs the store nothing
   * extra.
   */
  checkpoint(all = true): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#sync(all).finally(() => {
        this.#running = undefined;
        if (this.#unsafeBytes > 0) this.#schedule(0); // they came while the sync was under way
      });
      return this.#running;
    }
    this.#following ??= this.#running
      .catch(() => undefined) // its own callers are told
      .then(() => {
        this.#following = undefined;
        return this.checkpoint();
      });
    return this.#following;
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const writer = this.#writer;
    this.#writer = undefined;
    await this.#following?.catch(() => undefined);
    await this.#running?.catch(() => undefined);
    await writer?.then(
      (open) => open.close(),
      () => undefined, // it never opened, and its callers know
    );
  }

  /** Resolves when the last transfer has left, or after this time. */
  #emptyOr(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.#onEmpty = undefined;
        resolve();
      };
      const timer = setTimeout(settle, ms);
      this.#onEmpty = settle;
    });
  }

  #progress(): number {
    let bytes = 0;
    for (const { position } of this.transfers) bytes += position;
    return bytes;
  }

  async #write(buffers: readonly Uint8Array[], offset: number, bytes: number): Promise<void> {
    try {
      if (this.#pending !== undefined) await this.establish();
      const promised = this.#open();
      const writer = await promised;
      await writer.write(buffers, offset);
      // A writer whose sync failed meanwhile takes all its unsafe bytes with it.
      if (promised !== this.#writer) throw new Error('the writer was given up');
      this.written.add(offset, offset + bytes);
      this.#schedule(bytes);
    } catch (error) {
      throw storeError(error, this.id);
    }
  }

  async #create(
    record: UploadRecord,
    content: readonly Uint8Array[] | undefined,
    claim: NewClaim | undefined,
  ): Promise<boolean> {
    const making =
      claim === undefined
        ? this.#store.create(record, content)
        : this.#store.create(claim.record, content, claim);
    this.#seen = claim?.record ?? record;
    const made = await making.then(
      () => true,
      (error: unknown) => {
        if (isUploadError(error, 'exists')) return false;
        throw storeError(error, this.id);
      },
    );
    if (!made) {
      const other = await this.#store.load(this.id);
      if (other !== undefined) this.merge(other);
    } else if (content !== undefined) this.#stored(0, record.length ?? 0);
    // Another process may have made it with other facts, and other requests may have stated more meanwhile.
    const pending = this.#pending ?? record;
    this.#pending = undefined;
    if (!made || pending !== record) await this.#reconcile(pending);
    return made && content !== undefined;
  }

  #open(): Promise<StoreWriter> {
    if (this.#writer !== undefined) return this.#writer;
    const opening = this.#store.writer(this.id, this.#seen);
    this.#seen = undefined; // another time it is to look again
    this.#writer = opening;
    opening.catch(() => {
      if (this.#writer === opening) this.#writer = undefined; // whoever comes next may have more luck
    });
    return opening;
  }

  #schedule(bytes: number): void {
    this.#unsafeBytes += bytes;
    if (this.#unsafeBytes >= this.#options.checkpointBytes || this.reader?.isHungry === true) {
      if (this.#running === undefined) this.#checkpointBeside();
    } else if (this.#timer === undefined) {
      this.#timer = setTimeout(() => this.#checkpointBeside(), this.#options.checkpointMs);
    }
  }

  /** Beside the stream, for nobody in particular; `#sync` tells the transfers when it fails. */
  #checkpointBeside(): void {
    this.checkpoint(false).catch(() => undefined);
  }

  async #sync(all: boolean): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#unsafeBytes = 0;
    const promised = this.#writer;
    if (promised === undefined) return;
    try {
      const writer = await promised;
      for (const { start, end } of await writer.sync(all)) this.#stored(start, end);
      if (!all && this.written.size > this.safe.size) this.#schedule(0); // the store has kept some for later
    } catch (cause) {
      const error = storeError(cause, this.id);
      if (this.#writer === promised) await this.#giveUp(promised, error);
      throw error;
    }
    for (const listener of this.onSafe) listener();
  }

  #stored(start: number, end: number): void {
    this.safe.add(start, end);
    this.written.add(start, end);
  }

  /** After a failed sync nothing unacknowledged counts as stored: it will be sent, and written, again. */
  async #giveUp(promised: Promise<StoreWriter>, error: UploadError): Promise<void> {
    this.#writer = undefined;
    this.written = this.safe.clone();
    for (const transfer of this.transfers) transfer.stop(error);
    await promised.then(
      (writer) => writer.close(),
      () => undefined,
    );
  }
}
