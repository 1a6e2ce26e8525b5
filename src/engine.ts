import { MemoryBudget } from './engine/budget.ts';
import { Completer, type Completion, isHeld, type Process } from './engine/completion.ts';
import {
  type ExpiryOptions,
  hasExpired,
  isDueTombstone,
  isNeglected,
  type SweepCounts,
  sweepFilters,
} from './engine/expiry.ts';
import {
  clip,
  isUnanswered,
  lengthChanged,
  mergeFacts,
  newRecord,
  type UploadFacts,
} from './engine/facts.ts';
import type { Lease } from './engine/lease.ts';
import { LiveUpload } from './engine/live-upload.ts';
import { Transfer, type TransferSource } from './engine/transfer.ts';
import { WriteSession } from './engine/write-session.ts';
import { isUploadError, rethrowFor, UploadError } from './errors.ts';
import { next } from './lifecycle.ts';
import type { ListFilter, Store, StoredUpload, UploadRecord } from './store.ts';

/** Sizes in bytes, times in milliseconds. Defaults: see `ResumableOptions`. */
export interface EngineOptions extends ExpiryOptions {
  readonly batchBytes: number;
  readonly flushMs: number;
  readonly memoryBudget: number;
  readonly checkpointBytes: number;
  readonly checkpointMs: number;
  readonly maxLength: number;
  readonly leaseMs: number;
  readonly reserveBytes: number;
  readonly maxAttempts: number;
  /** Told of failures that no request is there to be told of. */
  readonly onError: (error: unknown, facts: { readonly id: string }) => void;
}

/** What became of uploads that had all bytes and no answer. */
export interface PendingCounts {
  readonly finished: number;
  readonly failed: number;
  /** Tried `maxAttempts` times. */
  readonly exhausted: number;
  readonly held: number;
}

export interface WriteRequest extends UploadFacts {
  /**
   * Whether an upload that does not exist is made, or refused with `not_found`; `certain` where its id is new,
   * so that it cannot exist.
   */
  readonly absent: 'create' | 'certain' | 'refuse';
  readonly start: number;
  /** Exclusive; undefined when the sender does not say. */
  readonly end: number | undefined;
  /** Whether a body that ends cleanly thereby tells the length. */
  readonly endsContent: boolean;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * A request to write that needs no byte: the upload is past that, or the store cannot take this range yet.
 */
export interface NotWritten {
  readonly kind: 'claimed' | 'finished' | 'gap';
  readonly stored: StoredUpload;
}

/**
 * The life of uploads over one store. Knows no HTTP; executes commands, and every rule about bytes and claims
 * is here.
 */
export class Engine {
  readonly store: Store;
  readonly options: EngineOptions;
  readonly #budget: MemoryBudget;
  readonly #completer: Completer;
  readonly #live = new Map<string, LiveUpload>();
  /** Uploads whose last request has gone and whose writer is being closed. */
  #releasing = 0;
  #arrivals = 0;
  #closing = false;
  #onIdle: (() => void)[] = [];

  constructor(store: Store, options: EngineOptions) {
    this.store = store;
    this.options = options;
    this.#budget = new MemoryBudget(options.memoryBudget);
    this.#completer = new Completer(store, (id) => this.require(id), options);
  }

  /** Bytes held between sockets and store, and uploads at work: what a leak would show in. */
  get usage(): { readonly heldBytes: number; readonly liveUploads: number; readonly completions: number } {
    return {
      heldBytes: this.#budget.used,
      liveUploads: this.#live.size,
      completions: this.#completer.running.size,
    };
  }

  /** Undefined when no such upload was ever seen. Rejects with `gone` when it was removed or has expired. */
  async find(id: string): Promise<StoredUpload | undefined> {
    const stored = await this.store.load(id).catch(rethrowFor(id));
    if (stored === undefined) return undefined;
    const inUse = (this.#live.get(id)?.transfers.size ?? 0) > 0;
    if (stored.record.state === 'removed' || (hasExpired(stored, this.options, Date.now()) && !inUse)) {
      throw new UploadError('gone', 'the upload was removed or has expired', { id });
    }
    return { ...stored, received: clip(stored) };
  }

  /** Rejects with `not_found` or `gone`. */
  async require(id: string): Promise<StoredUpload> {
    const stored = await this.find(id);
    if (stored === undefined) throw new UploadError('not_found', 'no upload has this identity', { id });
    return stored;
  }

  /** Makes an upload without bytes. Rejects with `exists`, `too_large`. */
  async create(id: string, facts: UploadFacts, metadata: UploadRecord['metadata'] = {}): Promise<void> {
    this.#assertOpen();
    this.#assertLength(facts.length);
    await this.store.create(newRecord(id, facts, metadata)).catch(rethrowFor(id));
  }

  /**
   * The current state, after everything that live requests have delivered was made safe. Undefined when no
   * such upload was ever seen.
   */
  async query(id: string, facts: UploadFacts = {}): Promise<StoredUpload | undefined> {
    const live = this.#live.get(id);
    if (live !== undefined) {
      // If it fails, those requests are told; what the store has safe is still the right answer here.
      await live.checkpointAll().catch(() => undefined);
    }
    const stored = await this.find(id);
    return stored && this.#state(stored, facts);
  }

  /**
   * Opens a request's body for writing. A live request that would bring the same bytes is ended first, all it
   * delivered kept. Rejects with `not_found`, `gone`, `length_changed`, `range_past_length`,
   * `digest_conflict`, `too_large`, `closing`.
   */
  async write(id: string, request: WriteRequest, source: TransferSource): Promise<WriteSession | NotWritten> {
    this.#assertOpen();
    this.#assertLength(Math.max(request.length ?? 0, request.end ?? request.start));
    const arrival = ++this.#arrivals;
    const live = this.#acquire(id);
    try {
      const attached = await this.#attach(live, request);
      if (attached.kind === 'ready')
        return await this.#open(live, request, { arrival, length: attached.length }, source);
      await this.#release(live);
      return attached;
    } catch (error) {
      await this.#release(live);
      throw error;
    }
  }

  /**
   * Cancels an open upload; its bytes are removed and a tombstone stays. Rejects with `not_found`, `gone`,
   * `complete`.
   */
  async abort(id: string): Promise<void> {
    await this.#remove(id, ({ state }) => state === 'open');
  }

  /** The application's own removal: of finished uploads too. */
  async remove(id: string): Promise<void> {
    await this.#remove(id, () => true);
  }

  /** Removes an upload nobody was ever told of, and so nobody can ask for: no tombstone. */
  async forget(id: string): Promise<void> {
    await this.store.purge(id).catch(rethrowFor(id));
  }

  /** See `Completer.complete`. */
  complete(id: string, process: Process, lease?: Lease): Promise<Completion> {
    return this.#completer.complete(id, process, lease);
  }

  /**
   * Runs the handler for uploads that have all bytes and no answer, because a process died or the handler
   * failed: once each, one after another, up to `maxAttempts` runs in all. `held` are those that another
   * process may still be at work on; a call after `leaseMs` finds out.
   */
  async retryPending(process: Process): Promise<PendingCounts> {
    const counts = { finished: 0, failed: 0, exhausted: 0, held: 0 };
    await this.#forEach([{ states: ['open', 'claimed'] }], async (id) => {
      const stored = await this.find(id);
      if (stored === undefined || !isUnanswered(stored)) return;
      if (isHeld(stored.record)) counts.held++;
      else if (stored.record.attempt >= this.options.maxAttempts) counts.exhausted++;
      else {
        const { kind } = await this.complete(id, process).catch((error: unknown) => {
          this.options.onError(error, { id });
          return { kind: 'failed' as const };
        });
        counts[kind === 'running' ? 'held' : kind]++;
      }
    });
    return counts;
  }

  /**
   * Removes what has expired: open uploads and refused ones without progress for `expiresAfterMs`, finished ones
   * after `keepCompletedMs`, and tombstones after `tombstoneMs`. An upload that is in use, or complete and not
   * answered yet, is never touched.
   */
  async expire(now = Date.now()): Promise<SweepCounts> {
    const counts = { expired: 0, purged: 0, unanswered: 0 };
    await this.#forEach(sweepFilters(this.options, now), async (id) => {
      const what = await this.#sweep(id, now);
      if (what !== undefined) counts[what]++;
    });
    return counts;
  }

  /** From now on new requests are refused; those under way go on. */
  refuse(): void {
    this.#closing = true;
  }

  /** Ends everything now: what has arrived is made safe. Who wants to let requests finish waits after `refuse`. */
  async close(): Promise<void> {
    this.refuse();
    for (const live of this.#live.values()) {
      for (const transfer of live.transfers) transfer.stop(closing());
    }
    await this.#idle();
    await this.store.close();
  }

  async #sweep(id: string, now: number): Promise<keyof SweepCounts | undefined> {
    const stored = await this.store.load(id);
    if (stored === undefined) return undefined;
    if (isDueTombstone(stored, this.options, now)) {
      await this.forget(id);
      return 'purged';
    }
    // A crash may have come between the record and the removal of the bytes.
    const { state, moved } = stored.record;
    if (state === 'removed' || moved === true) await this.store.discard(id);
    if (hasExpired(stored, this.options, now)) return (await this.#tombstone(stored)) ? 'expired' : undefined;
    return isNeglected(stored, this.options, now) ? 'unanswered' : undefined;
  }

  /**
   * Every upload a filter names that no request is at work on. One that fails is reported, and keeps no other
   * from its turn.
   */
  async #forEach(filters: readonly ListFilter[], visit: (id: string) => Promise<void>): Promise<void> {
    for await (const id of this.store.list(filters)) {
      if (this.#closing) return;
      if (this.#live.has(id)) continue;
      await visit(id).catch((error: unknown) => {
        if (!isUploadError(error, 'gone')) this.options.onError(error, { id });
      });
    }
  }

  /** What the store knows comes in; a fact that is new is stated, one that differs refuses the request. */
  async #attach(
    live: LiveUpload,
    request: WriteRequest,
  ): Promise<NotWritten | { readonly kind: 'ready'; readonly length: number | undefined }> {
    let stored = request.absent === 'certain' ? undefined : await this.find(live.id);
    if (stored === undefined) {
      if (request.absent === 'refuse')
        throw new UploadError('not_found', 'no upload has this identity', { id: live.id });
      live.pending = mergeFacts(live.pending ?? newRecord(live.id, {}, request.metadata ?? {}), request);
      return { kind: 'ready', length: live.pending.length };
    }
    stored = await this.#state(stored, request);
    live.merge(stored);
    const { state } = stored.record;
    if (state === 'claimed' || state === 'finished') return { kind: state, stored };
    if (!this.store.supports.sparse && request.start > live.written.runEnd(0)) return { kind: 'gap', stored };
    return { kind: 'ready', length: stored.record.length };
  }

  async #open(
    live: LiveUpload,
    request: WriteRequest,
    { arrival, length }: { readonly arrival: number; readonly length: number | undefined },
    source: TransferSource,
  ): Promise<WriteSession> {
    const last = request.end ?? request.start;
    if (length !== undefined && last > length) {
      const facts = { id: live.id, expected: length, actual: last };
      throw new UploadError('range_past_length', 'the range ends past the length', facts);
    }
    const end = request.end ?? length;
    const transfer = new Transfer({
      upload: live,
      budget: this.#budget,
      source,
      arrival,
      start: request.start,
      end: end ?? this.options.maxLength,
      batchBytes: this.options.batchBytes,
      flushMs: this.options.flushMs,
      writesInFlight: this.store.supports.writesInFlight,
    });
    // Of two requests for the same bytes the newer wins, whichever of them got here first: no lock, no queue.
    const rivals = [...live.transfers].filter((other) => other.overlaps(transfer.start, transfer.limit));
    if (rivals.some((other) => other.arrival > arrival)) throw superseded(live.id);
    live.transfers.add(transfer);
    if (this.#closing) transfer.stop(closing());
    for (const other of rivals) other.stop(superseded(live.id));
    await Promise.all(rivals.map((other) => other.end()));
    const { endsContent } = request;
    const { maxLength } = this.options;
    return new WriteSession(
      live,
      transfer,
      { endsContent, maxLength },
      {
        state: async (facts) => (await this.#state(await this.require(live.id), facts)).record,
        load: () => this.find(live.id),
        claim: (record) => this.#completer.claimNew(record),
        release: () => this.#release(live),
        forget: () => this.forget(live.id),
      },
    );
  }

  /** Compare-and-set until the facts are stated, or found to be other than stated before. */
  async #state(stored: StoredUpload, facts: UploadFacts): Promise<StoredUpload> {
    for (let current = stored; ; current = await this.require(stored.record.id)) {
      const record = mergeFacts(current.record, facts);
      this.#assertLength(record.length);
      if (record === current.record || record.state !== 'open') return current;
      const end = Math.max(current.received.at(-1)?.end ?? 0, this.#live.get(record.id)?.end ?? 0);
      if (record.length !== undefined && record.length < end) {
        throw lengthChanged(record.id, end, record.length);
      }
      const stated = { ...record, state: next(record.state, 'state', record.id) };
      if (await this.store.update(current.version, stated).catch(rethrowFor(record.id))) {
        const live = stated.length === undefined ? undefined : this.#live.get(record.id);
        for (const transfer of live?.transfers ?? []) transfer.bound(stated.length as number);
        return { ...current, record: stated, version: current.version + 1 };
      }
    }
  }

  async #reconcile(record: UploadRecord): Promise<void> {
    await this.#state(await this.require(record.id), record);
  }

  async #remove(id: string, allowed: (record: UploadRecord) => boolean): Promise<void> {
    for (;;) {
      const stored = await this.require(id);
      if (!allowed(stored.record)) throw new UploadError('complete', 'the upload is complete', { id });
      if (await this.#tombstone(stored)) return;
    }
  }

  /**
   * The claim comes first: once the record says so, no writer acknowledges another byte, whenever the bytes
   * go.
   */
  async #tombstone({ record, version }: StoredUpload): Promise<boolean> {
    const tombstone: UploadRecord = {
      id: record.id,
      createdAt: record.createdAt,
      state: next(record.state, 'remove', record.id),
      metadata: {},
      attempt: record.attempt,
      removedAt: Date.now(),
    };
    if (!(await this.store.update(version, tombstone).catch(rethrowFor(record.id)))) return false;
    const reason = new UploadError('gone', 'the upload was removed', { id: record.id });
    for (const transfer of this.#live.get(record.id)?.transfers ?? []) transfer.stop(reason);
    await this.store.discard(record.id).catch(rethrowFor(record.id));
    return true;
  }

  #acquire(id: string): LiveUpload {
    const live =
      this.#live.get(id) ?? new LiveUpload(this.store, id, this.options, (record) => this.#reconcile(record));
    this.#live.set(id, live);
    live.users++;
    return live;
  }

  async #release(live: LiveUpload): Promise<void> {
    if (--live.users > 0) return;
    if (this.#live.get(live.id) === live) this.#live.delete(live.id);
    this.#releasing++;
    try {
      await live.close().catch(rethrowFor(live.id));
    } finally {
      this.#releasing--;
      this.#wakeIdle();
    }
  }

  #wakeIdle(): void {
    if (this.#live.size > 0 || this.#releasing > 0) return;
    for (const wake of this.#onIdle.splice(0)) wake();
  }

  #idle(): Promise<void> {
    if (this.#live.size === 0 && this.#releasing === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #assertOpen(): void {
    if (this.#closing) throw closing();
  }

  #assertLength(length: number | undefined): void {
    const most = Math.min(this.options.maxLength, this.store.supports.maxLength);
    if (length === undefined || length <= most) return;
    throw new UploadError('too_large', 'the upload is too long', { expected: most, actual: length });
  }
}

const superseded = (id: string): UploadError =>
  new UploadError('superseded', 'a newer request brings the same bytes', { id });

const closing = (): UploadError => new UploadError('closing', 'the server is stopping');
