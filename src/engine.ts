import { setTimeout as timeout } from 'node:timers/promises';
import { MemoryBudget } from './engine/budget.ts';
import { Completer, type Completion, type Known, type Process } from './engine/completion.ts';
import { hasExpired, type SweepCounts } from './engine/expiry.ts';
import { clip, lengthChanged, mergeFacts, newRecord, type Terms, type UploadFacts } from './engine/facts.ts';
import { Follower } from './engine/follower.ts';
import { LiveUpload } from './engine/live-upload.ts';
import { type Streaming, stream } from './engine/streaming.ts';
import { batchSizes, Transfer, type TransferSource } from './engine/transfer.ts';
import { type PendingCounts, Upkeep, type UpkeepOptions } from './engine/upkeep.ts';
import { WriteSession } from './engine/write-session.ts';
import { rethrowFor, UploadError } from './errors.ts';
import { next } from './lifecycle.ts';
import type { Store, StoredUpload, UploadRecord } from './store.ts';

/** Sizes in bytes, times in milliseconds. Defaults: see `ResumableOptions`. */
export interface EngineOptions extends UpkeepOptions {
  /** Awaited when an answer has been stored, before anybody gets it; what it throws is reported. */
  readonly onFinished?: ((record: UploadRecord) => Promise<void>) | undefined;
  /** Awaited when an upload is no more; what it throws is reported. */
  readonly onRemoved?: ((stored: Removed, reason: RemovalReason) => Promise<void>) | undefined;
  readonly batchBytes: number;
  readonly flushMs: number;
  readonly memoryBudget: number;
  readonly checkpointBytes: number;
  readonly checkpointMs: number;
  readonly aheadBytes: number;
  readonly resumeTimeoutMs: number;
  readonly maxLength: number;
  readonly leaseMs: number;
  readonly reserveBytes: number;
}

/** An upload as it was, and why it is no more. */
export type Removed = Pick<StoredUpload, 'record' | 'received'>;
export type RemovalReason =
  /** Its client has cancelled it. */
  | 'aborted'
  /** Nobody has gone on with it in time. */
  | 'expired'
  /** Its client was never told how to come back, and its connection broke or its handler failed. */
  | 'dropped'
  /** The application has called `remove`. */
  | 'removed';

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
  /** Of an upload that this request makes. */
  readonly terms?: Terms;
}

/** How long a handler may take to fail when the server stops. */
const partingMs = 1000;

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
  readonly #upkeep: Upkeep;
  readonly #live = new Map<string, LiveUpload>();
  readonly #streams = new Set<Promise<unknown>>();
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
    this.#upkeep = new Upkeep(store, options, {
      isClosing: () => this.#closing,
      isAtWork: (id) => this.#live.has(id),
      find: (id) => this.find(id),
      complete: (id, process, stored) => this.complete(id, process, stored),
      tombstone: (stored) => this.#tombstone(stored, 'expired'),
      purge: (id) => this.store.purge(id),
    });
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
  async create(id: string, facts: UploadFacts, terms: Terms = { metadata: {} }): Promise<void> {
    this.#assertOpen();
    this.#assertLength(facts.length, terms);
    await this.store.create(newRecord(id, facts, terms)).catch(rethrowFor(id));
  }

  /**
   * The current state, after everything that live requests have delivered was made safe. Undefined when no
   * such upload was ever seen.
   */
  async query(id: string, facts: UploadFacts = {}): Promise<StoredUpload | undefined> {
    const live = this.#live.get(id);
    if (live !== undefined) {
      await live.quiet();
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
        return await this.#open(live, request, { arrival, record: attached.record }, source);
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
    await this.#remove(id, 'aborted', ({ state }) => state === 'open');
  }

  /** The application's own removal: of finished uploads too. */
  async remove(id: string): Promise<void> {
    await this.#remove(id, 'removed', () => true);
  }

  /**
   * Removes an upload nobody was ever told of, and so nobody can ask for: no tombstone. `record` where it is not
   * in the store yet.
   */
  async forget(id: string, record?: UploadRecord): Promise<void> {
    this.#live.get(id)?.reader?.destroy(new UploadError('interrupted', 'nobody can send the rest', { id }));
    const { onRemoved } = this.options;
    const stored = onRemoved && (record ? { record, received: [] } : await this.store.load(id));
    await this.store.purge(id).catch(rethrowFor(id));
    if (stored !== undefined) await this.#told(id, onRemoved?.(stored, 'dropped'));
  }

  /** See `Completer.complete`. */
  complete(id: string, process: Process, known?: Known): Promise<Completion> {
    return this.#completer.complete(id, process, known);
  }

  /**
   * Starts the handler on an upload that exists, while its bytes are still coming: `process` is given them in
   * order. A request under way when it ends without having had them all is stopped, with `complete` where there
   * is an answer and `handler_failed` where not. Undefined where the handler has been entered before: then it runs
   * when all bytes are there (`complete`).
   */
  async begin(
    id: string,
    process: (record: UploadRecord, content: Follower) => ReturnType<Process>,
  ): Promise<Streaming | undefined> {
    const lease = await this.#completer.begin(id);
    if (lease === undefined) return undefined;
    const live = this.#acquire(id);
    const streaming = stream({
      live,
      lease,
      content: new Follower(live, this.store, lease.record.length, {
        resumeTimeoutMs: this.options.resumeTimeoutMs,
        load: () => this.find(id),
        release: () => this.#release(live),
      }),
      run: (content) => this.#completer.stream(id, (record) => process(record, content), lease),
      stop: (reason) => this.#stop(id, reason),
    });
    const settled = streaming.completion
      .catch(() => undefined) // its caller is told
      .finally(() => this.#streams.delete(settled));
    this.#streams.add(settled);
    return streaming;
  }

  /** See `Upkeep.retryPending`. */
  retryPending(process: Process): Promise<PendingCounts> {
    return this.#upkeep.retryPending(process);
  }

  /** See `Upkeep.expire`. */
  expire(now = Date.now()): Promise<SweepCounts> {
    return this.#upkeep.expire(now);
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
      live.reader?.destroy(closing());
    }
    await this.#idle();
    // Handlers whose body has just ended with an error may give their claims back.
    await Promise.race([Promise.allSettled(this.#streams), timeout(partingMs, undefined, { ref: false })]);
    await this.store.close();
  }

  /** What the store knows comes in; a fact that is new is stated, one that differs refuses the request. */
  async #attach(
    live: LiveUpload,
    request: WriteRequest,
  ): Promise<NotWritten | { readonly kind: 'ready'; readonly record: UploadRecord }> {
    let stored = request.absent === 'certain' ? undefined : await this.find(live.id);
    if (stored === undefined) {
      if (request.absent === 'refuse')
        throw new UploadError('not_found', 'no upload has this identity', { id: live.id });
      const { terms = { metadata: {} } } = request;
      live.pending = mergeFacts(live.pending ?? newRecord(live.id, {}, terms), request);
      this.#assertLength(live.pending.length, live.pending);
      return { kind: 'ready', record: live.pending };
    }
    stored = await this.#state(stored, request);
    live.merge(stored);
    const { state } = stored.record;
    if (state === 'claimed' || state === 'finished') return { kind: state, stored };
    if (!this.store.supports.sparse && request.start > live.written.runEnd(0)) return { kind: 'gap', stored };
    return { kind: 'ready', record: stored.record };
  }

  async #open(
    live: LiveUpload,
    request: WriteRequest,
    { arrival, record }: { readonly arrival: number; readonly record: UploadRecord },
    source: TransferSource,
  ): Promise<WriteSession> {
    const { length } = record;
    const last = request.end ?? request.start;
    const maxLength = Math.min(this.options.maxLength, record.maxLength ?? this.options.maxLength);
    this.#assertLength(last, record);
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
      end: end ?? maxLength,
      ...batchSizes(this.options.batchBytes, this.store.supports, { start: request.start, end }),
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
    return new WriteSession(
      live,
      transfer,
      { endsContent, maxLength },
      {
        state: async (facts) => (await this.#state(await this.require(live.id), facts)).record,
        load: () => this.find(live.id),
        claim: (record) => this.#completer.claimNew(record),
        release: () => this.#release(live),
        forget: (record) => this.forget(live.id, record),
      },
    );
  }

  /** Compare-and-set until the facts are stated, or found to be other than stated before. */
  async #state(stored: StoredUpload, facts: UploadFacts): Promise<StoredUpload> {
    for (let current = stored; ; current = await this.require(stored.record.id)) {
      const record = mergeFacts(current.record, facts);
      this.#assertLength(record.length, record);
      if (record === current.record || record.state !== 'open') return current;
      const end = Math.max(current.received.at(-1)?.end ?? 0, this.#live.get(record.id)?.end ?? 0);
      if (record.length !== undefined && record.length < end) {
        throw lengthChanged(record.id, end, record.length);
      }
      const stated = { ...record, state: next(record.state, 'state', record.id) };
      // The room that is kept for the answer of a handler that runs here already stays kept.
      const room = this.#completer.owns(record) ? { reserve: this.options.reserveBytes } : {};
      if (await this.store.update(current.version, stated, room).catch(rethrowFor(record.id))) {
        const live = stated.length === undefined ? undefined : this.#live.get(record.id);
        for (const transfer of live?.transfers ?? []) transfer.bound(stated.length as number);
        live?.reader?.bound(stated.length as number);
        return { ...current, record: stated, version: current.version + 1 };
      }
    }
  }

  async #reconcile(record: UploadRecord): Promise<void> {
    await this.#state(await this.require(record.id), record);
  }

  async #remove(
    id: string,
    reason: RemovalReason,
    allowed: (record: UploadRecord) => boolean,
  ): Promise<void> {
    for (;;) {
      const stored = await this.require(id);
      if (!allowed(stored.record)) throw new UploadError('complete', 'the upload is complete', { id });
      if (await this.#tombstone(stored, reason)) return;
    }
  }

  /**
   * The claim comes first: once the record says so, no writer acknowledges another byte, whenever the bytes
   * go.
   */
  async #tombstone(stored: StoredUpload, why: RemovalReason): Promise<boolean> {
    const { record, version } = stored;
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
    this.#live.get(record.id)?.reader?.destroy(reason);
    this.#stop(record.id, reason);
    await this.store.discard(record.id).catch(rethrowFor(record.id));
    await this.#told(record.id, this.options.onRemoved?.(stored, why));
    return true;
  }

  /** Nothing that is told of something can change it. */
  async #told(id: string, telling: Promise<void> | undefined): Promise<void> {
    await telling?.catch((error: unknown) => this.options.onError(error, { id }));
  }

  #stop(id: string, reason: UploadError): void {
    for (const transfer of this.#live.get(id)?.transfers ?? []) transfer.stop(reason);
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

  #assertLength(length: number | undefined, own: Pick<UploadRecord, 'maxLength'> = {}): void {
    const { maxLength } = this.options;
    const most = Math.min(maxLength, this.store.supports.maxLength, own.maxLength ?? maxLength);
    if (length === undefined || length <= most) return;
    throw new UploadError('too_large', 'the upload is too long', { expected: most, actual: length });
  }
}

const superseded = (id: string): UploadError =>
  new UploadError('superseded', 'a newer request brings the same bytes', { id });

const closing = (): UploadError => new UploadError('closing', 'the server is stopping');
