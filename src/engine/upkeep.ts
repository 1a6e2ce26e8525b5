import { isUploadError } from '../errors.ts';
import type { ListFilter, Store, StoredUpload } from '../store.ts';
import { type Completion, isHeld, type Process } from './completion.ts';
import {
  type ExpiryOptions,
  hasExpired,
  isDueTombstone,
  isNeglected,
  type SweepCounts,
  sweepFilters,
} from './expiry.ts';
import { isUnanswered } from './facts.ts';

export interface UpkeepOptions extends ExpiryOptions {
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

/** What upkeep needs of the engine. */
export interface UpkeepEngine {
  isClosing(): boolean;
  isAtWork(id: string): boolean;
  find(id: string): Promise<StoredUpload | undefined>;
  complete(id: string, process: Process, stored: StoredUpload): Promise<Completion>;
  tombstone(stored: StoredUpload): Promise<boolean>;
  purge(id: string): Promise<void>;
}

/** What is done for uploads that no request asks for: answers that are due, and removal of what has expired. */
export class Upkeep {
  readonly #store: Store;
  readonly #options: UpkeepOptions;
  readonly #engine: UpkeepEngine;

  constructor(store: Store, options: UpkeepOptions, engine: UpkeepEngine) {
    this.#store = store;
    this.#options = options;
    this.#engine = engine;
  }

  /**
   * Runs the handler for uploads that have all bytes and no answer, because a process died or the handler
   * failed: once each, one after another, up to `maxAttempts` runs in all. `held` are those that another
   * process may still be at work on; a call after `leaseMs` finds out.
   */
  async retryPending(process: Process): Promise<PendingCounts> {
    const counts = { finished: 0, failed: 0, exhausted: 0, held: 0 };
    await this.#forEach([{ states: ['open', 'claimed'] }], async (id) => {
      const stored = await this.#engine.find(id);
      if (stored === undefined || !isUnanswered(stored)) return;
      if (isHeld(stored.record)) counts.held++;
      else if (stored.record.attempt >= this.#options.maxAttempts) counts.exhausted++;
      else {
        const { kind } = await this.#engine.complete(id, process, stored).catch((error: unknown) => {
          this.#options.onError(error, { id });
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
  async expire(now: number): Promise<SweepCounts> {
    const counts = { expired: 0, purged: 0, unanswered: 0 };
    await this.#forEach(sweepFilters(this.#options, now), async (id) => {
      const what = await this.#sweep(id, now);
      if (what !== undefined) counts[what]++;
    });
    return counts;
  }

  async #sweep(id: string, now: number): Promise<keyof SweepCounts | undefined> {
    const stored = await this.#store.load(id);
    if (stored === undefined) return undefined;
    if (isDueTombstone(stored, this.#options, now)) {
      await this.#engine.purge(id);
      return 'purged';
    }
    // A crash may have come between the record and the removal of the bytes.
    const { state, moved } = stored.record;
    if (state === 'removed' || moved === true) await this.#store.discard(id);
    if (hasExpired(stored, this.#options, now))
      return (await this.#engine.tombstone(stored)) ? 'expired' : undefined;
    return isNeglected(stored, this.#options, now) ? 'unanswered' : undefined;
  }

  /**
   * Every upload a filter names that no request is at work on. One that fails is reported, and keeps no other
   * from its turn.
   */
  async #forEach(filters: readonly ListFilter[], visit: (id: string) => Promise<void>): Promise<void> {
    for await (const id of this.#store.list(filters)) {
      if (this.#engine.isClosing()) return;
      if (this.#engine.isAtWork(id)) continue;
      await visit(id).catch((error: unknown) => {
        if (!isUploadError(error, 'gone')) this.#options.onError(error, { id });
      });
    }
  }
}
