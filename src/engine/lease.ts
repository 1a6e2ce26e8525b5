import { next } from '../lifecycle.ts';
import type { Store, UploadRecord } from '../store.ts';

/**
 * A claim this process holds on the completion of one upload. The record changes under it only by its own
 * hand, or by another process that found the lease lapsed: then every later step of this one fails its
 * compare-and-set.
 */
export class Lease {
  readonly #store: Store;
  readonly #leaseMs: number;
  readonly #reserve: number;
  readonly #timer: NodeJS.Timeout;
  #record: UploadRecord;
  #version: number;
  #lost = false;
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
   * The one way out: stores the answer, or gives the claim back. Resolves with the record that is stored
   * then, or undefined when the lease was lost before.
   */
  async end(
    transition: 'finish' | 'release',
    facts: Pick<UploadRecord, 'response' | 'moved'> = {},
  ): Promise<UploadRecord | undefined> {
    clearInterval(this.#timer);
    await this.#busy;
    if (this.#lost) return undefined;
    const { claim: _, ...record } = this.#record;
    const ended = { ...record, ...facts, state: next(record.state, transition, record.id) };
    return (await this.#store.update(this.#version, ended)) ? ended : undefined;
  }

  #renew(): void {
    this.#busy = this.#busy.then(async () => {
      if (this.#lost || this.#record.claim === undefined) return;
      const record: UploadRecord = {
        ...this.#record,
        state: next(this.#record.state, 'renew', this.#record.id),
        claim: { ...this.#record.claim, expiresAt: Date.now() + this.#leaseMs },
      };
      try {
        this.#lost = !(await this.#store.update(this.#version, record, { reserve: this.#reserve }));
        this.#record = record;
        this.#version++;
      } catch {
        // A renewal that failed is tried again a third of the lease later; if none gets through, the lease
        // lapses, which is what it is for.
      }
    });
  }
}
