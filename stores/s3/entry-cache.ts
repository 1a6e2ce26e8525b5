import type { Entry } from './entry.ts';

/** So many entries are worth their memory: of uploads that are at work, or asked for again and again. */
const mostEntries = 500;
/** One with a longer answer in it is read again. */
const longestAnswer = 16 * 1024;

/**
 * Record versions as they were read. An object of one key is not always the same: who has its ETag, as a listing gives
 * it, knows whether it still is.
 */
export class EntryCache {
  readonly #entries = new Map<string, { readonly etag: string; readonly entry: Entry }>();

  get(key: string, etag: string): Entry | undefined {
    const known = this.#entries.get(key);
    if (known?.etag !== etag) return undefined;
    // The last is what was asked for last.
    this.#entries.delete(key);
    this.#entries.set(key, known);
    return known.entry;
  }

  set(key: string, etag: string, entry: Entry): void {
    this.#entries.delete(key);
    if (etag === '' || (entry.record.response?.length ?? 0) > longestAnswer) return;
    this.#entries.set(key, { etag, entry });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > mostEntries && oldest !== undefined) this.#entries.delete(oldest);
  }
}
