import { type QueueEntry, uploadQueue } from '../client/queue.ts';
import { isGone } from './gone.ts';
import { type Added, type Item, itemOf, patience, type Seen, type Uploader } from './item.ts';

/** A tab that was closed tells nobody: it is looked so often. */
const lookMs = 2_000;

/** What is under way on this page, in other tabs, and what was before: the client's queue. Throws `not_supported`. */
export class Uploads implements Uploader {
  readonly #url: string;
  readonly #onChange: (items: readonly Item[]) => void;
  readonly #queue = uploadQueue({ retry: patience });
  /** Whose files the browser is copying. */
  readonly #keeping = new Map<string, File>();
  readonly #seen = new Map<string, Seen>();
  /** Those that had begun before this page. */
  readonly #earlier = new Set<string>();
  #entries: readonly QueueEntry[] = [];
  #isLooking = false;
  #looksAgain = false;

  constructor(url: string, onChange: (items: readonly Item[]) => void) {
    this.#url = url;
    this.#onChange = onChange;
    this.#queue.onChange((entry) => this.#hear(entry));
    setInterval(() => {
      if (this.#entries.some(({ status }) => status === 'waiting')) this.#lookAround();
    }, lookMs);
  }

  async start(): Promise<void> {
    for (const { id, isBegun } of await this.#queue.entries()) if (isBegun) this.#earlier.add(id);
    await this.#look();
  }

  async add(file: File): Promise<Added> {
    const id = await this.#queue.idOf(this.#url, file);
    if (this.#keeping.has(id)) return 'known';
    const found = await this.#known(id);
    if (found?.status === 'done') return 'done';
    if (found === undefined) this.#keeping.set(id, file);
    this.#show();
    try {
      await this.#queue.add(this.#url, file, { metadata: { filename: file.name } });
    } finally {
      this.#keeping.delete(id);
      await this.#look();
    }
    if (found === undefined) return 'new';
    const isGoing = found.status === 'waiting' && (found.isActive || found.isAtHand);
    return isGoing ? 'known' : 'again';
  }

  async isSame(id: string, file: File): Promise<boolean> {
    return (await this.#queue.idOf(this.#url, file)) === id;
  }

  pause(id: string): Promise<void> {
    return this.#queue.pause(id);
  }

  resume(id: string): Promise<boolean> {
    return this.#queue.resume(id);
  }

  async remove(id: string): Promise<void> {
    this.#seen.delete(id);
    await this.#queue.remove(id);
  }

  retryNow(): void {
    this.#queue.retryNow();
  }

  /** What a server had that is another by now is to be uploaded like any other file. */
  async #known(id: string): Promise<QueueEntry | undefined> {
    const found = (await this.#queue.entries()).find((entry) => entry.id === id);
    if (found?.status !== 'done' || !(await isGone(found.result?.location ?? ''))) return found;
    await this.remove(id);
    return undefined;
  }

  #hear(entry: QueueEntry | undefined): void {
    const at = this.#entries.findIndex(({ id }) => id === entry?.id);
    if (entry === undefined || at === -1) return this.#lookAround();
    this.#note(entry);
    this.#entries = this.#entries.with(at, entry);
    this.#show();
  }

  #note({ id, progress }: QueueEntry): void {
    if (progress === undefined) return;
    const before = this.#seen.get(id);
    // Nothing is known until the server was asked, which is no reason for a bar to fall back.
    const isAsking = progress.state === 'connecting' || (progress.sent === 0 && this.#earlier.has(id));
    const sent = isAsking ? before?.sent : Math.max(progress.sent, progress.committed);
    const isFirst = before?.sent === undefined && sent !== undefined;
    const pickedUpAt = isFirst && this.#earlier.has(id) ? progress.committed : (before?.pickedUpAt ?? 0);
    this.#seen.set(id, { sent, pickedUpAt });
  }

  /** Beside whatever else happens. */
  #lookAround(): void {
    this.#look().catch((error: unknown) => {
      queueMicrotask(() => {
        throw error; // to the console, as what nobody handles
      });
    });
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
        this.#entries = await this.#queue.entries();
        this.#show();
      } while (this.#looksAgain);
    } finally {
      this.#isLooking = false;
    }
  }

  #show(): void {
    const items = this.#entries.map((entry) =>
      itemOf(entry, this.#seen.get(entry.id) ?? { sent: undefined, pickedUpAt: 0 }),
    );
    const known = new Set(items.map(({ id }) => id));
    const keeping = [...this.#keeping]
      .filter(([id]) => !known.has(id))
      .map(([id, file]) => keptItem(id, file));
    this.#onChange([...items, ...keeping]);
  }
}

const keptItem = (id: string, { name, size }: File): Item => ({
  id,
  name,
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
