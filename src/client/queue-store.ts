import { UploadError } from '../errors.ts';
import { type Database, globals, type ObjectStore, type StoreRequest } from './browser-globals.ts';
import type { SavedUpload } from './saved.ts';

/** What can be kept of the options of an upload. */
export interface QueuedOptions {
  readonly method?: string;
  readonly handshake?: boolean;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly parallel?: number;
  readonly maxRequestBytes?: number;
}

/** The final answer to an upload. */
export interface QueueResult {
  readonly status: number;
  /** The answer's `Location`, if it has one. */
  readonly location: string | undefined;
  readonly body: string;
}

/** One upload, as the database keeps it. */
export interface QueueRecord {
  readonly id: string;
  readonly url: string;
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  readonly addedAt: number;
  readonly options: QueuedOptions;
  readonly status: 'waiting' | 'paused' | 'done' | 'failed';
  /** The content; undefined where it is not kept. */
  readonly file?: File | undefined;
  readonly state?: SavedUpload | undefined;
  /** In bytes, when it was paused. */
  readonly sent?: number | undefined;
  readonly result?: QueueResult | undefined;
  readonly error?: { readonly code: string; readonly message: string } | undefined;
}

const storeName = 'uploads';

/** The records, in a database that all tabs of an origin share. */
export class QueueStore {
  readonly #database: Promise<Database>;
  /** What the database did not take: this page goes by it all the same. */
  readonly #unwritten = new Map<string, Partial<QueueRecord>>();

  constructor(name: string) {
    this.#database = open(name);
  }

  async get(id: string): Promise<QueueRecord | undefined> {
    return this.#newest(await this.#run('readonly', (store) => store.get(id)));
  }

  /** The oldest first. */
  async all(): Promise<QueueRecord[]> {
    const records = await this.#run('readonly', (store) => store.getAll());
    return records.flatMap((record) => this.#newest(record) ?? []).sort((a, b) => a.addedAt - b.addedAt);
  }

  /** In one transaction: of two tabs that change a record, one does so after the other. Undefined leaves it as it is. */
  async change(
    id: string,
    next: (record: QueueRecord | undefined) => QueueRecord | undefined,
  ): Promise<QueueRecord | undefined> {
    const database = await this.#database;
    const transaction = database.transaction(storeName, 'readwrite');
    const store = transaction.objectStore(storeName);
    let record: QueueRecord | undefined;
    let isChanged = false;
    const reading = store.get(id);
    reading.onsuccess = () => {
      const found = this.#newest(reading.result);
      const changed = next(found);
      record = changed ?? found;
      isChanged = changed !== undefined;
      if (changed !== undefined) store.put(changed);
    };
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(failed(transaction.error));
    });
    if (isChanged) this.#unwritten.delete(id);
    return record;
  }

  /**
   * Into the record, if there still is one. What the database refuses is known all the same, goes with the next change,
   * and is forgotten with the page; then this is false.
   */
  note(id: string, facts: Partial<QueueRecord>): Promise<boolean> {
    return this.change(id, (found) => found && { ...found, ...facts }).then(
      () => true,
      () => {
        this.know(id, facts);
        return false;
      },
    );
  }

  /** So it is, though the database does not say so. */
  know(id: string, facts: Partial<QueueRecord>): void {
    this.#unwritten.set(id, { ...this.#unwritten.get(id), ...facts });
  }

  async remove(id: string): Promise<void> {
    await this.#run('readwrite', (store) => store.delete(id));
    this.#unwritten.delete(id);
  }

  async close(): Promise<void> {
    (await this.#database).close();
  }

  #newest(found: unknown): QueueRecord | undefined {
    const record = found as QueueRecord | undefined;
    return record && { ...record, ...this.#unwritten.get(record.id) };
  }

  async #run<T>(mode: 'readonly' | 'readwrite', ask: (store: ObjectStore) => StoreRequest<T>): Promise<T> {
    const transaction = (await this.#database).transaction(storeName, mode);
    return settled(ask(transaction.objectStore(storeName)));
  }
}

const open = async (name: string): Promise<Database> => {
  const { indexedDB } = globals;
  if (indexedDB === undefined) throw new UploadError('not_supported', 'there is no IndexedDB here');
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => void request.result.createObjectStore(storeName, { keyPath: 'id' });
  return settled(request);
};

const settled = <T>(request: StoreRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(failed(request.error));
  });

const failed = (cause: unknown): UploadError =>
  new UploadError('store_failed', 'the database of the queue failed', { cause });

const sampleBytes = 64 * 1024;

/**
 * The same for the same file, also when it is chosen again after a reload: from where it goes, its name, size and date,
 * and a sample of its content: its beginning, middle and end.
 */
export const identityOf = async (url: string, file: File): Promise<string> => {
  const middle = Math.max(0, Math.floor(file.size / 2) - sampleBytes / 2);
  const end = Math.max(0, file.size - sampleBytes);
  const facts = JSON.stringify([url, file.name, file.size, file.lastModified]);
  const parts = [0, middle, end].map((at) => file.slice(at, at + sampleBytes));
  const bytes = await new Blob([facts, ...parts]).arrayBuffer();
  const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, '0')).join('');
};
