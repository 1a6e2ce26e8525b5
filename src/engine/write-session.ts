import { UploadError } from '../errors.ts';
import type { Range } from '../intervals.ts';
import type { StoredUpload, UploadRecord } from '../store.ts';
import type { Known, NewClaim } from './completion.ts';
import { isWhole, type UploadFacts } from './facts.ts';
import type { LiveUpload } from './live-upload.ts';
import type { Transfer } from './transfer.ts';

export interface SessionTerms {
  /** Whether a clean end of the body tells the length of the whole. */
  readonly endsContent: boolean;
  readonly maxLength: number;
}

/** What a session needs of the engine. */
export interface SessionEngine {
  state(facts: UploadFacts): Promise<UploadRecord>;
  /** Undefined when the upload does not exist yet. */
  load(): Promise<StoredUpload | undefined>;
  /** The claim of an upload that is made with all its bytes. */
  claim(record: UploadRecord): NewClaim;
  release(): Promise<void>;
  /** With `record`, of an upload that is not in the store yet. */
  forget(record: UploadRecord | undefined): Promise<void>;
}

export interface WriteResult {
  readonly received: readonly Range[];
  readonly length: number | undefined;
  /** Whether no byte is missing. */
  readonly whole: boolean;
  /** Of one that is whole, and to be given to `Engine.complete` at once: with a lease, where one was asked for. */
  readonly known?: Known;
}

/**
 * One request's part in an upload: its body goes through `transfer`; exactly one of `finish` and `abandon`
 * ends it.
 */
export class WriteSession {
  readonly kind = 'writing';
  readonly transfer: Transfer;
  readonly #live: LiveUpload;
  readonly #terms: SessionTerms;
  readonly #engine: SessionEngine;

  constructor(live: LiveUpload, transfer: Transfer, terms: SessionTerms, engine: SessionEngine) {
    this.#live = live;
    this.transfer = transfer;
    this.#terms = terms;
    this.#engine = engine;
  }

  get id(): string {
    return this.#live.id;
  }

  /** What was stored when this request came, and since. */
  get known(): readonly Range[] {
    return this.#live.safe.ranges();
  }

  /** Makes the upload exist before its first byte does, so that its identity may be told. */
  async establish(): Promise<void> {
    await this.#live.establish();
  }

  /** Calls `listener` whenever more became safe; returns the way to end that. */
  onCheckpoint(listener: () => void): () => void {
    this.#live.onSafe.add(listener);
    return () => this.#live.onSafe.delete(listener);
  }

  /**
   * What may be acknowledged now: safe, and the upload still there; undefined while it is not there yet. Rejects
   * with `gone`.
   */
  stored(): Promise<StoredUpload | undefined> {
    return this.#engine.load();
  }

  /**
   * The body has ended, cleanly or not. Resolves when all that was delivered is safe; with `claim`, an upload
   * that is made by this with all its bytes is claimed for its completion in the same step. Rejects with
   * `body_past_range` or `too_large` (the range itself is kept), with `gone` when the upload was removed
   * meanwhile, or with the store's error.
   */
  async finish(clean: boolean, { claim = false } = {}): Promise<WriteResult> {
    try {
      const made = clean ? await this.#finishWhole(claim) : undefined;
      if (made !== undefined) return made;
      await this.transfer.end();
      await this.#live.checkpoint();
      if (this.transfer.failure !== undefined) throw this.transfer.failure;
      await this.#stateEnd(clean);
      if (this.transfer.overrun) {
        const expected = this.transfer.limit;
        const code = expected < this.#terms.maxLength ? 'body_past_range' : 'too_large';
        throw new UploadError(code, 'the body went on past its range', {
          id: this.id,
          expected,
        });
      }
      return await this.#result();
    } finally {
      await this.#engine.release();
    }
  }

  /** The connection is gone and nobody knows the upload: nothing of it stays. */
  async abandon(): Promise<void> {
    try {
      if (this.#live.pending !== undefined) this.transfer.takeWhole(); // never stored at all, if it can be helped
      await this.transfer.end();
      await this.#engine.forget(this.#live.pending);
    } finally {
      await this.#engine.release();
    }
  }

  /**
   * A small body that arrived whole, of an upload that does not exist yet, is stored in one step: then the
   * store's word is all there is to know. Undefined where it takes more.
   */
  async #finishWhole(claim: boolean): Promise<WriteResult | undefined> {
    const { pending } = this.#live;
    const length = this.#terms.endsContent ? this.transfer.position : pending?.length;
    if (this.transfer.overrun || pending === undefined || length !== this.transfer.position) return undefined;
    if (this.transfer.start !== 0 || (pending.length ?? length) !== length) return undefined;
    const content = this.transfer.takeWhole();
    if (content === undefined) return undefined;
    const record = { ...pending, length };
    this.#live.pending = record;
    const newClaim = claim ? this.#engine.claim(record) : undefined;
    try {
      const [made] = await Promise.all([this.#live.establish(content, newClaim), this.transfer.end()]);
      if (made) {
        const received = length === 0 ? [] : [{ start: 0, end: length }];
        return { received, length, whole: true, ...(newClaim && { known: newClaim.hold() }) };
      }
    } catch (error) {
      newClaim?.drop();
      throw error;
    }
    newClaim?.drop();
    // Somebody else made it meanwhile: then these bytes are written like any others.
    await this.#live.write(content, 0, length);
    return undefined;
  }

  async #stateEnd(clean: boolean): Promise<void> {
    if (!clean || !this.#terms.endsContent || this.transfer.overrun) return;
    if (this.#live.pending !== undefined) await this.#live.establish();
    await this.#engine.state({ length: this.transfer.position });
  }

  async #result(): Promise<WriteResult> {
    const stored = await this.#engine.load();
    if (stored === undefined) return { received: [], length: this.#live.pending?.length, whole: false };
    const { record, received } = stored;
    const whole = isWhole(stored);
    return { received, length: record.length, whole, ...(whole && { known: stored }) };
  }
}
