import { UploadError } from '../errors.ts';
import { globals, type LockManager } from './browser-globals.ts';
import { type Upload, upload } from './browser-upload.ts';
import type { HeadersOption, RetryOptions } from './options.ts';
import type { UploadProgress } from './progress.ts';
import {
  identityOf,
  type QueuedOptions,
  type QueueRecord,
  type QueueResult,
  QueueStore,
} from './queue-store.ts';
import { assertReadable } from './xhr-transport.ts';

export type { QueuedOptions, QueueResult } from './queue-store.ts';

export interface QueueOptions {
  /** Of the database, the locks and the channel between tabs. Default `resumable-http`. */
  readonly name?: string | undefined;
  /** How many uploads one tab has under way at once. Default 2. */
  readonly concurrency?: number | undefined;
  /**
   * Whether the files themselves are kept, so that an upload goes on after a reload by itself; else it goes on when the
   * same file is added again. Default true.
   */
  readonly keepFiles?: boolean | undefined;
  /** Not kept: of all uploads of this page. */
  readonly headers?: HeadersOption | undefined;
  readonly retry?: RetryOptions | undefined;
  readonly stallTimeoutMs?: number | undefined;
}

export interface QueueEntry {
  /** The same for the same file and URL, in every tab and after every reload. */
  readonly id: string;
  readonly url: string;
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  readonly status: 'waiting' | 'paused' | 'done' | 'failed';
  /** Whether some tab is at it now; one that waits and is not has others before it, or its file is not at hand. */
  readonly isActive: boolean;
  /** Whether the server may have something of it. */
  readonly isBegun: boolean;
  /** Whether the browser keeps the file, so that it goes on after a reload by itself. */
  readonly isKept: boolean;
  /** Whether this page has the file, kept or not. If none has it goes on when the same file is added again. */
  readonly isAtHand: boolean;
  /** Undefined until this or another tab has said something of it. */
  readonly progress: UploadProgress | undefined;
  /** How much was sent when it was paused, in bytes. */
  readonly sent: number | undefined;
  /** The final answer. */
  readonly result: QueueResult | undefined;
  readonly error: { readonly code: string; readonly message: string } | undefined;
}

export interface UploadQueue {
  /** Resolves with the id. What is in the queue already, from whichever tab, is the same upload; one that had failed is tried again. */
  add(url: string | URL, file: File, options?: QueuedOptions): Promise<string>;
  /** The id that this file has, in the queue or not. */
  idOf(url: string | URL, file: File): Promise<string>;
  /** The oldest first. */
  entries(): Promise<QueueEntry[]>;
  /** Resolves when it is done, has failed or was removed (then undefined), in whichever tab. */
  settled(id: string): Promise<QueueEntry | undefined>;
  /** Stops it, in whichever tab; what the server has stays there. Resolves when this tab has stopped. */
  pause(id: string): Promise<void>;
  /**
   * Goes on with what was paused or has failed. Resolves with whether this page has its file, and can read it; if not,
   * all stays as it is until that is added again.
   */
  resume(id: string): Promise<boolean>;
  /** What this tab has under way and waits with its next try does not wait any longer. */
  retryNow(): void;
  /** Forgets it. The server is told of what is not done, if this page has the file or a tab has it under way. */
  remove(id: string): Promise<void>;
  /** Called for everything that happens, in any tab. Returns what ends that. */
  onChange(listener: (entry: QueueEntry | undefined) => void): () => void;
  /** Stops what this tab has under way; other tabs, or a later page, go on with it. */
  close(): Promise<void>;
}

/** Uploads that survive the page, shared by all tabs of an origin. Throws `not_supported` without IndexedDB or Web Locks. */
export const uploadQueue = (options: QueueOptions = {}): UploadQueue => {
  const { locks } = globals.navigator ?? {};
  if (locks === undefined || globals.indexedDB === undefined) {
    throw new UploadError(
      'not_supported',
      'a queue needs IndexedDB and Web Locks: a page of a secure context',
    );
  }
  return new Queue(locks, options);
};

/** Progress is told so often. */
const tellMs = 100;
/** The server has nothing any more: a next try begins anew. */
const lost = new Set(['not_found', 'gone', 'unknown_operation']);

interface Message {
  readonly id: string;
  readonly progress?: UploadProgress;
  readonly paused?: boolean;
  readonly removed?: boolean;
  /** What could not be written down. */
  readonly facts?: Partial<QueueRecord>;
}

const pausing = new DOMException('The upload was paused', 'AbortError');

class Queue implements UploadQueue {
  readonly #options: QueueOptions;
  readonly #name: string;
  readonly #locks: LockManager;
  readonly #store: QueueStore;
  readonly #channel: InstanceType<typeof BroadcastChannel>;
  readonly #listeners = new Set<(entry: QueueEntry | undefined) => void>();
  readonly #progress = new Map<string, UploadProgress>();
  /** Files of this page, for those that are not kept. */
  readonly #files = new Map<string, File>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #uploads = new Map<string, { readonly up: Upload; readonly stop: AbortController }>();
  /** Those another tab holds: looked at again when it lets go. */
  readonly #awaited = new Set<string>();
  readonly #closing = new AbortController();

  constructor(locks: LockManager, options: QueueOptions) {
    this.#options = options;
    this.#name = options.name ?? 'resumable-http';
    this.#locks = locks;
    this.#store = new QueueStore(this.#name);
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = (event: { data: unknown }) => void this.#hear(event.data as Message);
    void this.#schedule();
  }

  async add(url: string | URL, file: File, options: QueuedOptions = {}): Promise<string> {
    const href = absolute(url);
    const id = await identityOf(href, file);
    this.#files.set(id, file);
    const { name, size } = file;
    const fresh = { id, url: href, name, size, addedAt: Date.now(), options, status: 'waiting' } as const;
    const put = (kept: File | undefined) => (found: QueueRecord | undefined) =>
      found === undefined
        ? { ...fresh, file: kept }
        : found.status === 'failed' || found.status === 'paused'
          ? { ...found, status: 'waiting' as const, error: undefined }
          : undefined;
    const keepsFiles = this.#options.keepFiles ?? true;
    await this.#store.change(id, put(keepsFiles ? file : undefined)).catch(async (error: unknown) => {
      // It may be too large to be kept: then it is known at least.
      if (!keepsFiles) throw error;
      await this.#store.change(id, put(undefined));
    });
    this.#tell({ id });
    return id;
  }

  idOf(url: string | URL, file: File): Promise<string> {
    return identityOf(absolute(url), file);
  }

  async entries(): Promise<QueueEntry[]> {
    const [records, held] = await Promise.all([this.#store.all(), this.#held()]);
    return records.map((record) => this.#entry(record, held));
  }

  settled(id: string): Promise<QueueEntry | undefined> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        this.#look(id).then((entry) => {
          if (entry?.status === 'waiting' || entry?.status === 'paused') return;
          stop();
          resolve(entry);
        }, reject);
      };
      const stop = this.onChange(look);
      look();
    });
  }

  async pause(id: string): Promise<void> {
    await this.#store.change(id, (found) =>
      found?.status === 'waiting' ? { ...found, status: 'paused' } : undefined,
    );
    this.#tell({ id, paused: true });
    await this.#running.get(id);
  }

  async resume(id: string): Promise<boolean> {
    const record = await this.#store.get(id);
    if (record === undefined || !(await this.#canRead(record))) return false;
    await this.#store.change(id, (found) =>
      found?.status === 'paused' || found?.status === 'failed'
        ? { ...found, status: 'waiting', error: undefined }
        : undefined,
    );
    this.#tell({ id });
    return true;
  }

  retryNow(): void {
    for (const { up } of this.#uploads.values()) up.retryNow();
  }

  async remove(id: string): Promise<void> {
    const [record, held] = await Promise.all([this.#store.get(id), this.#held()]);
    const file = record && this.#fileOf(record);
    await this.#store.remove(id);
    this.#files.delete(id);
    this.#tell({ id, removed: true });
    await this.#running.get(id);
    // Whoever has it under way has told the server.
    if (record?.state === undefined || file === undefined || held.has(this.#lockOf(id))) return;
    const given = upload(record.url, file, { headers: this.#options.headers, state: record.state });
    const ended = given.result.catch(() => undefined); // it ends by being given up
    await given.abort();
    await ended;
  }

  onChange(listener: (entry: QueueEntry | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closing.abort(new DOMException('The queue was closed', 'AbortError'));
    await Promise.allSettled(this.#running.values());
    this.#channel.close();
    await this.#store.close();
  }

  #entry(record: QueueRecord, held: ReadonlySet<string>): QueueEntry {
    const { id, url, name, size, status, sent, result, error } = record;
    return {
      id,
      url,
      name,
      size,
      status,
      isActive: held.has(this.#lockOf(id)),
      isBegun: record.state?.begun === true,
      isKept: record.file !== undefined,
      isAtHand: this.#fileOf(record) !== undefined,
      progress: this.#progress.get(id),
      sent,
      result,
      error,
    };
  }

  async #look(id: string): Promise<QueueEntry | undefined> {
    const [record, held] = await Promise.all([this.#store.get(id), this.#held()]);
    return record && this.#entry(record, held);
  }

  /** The locks of this origin that some tab has. */
  async #held(): Promise<ReadonlySet<string>> {
    const { held = [] } = await this.#locks.query();
    return new Set(held.map(({ name }) => name));
  }

  /** To the other tabs, and to this one. */
  #tell(message: Message): void {
    if (!this.#closing.signal.aborted) this.#channel.postMessage(message);
    void this.#hear(message);
  }

  async #hear({ id, progress, paused, removed, facts }: Message): Promise<void> {
    if (facts !== undefined) this.#store.know(id, facts);
    if (progress !== undefined) this.#progress.set(id, progress);
    if (paused === true) this.#uploads.get(id)?.stop.abort(pausing);
    if (removed === true) await this.#uploads.get(id)?.up.abort();
    if (this.#closing.signal.aborted) return;
    try {
      const entry = await this.#look(id);
      for (const listener of this.#listeners) listener(entry);
      if (progress === undefined) await this.#schedule();
    } catch (error) {
      if (!this.#closing.signal.aborted) throw error; // a database that was closed meanwhile says nothing more
    }
  }

  /** Takes up what waits and nobody has. */
  async #schedule(): Promise<void> {
    const waiting = (await this.#store.all()).filter(({ status }) => status === 'waiting');
    for (const record of waiting) {
      const { id } = record;
      if (this.#closing.signal.aborted) return;
      if (this.#running.size >= (this.#options.concurrency ?? 2)) return;
      if (this.#running.has(id) || this.#awaited.has(id) || this.#fileOf(record) === undefined) continue;
      let wasOurs = false;
      const running = this.#locks
        .request(this.#lockOf(id), { ifAvailable: true }, async (lock) => {
          if (lock === null) return this.#await(id);
          wasOurs = true;
          await this.#upload(id);
        })
        .finally(() => {
          this.#running.delete(id);
          if (this.#closing.signal.aborted) return;
          if (wasOurs)
            this.#tell({ id }); // not before: now nobody is at it
          else void this.#schedule();
        });
      this.#running.set(id, running);
    }
  }

  /** Another tab has it: when that is done with it or gone, it may be ours. */
  #await(id: string): void {
    this.#awaited.add(id);
    this.#locks
      .request(this.#lockOf(id), { signal: this.#closing.signal }, () => Promise.resolve())
      .catch(() => undefined) // the queue was closed
      .finally(() => {
        this.#awaited.delete(id);
        if (!this.#closing.signal.aborted) void this.#schedule();
      });
  }

  #lockOf(id: string): string {
    return `${this.#name} ${id}`;
  }

  #fileOf(record: QueueRecord): File | undefined {
    return this.#files.get(record.id) ?? record.file;
  }

  /** A file of this page that has changed or is gone is let go of; to one that is kept neither can happen. */
  async #canRead(record: QueueRecord): Promise<boolean> {
    const given = this.#files.get(record.id);
    const isReadable =
      given !== undefined &&
      (await assertReadable(given).then(
        () => true,
        () => false,
      ));
    if (!isReadable) this.#files.delete(record.id);
    return this.#fileOf(record) !== undefined;
  }

  async #upload(id: string): Promise<void> {
    // Another tab may have brought it to an end before it let go of the lock.
    const record = await this.#store.get(id);
    const file = record && this.#fileOf(record);
    if (record?.status !== 'waiting' || file === undefined) return;
    this.#progress.delete(id);
    const { headers, retry, stallTimeoutMs } = this.#options;
    const stop = new AbortController();
    const close = (): void => stop.abort(this.#closing.signal.reason);
    this.#closing.signal.addEventListener('abort', close, { once: true });
    let toldAt = Number.NEGATIVE_INFINITY;
    let told: string | undefined;
    let sent = record.sent ?? 0;
    let saved = JSON.stringify(record.state);
    let saving: Promise<unknown> = Promise.resolve();
    const up = upload(record.url, file, {
      ...record.options,
      headers,
      retry,
      stallTimeoutMs,
      state: record.state,
      signal: stop.signal,
      onProgress: (progress) => {
        sent = Math.max(progress.sent, progress.committed);
        const state = up.state();
        const text = JSON.stringify(state);
        if (text !== saved) {
          saved = text;
          saving = saving.then(() => this.#note(id, { state }));
        }
        const now = performance.now();
        if (now - toldAt < tellMs && progress.state === told) return;
        toldAt = now;
        told = progress.state;
        this.#tell({ id, progress });
      },
    });
    this.#uploads.set(id, { up, stop });
    const outcome = await up.result.then(
      ({ status, headers: { location }, body }) => ({
        status: 'done' as const,
        result: { status, location: location?.toString(), body: String(body) },
      }),
      (error: unknown) => ({ status: 'failed' as const, error: errorFacts(error) }),
    );
    this.#uploads.delete(id);
    this.#closing.signal.removeEventListener('abort', close);
    await saving;
    const isStopped = stop.signal.aborted && outcome.status === 'failed';
    if (isStopped && this.#closing.signal.aborted) return;
    if (isStopped) await this.#note(id, { sent });
    else if (outcome.status === 'done') {
      await this.#note(id, { ...outcome, file: undefined, state: undefined });
    } else if (outcome.error.code !== 'unreadable' || !this.#files.delete(id)) {
      await this.#note(id, { ...outcome, ...(lost.has(outcome.error.code) && { state: undefined }) });
    } // else it goes on when the file is added again
  }

  async #note(id: string, facts: Partial<QueueRecord>): Promise<void> {
    if (!(await this.#store.note(id, facts))) this.#tell({ id, facts });
  }
}

/** A URL may be relative to the page. */
const absolute = (url: string | URL): string => {
  const { location } = globalThis as { readonly location?: { readonly href: string } };
  return new URL(url, location?.href).href;
};

const errorFacts = (error: unknown): { code: string; message: string } => ({
  code: error instanceof UploadError ? error.code : 'interrupted',
  message: error instanceof Error ? error.message : String(error),
});
