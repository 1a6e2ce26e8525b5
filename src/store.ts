import type { Readable } from 'node:stream';
import type { Range } from './intervals.ts';
import type { UploadState } from './lifecycle.ts';

/**
 * What is remembered of an upload besides its bytes: a small value, replaced as a whole and only by
 * compare-and-set (`Store.update`). Everything that must be decided once - a length, a digest, who completes,
 * what was answered, that it is gone - is a field of it, so one primitive decides them all.
 */
export interface UploadRecord {
  /**
   * At least 128 bits in `[A-Za-z0-9_-]{16,64}`; never derived from a path and never used as one unhashed.
   */
  readonly id: string;
  /** Milliseconds since the epoch, as all times here. */
  readonly createdAt: number;
  readonly state: UploadState;
  /** The length of the whole content in bytes, once somebody has stated it. Never changes after that. */
  readonly length?: number;
  /** The digest of the whole content as its sender stated it: opaque here, and never changed. */
  readonly digest?: string;
  /** The application's own facts. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Of this upload alone: how long it may be open without progress. */
  readonly expiresAfterMs?: number;
  /** Of this upload alone: the longest content that is accepted, in bytes. */
  readonly maxLength?: number;
  /** The request as the application will see it: opaque to engine and store, stated once. */
  readonly context?: string;
  /** How often the handler was entered for this upload. */
  readonly attempt: number;
  /**
   * Who runs the handler, and until when that is believed without news. Present while `state` is `claimed`, and
   * while it is `open` if the handler began before all bytes were there.
   */
  readonly claim?: Claim;
  /** Present once `state` is `finished`: opaque to engine and store. */
  readonly response?: string;
  /** Whether that response refused the content: nobody needs its bytes any more, so they may expire. */
  readonly refused?: boolean;
  /** Whether the content was handed over to the application (`moveTo`), so that reading it here ends. */
  readonly moved?: boolean;
  /** Present once `state` is `removed`: the date of the tombstone. */
  readonly removedAt?: number;
}

export interface Claim {
  /** A process, as `src/owner.ts` writes it. */
  readonly owner: string;
  /** The lease: past it, another process may take the claim over. Renewed while the handler runs. */
  readonly expiresAt: number;
}

/** An upload as a store returns it. */
export interface StoredUpload {
  readonly record: UploadRecord;
  /** Names this state of the record, for `update`: 1 at first, and one more with each. */
  readonly version: number;
  /**
   * Every byte that is safe under the store's durability: the union over all writers of all processes.
   * Sorted, disjoint. Of a finished upload the whole, whatever has become of its content since.
   */
  readonly received: readonly Range[];
  /** When a byte or the record last changed. */
  readonly activeAt: number;
}

/**
 * What a store can do, as data: the engine adapts to it, the conformance tests skip by it and the README's
 * table is made from it.
 */
export interface StoreCapabilities {
  /**
   * Whether ranges may arrive in any order, with gaps. Otherwise only bytes at the end of what is stored are
   * taken.
   */
  readonly sparse: boolean;
  /** Whether `read` works while the upload is still open. */
  readonly readOpen: boolean;
  /** Whether another process may open the same data at the same time. */
  readonly multiProcess: boolean;
  /** Whether uploads outlive the process. */
  readonly persistent: boolean;
  /** Whether the content can become a file of the application's without its bytes being copied. */
  readonly link: boolean;
  /** The longest content in bytes. */
  readonly maxLength: number;
  /** How many writes of one connection are worth having under way at once: more only cost memory. */
  readonly writesInFlight: number;
  /**
   * How many bytes are worth writing at once where that is less than the engine would gather: a store that gathers them
   * itself wants them soon. A content that may come whole with its record is still given to `create`.
   */
  readonly batchBytes?: number;
}

/** Room for a later record. */
export interface Reservation {
  /**
   * Asks for room for a later record up to that many bytes longer, so that storing a response cannot fail for
   * want of space after the handler ran: the call rejects with ENOSPC now, or not then. The next update
   * without `reserve` uses the room up, and so does one that is lost.
   */
  readonly reserve?: number;
}

/** What a walk over the uploads is for. Each field narrows it. */
export interface ListFilter {
  /** Only uploads in one of these states. */
  readonly states?: readonly UploadState[];
  /** Only uploads whose `activeAt` is at or before this. */
  readonly idleSince?: number;
  /** Only uploads whose record says so. */
  readonly refused?: true;
  /** Only open uploads whose record has an `expiresAfterMs`. */
  readonly ownExpiry?: true;
  /** Only uploads that are removed or moved and still have content: a crash came before `discard`. */
  readonly undiscarded?: true;
}

/**
 * How safe "stored" is.
 *
 * - `power`: content, then index, then directory entries are synced before anything is acknowledged; survives
 *   a power cut.
 * - `process`: handed to the operating system; survives `kill -9`.
 */
export type Durability = 'power' | 'process';

/**
 * Keeps bytes at offsets and a record of each upload. The engine validates every argument once, so a store is
 * given safe integers, half-open ranges inside the length, and ids of the documented form.
 *
 * Any method may reject with the system's own error; the engine wraps it (`store_failed`, or `no_space` for
 * ENOSPC and its kin). Where a method says it rejects with a code, that is an `UploadError` with this code.
 *
 * Several processes may hold the same data (`supports.multiProcess`). They never exclude each other: bytes
 * commute, because one offset of one upload always carries the same byte, and records change by
 * compare-and-set.
 */
export interface Store {
  readonly name: string;
  readonly supports: StoreCapabilities;

  /**
   * Makes an upload, in the state the record gives; its version is 1. With `content`, all of its bytes at once,
   * from offset 0, as many as `record.length` says: a small upload that arrived whole then costs as few files
   * and syncs as the store can manage, or none of its own where the store keeps a log that many share. All or
   * nothing, and safe when it resolves. Rejects with `exists` when the id is taken, by a tombstone too.
   *
   * The buffers are the store's until it has settled. `reserve` is that of `update`.
   */
  create(record: UploadRecord, content?: readonly Uint8Array[], options?: Reservation): Promise<void>;

  /**
   * The current record and received ranges. Undefined for an id it has never seen or has purged. Rejects with
   * `gone` when there was such an upload but its record or bytes can no longer be read.
   */
  load(id: string): Promise<StoredUpload | undefined>;

  /**
   * Compare-and-set: replaces the record if its version is still `version`, and says whether it did; safe
   * when it resolves with true. False, too, when the upload no longer exists. Of several concurrent calls
   * with one version, in any number of processes, exactly one wins.
   */
  update(version: number, record: UploadRecord, options?: Reservation): Promise<boolean>;

  /**
   * Opens an existing upload for writing. Rejects with `gone` when it has no content (any more). `seen` is a record that
   * `create` was given or `load` resolved with, that very object: a store to which a look is dear may remember what
   * else it saw then.
   */
  writer(id: string, seen?: UploadRecord): Promise<StoreWriter>;

  /**
   * What a store has to do to a claimed upload before its content can be read at once, where that may take longer than a
   * lease: called under the claim, which is renewed meanwhile, before the handler runs; not for what `create` was given
   * whole. Harmless when repeated, in several processes too, and `read` does not depend on it.
   */
  prepare?(id: string): Promise<void>;

  /**
   * The bytes `[start, end)`, all of them stored. The stream errors with `gone` when they are not there.
   * Only for completed uploads unless `supports.readOpen`.
   */
  read(id: string, start: number, end: number): Readable;

  /** Removes content and index, keeps the record. Harmless when repeated. */
  discard(id: string): Promise<void>;

  /** Removes everything, the record last or all at once. Harmless when repeated. */
  purge(id: string): Promise<void>;

  /**
   * The id of every upload that any of the filters names, and without filters of every one: streamed, in no
   * order. An upload that comes or goes meanwhile may be in it or not, one that changes may be in it twice. A
   * store without an index of what is asked may give others too.
   */
  list(filters?: readonly ListFilter[]): AsyncIterable<string>;

  /**
   * Where `supports.link`: makes the complete content, `length` bytes and no more, appear at `path` under a
   * second name, synced with its directory under `power`. The store's own name stays until `discard`. Rejects
   * with `target_exists` when there is another file; a target that already is this content is success.
   */
  link?(id: string, path: string, length: number): Promise<void>;

  /** Releases everything this instance holds. Its writers are closed before. */
  close(): Promise<void>;
}

/**
 * One process writing one upload. Writes may be in flight together and in any order; the caller keeps their
 * ranges disjoint, or the bytes equal.
 */
export interface StoreWriter {
  /**
   * Takes the buffers' bytes at `offset`. Resolves when the store no longer needs the buffers: that is the
   * back-pressure, not yet the promise that the bytes are safe. After a rejection the bytes count as not
   * written.
   */
  write(buffers: readonly Uint8Array[], offset: number): Promise<void>;

  /**
   * Makes every write that had resolved before this call safe, and resolves with the ranges that became so
   * since the last call (empty when there were none). After a rejection nothing counts as stored that may not
   * be safe, and the writer can only be closed: on Linux a second fsync of pages that failed once proves
   * nothing.
   *
   * With `all` false (true by default) a store may leave for later what it would have to write twice, once by itself
   * and once with what comes behind it.
   */
  sync(all?: boolean): Promise<readonly Range[]>;

  /** Closes without syncing. Harmless when repeated. */
  close(): Promise<void>;
}
