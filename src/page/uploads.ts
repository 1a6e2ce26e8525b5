import { upload } from '../client/browser-upload.ts';
import { type UploadQueue, uploadQueue } from '../client/queue.ts';
import { identityOf, type QueueRecord, QueueStore } from '../client/queue-store.ts';
import { page } from './dom.ts';
import { isGone } from './gone.ts';
import {
  type Added,
  type Item,
  isPaused,
  itemOf,
  linkOf,
  patience,
  pausedCode,
  type Seen,
  type Uploader,
} from './item.ts';

const name = 'resumable-http';
const lockOf = (id: string): string => `${name} ${id}`;

/** What other tabs do is looked at so often. */
const lookMs = 2_000;

/** What is under way on this page, in other tabs, and what was before: the client's queue, with a pause. Throws `not_supported`. */
export class Uploads implements Uploader {
  readonly #url: string;
  readonly #onChange: (items: readonly Item[]) => void;
  readonly #store = new QueueStore(name);
  readonly #tabs = new BroadcastChannel(`${name} page`);
  readonly #files = new Map<string, File>();
  readonly #keeping = new Map<string, File>();
  readonly #seen = new Map<string, Pick<Seen, 'progress' | 'sent' | 'pickedUpAt'>>();
  /** Those that had begun before this page. */
  readonly #earlier = new Set<string>();
  #records: readonly QueueRecord[] = [];
  #held: ReadonlySet<string> = new Set();
  #queue: UploadQueue;
  #turn: Promise<unknown> = Promise.resolve();
  #isLooking = false;
  #looksAgain = false;

  constructor(url: string, onChange: (items: readonly Item[]) => void) {
    this.#url = new URL(url, page.location.href).href;
    this.#onChange = onChange;
    this.#queue = this.#open();
    this.#tabs.onmessage = () => void this.#inTurn(() => this.#reopen());
    setInterval(() => {
      if (this.#records.some(({ status }) => status === 'waiting')) this.look();
    }, lookMs);
  }

  async start(): Promise<void> {
    for (const { id, state } of await this.#store.all()) if (state?.begun === true) this.#earlier.add(id);
    await this.#look();
  }

  async add(file: File): Promise<Added> {
    const id = await identityOf(this.#url, file);
    if (this.#keeping.has(id)) return 'known';
    const found = await this.#known(id);
    if (found?.status === 'done') return 'done';
    this.#files.set(id, file);
    if (found === undefined) this.#keeping.set(id, file);
    this.#show();
    try {
      await this.#queued(file);
    } finally {
      this.#keeping.delete(id);
      await this.#look();
    }
    if (found === undefined) return 'new';
    return found.status === 'failed' || (found.file === undefined && !this.#isHeld(id)) ? 'again' : 'known';
  }

  async isSame(id: string, file: File): Promise<boolean> {
    return (await identityOf(this.#url, file)) === id;
  }

  pause(id: string): Promise<void> {
    const note = async (): Promise<void> => {
      const error = { code: pausedCode, message: String(this.#seen.get(id)?.sent ?? 0) };
      await this.#store.change(id, (found) => {
        if (found === undefined || (found.status !== 'waiting' && !isPaused(found))) return undefined;
        return { ...found, status: 'failed', error };
      });
    };
    return this.#inTurn(async () => {
      await note();
      this.#tabs.postMessage('reopen');
      await this.#reopen();
      await note(); // until it had stopped, more was sent
    });
  }

  async resume(id: string): Promise<boolean> {
    const file = this.#files.get(id) ?? (await this.#store.get(id))?.file;
    if (file === undefined) return false;
    try {
      await this.#queued(file);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.#files.delete(id); // it has changed or is gone
      return false;
    }
    this.#files.set(id, file);
    this.look();
    return true;
  }

  async remove(id: string): Promise<void> {
    const record = await this.#store.get(id);
    const file = this.#files.get(id) ?? record?.file;
    const isHeld = this.#isHeld(id);
    this.#files.delete(id);
    this.#seen.delete(id);
    await this.#inTurn(() => this.#queue.remove(id));
    await this.#look();
    if (record?.state === undefined || file === undefined || isHeld) return;
    const given = upload(record.url, file, { state: record.state });
    const ended = given.result.catch(() => undefined); // it ends by being given up
    await given.abort();
    await ended;
  }

  hurry(): Promise<void> {
    return this.#inTurn(() => this.#reopen());
  }

  look(): void {
    this.#look().catch(reportError);
  }

  /** What a server had that is another by now is to be uploaded like any other file. */
  async #known(id: string): Promise<QueueRecord | undefined> {
    const found = await this.#store.get(id);
    if (found?.status !== 'done' || !(await isGone(linkOf(found.result?.body ?? '')))) return found;
    await this.#inTurn(() => this.#queue.remove(id));
    this.#seen.delete(id);
    return undefined;
  }

  #open(): UploadQueue {
    const queue = uploadQueue({ name, retry: patience });
    queue.onChange((entry) => {
      if (entry === undefined) return this.look();
      const { id, progress } = entry;
      const known = this.#records.find((record) => record.id === id);
      if (progress !== undefined) this.#note(id, progress);
      if (progress?.state === 'reconnecting' && known?.file === undefined) this.#check(id);
      if (known?.status === entry.status && this.#isHeld(id)) this.#show();
      else this.look();
    });
    return queue;
  }

  #note(id: string, progress: NonNullable<Seen['progress']>): void {
    const before = this.#seen.get(id);
    // Nothing is known until the server was asked, which is no reason for a bar to fall back.
    const isAsking = progress.state === 'connecting' || (progress.sent === 0 && this.#earlier.has(id));
    const sent = isAsking ? before?.sent : Math.max(progress.sent, progress.committed);
    const isFirst = before?.sent === undefined && sent !== undefined;
    const pickedUpAt = isFirst && this.#earlier.has(id) ? progress.committed : (before?.pickedUpAt ?? 0);
    this.#seen.set(id, { progress, sent, pickedUpAt });
  }

  /** To a page, a request that failed for want of the file looks like one for want of a server. A kept file cannot fail so. */
  #check(id: string): void {
    const file = this.#files.get(id);
    if (file === undefined) return;
    file
      .slice(0, 1)
      .arrayBuffer()
      .catch(() => {
        if (this.#files.delete(id)) return this.hurry();
      })
      .catch(reportError);
  }

  /** A queue may be closed while it takes the file: then the next has to be told. */
  async #queued(file: File): Promise<void> {
    for (;;) {
      const queue = this.#queue;
      try {
        await queue.add(this.#url, file, { metadata: { filename: file.name } });
      } catch (error) {
        if (queue === this.#queue) throw error;
      }
      if (queue === this.#queue) return;
    }
  }

  /** Closing it is the only way to end a request without giving the upload up. The others go on where they were. */
  async #reopen(): Promise<void> {
    const old = this.#queue;
    await old.close();
    for (const [id, seen] of this.#seen) this.#seen.set(id, { ...seen, progress: undefined });
    this.#queue = this.#open();
    for (const { id, status, file } of await this.#store.all()) {
      const given = this.#files.get(id);
      if (status === 'waiting' && file === undefined && given !== undefined) await this.#queued(given);
    }
    await this.#look();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined); // whoever asked for it is told
    return done;
  }

  #isHeld(id: string): boolean {
    return this.#held.has(lockOf(id));
  }

  /** Reads anew what there is; what happens meanwhile is read once more. */
  async #look(): Promise<void> {
    if (this.#isLooking) {
      this.#looksAgain = true;
      return;
    }
    this.#isLooking = true;
    try {
      do {
        this.#looksAgain = false;
        const [records, locks] = await Promise.all([this.#store.all(), page.navigator.locks?.query()]);
        this.#records = records;
        this.#held = new Set(locks?.held?.map((lock) => lock.name));
        this.#show();
      } while (this.#looksAgain);
    } finally {
      this.#isLooking = false;
    }
  }

  #show(): void {
    const items = this.#records.map((record) => {
      const { id } = record;
      const { progress, sent, pickedUpAt = 0 } = this.#seen.get(id) ?? {};
      const hasFile = this.#files.has(id);
      return itemOf(record, { progress, sent, pickedUpAt, hasFile, isHeld: this.#isHeld(id) });
    });
    const known = new Set(items.map(({ id }) => id));
    const keeping = [...this.#keeping]
      .filter(([id]) => !known.has(id))
      .map(([id, file]) => keptItem(id, file));
    this.#onChange([...items, ...keeping]);
  }
}

const keptItem = (id: string, { name: fileName, size }: File): Item => ({
  id,
  name: fileName,
  size,
  phase: 'keeping',
  sent: undefined,
  rate: 0,
  etaMs: Number.POSITIVE_INFINITY,
  pickedUpAt: 0,
  isKept: true,
  problem: '',
  link: '',
});

/** To the console, as what nobody handles. */
const reportError = (error: unknown): void => {
  queueMicrotask(() => {
    throw error;
  });
};
