import { rethrowFor, UploadError, unlessGone } from '../errors.ts';
import { next } from '../lifecycle.ts';
import { isDead, self } from '../owner.ts';
import type { Store, StoredUpload, UploadRecord } from '../store.ts';
import { isWhole } from './facts.ts';
import { Lease } from './lease.ts';

/** What the handler made of an upload. */
export type Verdict =
  /**
   * The one response: opaque here. `discard` when the content was handed over and our name for it can go;
   * `refused` when the content is of no use to the application, so that it may expire.
   */
  | {
      readonly kind: 'finished';
      readonly response: string;
      readonly discard: boolean;
      readonly refused?: boolean;
    }
  /** No answer: the bytes are kept, and the handler may run again. */
  | { readonly kind: 'failed' };

export type Completion =
  | { readonly kind: 'finished'; readonly record: UploadRecord }
  | { readonly kind: 'failed' }
  /** Another process runs the handler. */
  | { readonly kind: 'running' };

/** What whoever asks for a completion has of the upload already. */
export type Known = Lease | StoredUpload;

/** Runs the application's handler on a complete upload. A rejection counts as `failed` and is passed on. */
export type Process = (record: UploadRecord) => Promise<Verdict>;

export interface CompleterOptions {
  readonly leaseMs: number;
  /** Bytes kept free for the response before the handler starts. */
  readonly reserveBytes: number;
  readonly onError: (error: unknown, facts: { readonly id: string }) => void;
  readonly onFinished?: ((record: UploadRecord) => Promise<void>) | undefined;
}

/**
 * The claim on an upload that is made with all its bytes: made with it, in one step. Exactly one of `hold` and
 * `drop` ends it.
 */
export interface NewClaim {
  /** The record to make. */
  readonly record: UploadRecord;
  readonly reserve: number;
  /** The upload was made: the lease is to be given to `complete`, at once. */
  hold(): Lease;
  /** It was not. */
  drop(): void;
}

let completers = 0;

/** Completion happens once: under a claim, with one response, for however many requests that ask. */
export class Completer {
  readonly #store: Store;
  readonly #load: (id: string) => Promise<StoredUpload>;
  readonly #options: CompleterOptions;
  readonly #owner = `${self}-${++completers}`;
  readonly #running = new Map<string, Promise<Completion>>();
  /** Uploads that are being made with a claim which `complete` has not taken over yet. */
  readonly #made = new Set<string>();

  constructor(store: Store, load: (id: string) => Promise<StoredUpload>, options: CompleterOptions) {
    this.#store = store;
    this.#load = load;
    this.#options = options;
  }

  get running(): ReadonlyMap<string, Promise<Completion>> {
    return this.#running;
  }

  claimNew(record: UploadRecord): NewClaim {
    const { id } = record;
    const claimed = this.#claimed(record);
    this.#made.add(id);
    return {
      record: claimed,
      reserve: this.#options.reserveBytes,
      hold: () => this.#lease(claimed, 1),
      // Made after all, by a call that failed? Then the claim is left over, as any other.
      drop: () => void this.#made.delete(id),
    };
  }

  /**
   * Ends the upload, or joins whoever is ending it in this process; `process` is then not called. With a lease for
   * `known`, the claim is had already; with the upload as it was a moment ago, one look is spared. Rejects with what
   * `process` rejected with (after the claim was given back), with `gone`, or with a store's error.
   */
  complete(id: string, process: Process, known?: Known): Promise<Completion> {
    const lease = known instanceof Lease ? known : undefined;
    const running = lease === undefined ? this.#running.get(id) : undefined;
    if (running !== undefined) return running;
    return this.#track(this.#run(id, process, known), id, lease);
  }

  /**
   * The claim on an upload whose handler is to start before all bytes are there: on its first attempt only, so
   * that later ones find the content whole. Undefined where somebody has, or had, the claim. The lease is to be
   * given to `stream` at once.
   */
  async begin(id: string): Promise<Lease | undefined> {
    if (this.#made.has(id)) return undefined;
    this.#made.add(id);
    let lease: Lease | undefined;
    try {
      while (lease === undefined) {
        const { record, version } = await this.#load(id);
        if (record.state !== 'open' || record.attempt > 0) return undefined;
        const claimed = this.#claimed(record, 'begin');
        const reserve = this.#options.reserveBytes;
        const isOurs = await this.#store.update(version, claimed, { reserve }).catch(rethrowFor(id));
        if (isOurs) lease = this.#lease(claimed, version + 1);
      }
      return lease;
    } finally {
      if (lease === undefined) this.#made.delete(id);
    }
  }

  /** Whether the claim on it is this process's. */
  owns({ claim }: UploadRecord): boolean {
    return claim?.owner === this.#owner;
  }

  /** Runs `process` while bytes are still coming. One that answers before they all have ends the upload. */
  stream(id: string, process: Process, lease: Lease): Promise<Completion> {
    return this.#track(this.#stream(id, process, lease), id, lease);
  }

  #track(completing: Promise<Completion>, id: string, lease: Lease | undefined): Promise<Completion> {
    const completion = completing.finally(() => {
      if (this.#running.get(id) === completion) this.#running.delete(id);
    });
    this.#running.set(id, completion);
    if (lease !== undefined) this.#made.delete(id);
    return completion;
  }

  async #stream(id: string, process: Process, lease: Lease): Promise<Completion> {
    const verdict = await this.#judge(lease, process);
    if (verdict.kind === 'failed') {
      await lease.end('release').catch(rethrowFor(id));
      return verdict;
    }
    // Nobody needs the rest, and so nobody the part.
    const isPart = !(await this.#load(id).then(isWhole, unlessGone));
    const record = await this.#finish(lease, isPart ? { ...verdict, discard: true } : verdict);
    return record === undefined ? { kind: 'running' } : { kind: 'finished', record };
  }

  async #run(id: string, process: Process, first: Known | undefined): Promise<Completion> {
    for (let known = first; ; known = undefined) {
      const lease = known instanceof Lease ? known : await this.#claim(id, known);
      if (!(lease instanceof Lease)) return lease;
      // What was made whole with its claim needs no preparation.
      if (lease !== known) await this.#prepare(lease);
      if (!(await lease.isHeld().catch(rethrowFor(id)))) continue;
      const verdict = await this.#judge(lease, process);
      if (verdict.kind === 'failed') {
        await lease.end('release').catch(rethrowFor(id));
        return verdict;
      }
      const record = await this.#finish(lease, verdict);
      // A lost lease means that another attempt is under way or has ended: what it stores is the answer.
      if (record !== undefined) return { kind: 'finished', record };
    }
  }

  async #prepare(lease: Lease): Promise<void> {
    const { id } = lease.record;
    try {
      await this.#store.prepare?.(id);
    } catch (error) {
      await lease.end('release').catch(rethrowFor(id));
      rethrowFor(id)(error);
    }
  }

  /** Undefined when the lease was lost. */
  async #finish(lease: Lease, verdict: Verdict & { kind: 'finished' }): Promise<UploadRecord | undefined> {
    const { response, discard, refused } = verdict;
    const { id } = lease.record;
    const facts = {
      response,
      ...(discard ? { moved: true } : {}),
      ...(refused === true ? { refused } : {}),
    };
    const record = await lease.end('finish', facts).catch(rethrowFor(id));
    // The answer is stored whatever becomes of this; `Engine.expire` discards again.
    if (record !== undefined && discard) {
      await this.#store.discard(id).catch((error: unknown) => this.#options.onError(error, { id }));
    }
    if (record !== undefined) {
      await this.#options
        .onFinished?.(record)
        .catch((error: unknown) => this.#options.onError(error, { id }));
    }
    return record;
  }

  async #judge(lease: Lease, process: Process): Promise<Verdict> {
    try {
      return await process(lease.record);
    } catch (error) {
      await lease.end('release').catch(rethrowFor(lease.record.id));
      throw error;
    }
  }

  /**
   * Compare-and-set until somebody holds the claim; one that lapsed, or whose owner is dead, is taken over.
   */
  async #claim(id: string, seen: StoredUpload | undefined): Promise<Lease | Completion> {
    for (let known = seen; ; known = undefined) {
      const stored = known ?? (await this.#load(id));
      const { record, version } = stored;
      if (record.state === 'finished') return { kind: 'finished', record };
      // A claim of our own that nothing here is at work on is left over from a store that failed after it
      // stored.
      const isLeftOver = this.owns(record) && !this.#made.has(id);
      if (!isLeftOver && isHeld(record)) return { kind: 'running' };
      if (!isWhole(stored)) throw new UploadError('invalid_argument', 'bytes are missing', { id });
      const claimed = this.#claimed(record);
      const reserve = this.#options.reserveBytes;
      if (await this.#store.update(version, claimed, { reserve }).catch(rethrowFor(id))) {
        return this.#lease(claimed, version + 1);
      }
    }
  }

  #claimed(record: UploadRecord, transition: 'claim' | 'begin' = 'claim'): UploadRecord {
    return {
      ...record,
      state: next(record.state, transition, record.id),
      attempt: record.attempt + 1,
      claim: { owner: this.#owner, expiresAt: Date.now() + this.#options.leaseMs },
    };
  }

  #lease(claimed: UploadRecord, version: number): Lease {
    return new Lease(this.#store, claimed, version, this.#options.leaseMs, this.#options.reserveBytes);
  }
}

/** Whether whoever claimed the upload must still be believed to be at work on it. */
export const isHeld = ({ claim }: UploadRecord): boolean =>
  claim !== undefined && claim.expiresAt > Date.now() && !isDead(claim.owner);
