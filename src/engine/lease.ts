import { next } from '../lifecycle.ts';
import type { Claim, Store, UploadRecord } from '../store.ts';

/**
 * A claim this process holds on the completion of one upload. The record changes under it by its own hand; while
 * bytes are still coming, by whoever states a fact about them; and by another process that found the lease lapsed:
 * then every later step of this one fails.
 */
export class Lease {
  readonly #store: Store;
  readonly #leaseMs: number;
  readonly #reserve: number;
  readonly #timer: NodeJS.Timeout;
  #record: UploadRecord;
  #version: number;
  #lost = false;
  /** Told when it turns out that another has the claim, or that the upload is gone. */
  onLost: () => void = () => undefined;
  /** The step under way; steps are taken one after another. */
  #busy: Promise<void> = Promise.resolve();

  constructor(store: Store, record: UploadRecord, version: number, leaseMs: number, reserve: number) {
    this.#store = store;
    this.#record = record;
    this.#version = version;
    this.#leaseMs = leaseMs;
    this.#reserve = reserve;
    this.#timer = setInterval(() => this.#renew(), leaseMs / 3);
    this.#timer.unref();
  }

  get record(): UploadRecord {
    return this.#record;
  }

  /**
   * Whether nobody can have taken it over: a lease that has run out, for all that was done under it, is renewed first. Of
   * one that is lost nothing is left, and it is of no more use.
   */
  async isHeld(): Promise<boolean> {
    await this.#busy;
    const { expiresAt = 0 } = this.#record.claim ?? {};
    if (!this.#lost && expiresAt > Date.now()) return true;
    this.#renew();
    await this.#busy;
    if (!this.#lost && this.#record.claim?.expiresAt !== expiresAt) return true;
    await this.end('release');
    return false;
  }

  /**
   * The one way out: stores the answer, or gives the claim back. Resolves with the record that is stored
   * then, or undefined when the lease was lost before.
   */
  async end(
    transition: 'finish' | 'release',
    facts: Pick<UploadRecord, 'response' | 'moved' | 'refused'> = {},
  ): Promise<UploadRecord | undefined> {
    clearInterval(this.#timer);
    await this.#busy;
    for (;;) {
      const { claim, ...record } = this.#record;
      const ended = { ...record, ...facts, state: next(record.state, transition, record.id) };
      // Of a lease that was lost this fails too, and the store lets go of what it kept for it.
      if (await this.#store.update(this.#version, ended)) return ended;
      if (claim === undefined || this.#lost || !(await this.#look(claim))) return undefined;
    }
  }

  #renew(): void {
    this.#busy = this.#busy.then(() => this.#renewNow());
  }

  async #renewNow(): Promise<void> {
    const { claim } = this.#record;
    if (this.#lost || claim === undefined) return;
    const state = next(this.#record.state, 'renew', this.#record.id);
    const record: UploadRecord = {
      ...this.#record,
      state,
      claim: { ...claim, expiresAt: Date.now() + this.#leaseMs },
    };
    try {
      if (await this.#store.update(this.#version, record, { reserve: this.#reserve })) {
        this.#record = record;
        this.#version++;
      } else await this.#look(claim);
    } catch {
      // Whether it was stored is unknown. A renewal that failed is tried again a third of the lease later; if
      // none gets through, the lease lapses, which is what it is for.
    }
  }

  /**
   * Whether the claim is still ours: a renewal that failed after it was stored, or a fact that somebody stated,
   * has made a version that we did not know of.
   */
  async #look({ owner }: Claim): Promise<boolean> {
    const stored = await this.#store.load(this.#record.id);
    if (stored?.record.claim?.owner !== owner || stored.record.attempt !== this.#record.attempt) {
      this.#lost = true;
      this.onLost();
      return false;
    }
    const isNews = stored.version !== this.#version;
    this.#record = stored.record;
    this.#version = stored.version;
    return isNews;
  }
}
