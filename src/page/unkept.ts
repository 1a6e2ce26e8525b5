import { type Upload, upload } from '../client/browser-upload.ts';
import type { UploadProgress } from '../client/progress.ts';
import type { SavedUpload } from '../client/saved.ts';
import { isUploadError } from '../errors.ts';
import { page } from './dom.ts';
import { isGone } from './gone.ts';
import { type Added, type Item, movementOf, patience, progressPhase, type Uploader } from './item.ts';

/** So many at once, as the queue has them. */
const concurrency = 2;
/** The server has nothing any more: a next try begins anew. */
const lost: ReadonlySet<string> = new Set(['not_found', 'gone', 'unknown_operation']);
const prefix = 'resumable-http page ';

/** What the next page is told. */
interface Noted {
  readonly name: string;
  readonly size: number;
  readonly status: 'waiting' | 'paused' | 'failed' | 'done';
  readonly sent?: number | undefined;
  readonly link: string;
  readonly state?: SavedUpload | undefined;
}

interface Entry {
  readonly id: string;
  readonly name: string;
  readonly size: number;
  status: Noted['status'];
  file?: File | undefined;
  /** Where it goes on. */
  state?: SavedUpload | undefined;
  up?: Upload | undefined;
  isRunning: boolean;
  progress?: UploadProgress | undefined;
  sent?: number | undefined;
  pickedUpAt: number;
  problem: string;
  link: string;
}

/**
 * Uploads for a page that may neither keep files nor share them with other tabs, as it comes over plain http: where they
 * are is noted, so that they go on when the same file is chosen again.
 */
export class UnkeptUploads implements Uploader {
  readonly #url: string;
  readonly #onChange: (items: readonly Item[]) => void;
  readonly #entries = new Map<string, Entry>();

  constructor(url: string, onChange: (items: readonly Item[]) => void) {
    this.#url = url;
    this.#onChange = onChange;
  }

  async start(): Promise<void> {
    const { localStorage } = page;
    for (let at = 0; at < localStorage.length; at++) {
      const key = localStorage.key(at) ?? '';
      const text = key.startsWith(prefix) ? localStorage.getItem(key) : null;
      if (text === null) continue;
      const noted = JSON.parse(text) as Noted;
      const id = key.slice(prefix.length);
      this.#entries.set(id, { ...noted, id, isRunning: false, pickedUpAt: 0, problem: '' });
    }
    this.#show();
  }

  async add(file: File): Promise<Added> {
    const id = idOf(file);
    let found = this.#entries.get(id);
    if (found?.status === 'done') {
      if (!(await isGone(found.link))) return 'done';
      this.#entries.delete(id);
      found = undefined;
    }
    if (found?.status === 'waiting' && found.file !== undefined) return 'known';
    const { name, size } = file;
    const fresh = {
      id,
      name,
      size,
      status: 'waiting',
      isRunning: false,
      pickedUpAt: 0,
      problem: '',
      link: '',
    } as const;
    const entry: Entry = found ?? { ...fresh };
    entry.file = file;
    entry.status = 'waiting';
    this.#entries.set(id, entry);
    this.#schedule();
    return found === undefined ? 'new' : 'again';
  }

  async isSame(id: string, file: File): Promise<boolean> {
    return idOf(file) === id;
  }

  async pause(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry?.status !== 'waiting') return;
    entry.status = 'paused';
    entry.isRunning = false;
    entry.up?.pause();
    this.#schedule();
  }

  async resume(id: string): Promise<boolean> {
    const entry = this.#entries.get(id);
    if (entry?.file === undefined) return false;
    entry.status = 'waiting';
    this.#schedule();
    return true;
  }

  async remove(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    page.localStorage.removeItem(prefix + id);
    this.#schedule();
    if (entry === undefined || entry.status === 'done') return;
    const { file, state } = entry;
    if (entry.up === undefined && file !== undefined && state !== undefined) this.#begin(entry, file);
    await entry.up?.abort();
  }

  retryNow(): void {
    for (const { up } of this.#entries.values()) up?.retryNow();
  }

  #schedule(): void {
    for (const entry of this.#entries.values()) {
      const running = [...this.#entries.values()].filter(({ isRunning }) => isRunning).length;
      if (running >= concurrency) break;
      const { status, isRunning, file, up } = entry;
      if (status !== 'waiting' || isRunning || file === undefined) continue;
      entry.isRunning = true;
      if (up === undefined) this.#begin(entry, file);
      else up.resume();
    }
    for (const entry of this.#entries.values()) this.#note(entry);
    this.#show();
  }

  #begin(entry: Entry, file: File): void {
    const isEarlier = entry.state?.begun === true;
    const up = upload(this.#url, file, {
      metadata: { filename: file.name },
      state: entry.state,
      retry: patience,
      onProgress: (progress) => {
        entry.progress = progress;
        entry.state = up.state();
        if (progress.state !== 'connecting' && (progress.sent > 0 || !isEarlier)) {
          if (entry.pickedUpAt === 0 && isEarlier) entry.pickedUpAt = progress.committed;
          entry.sent = Math.max(progress.sent, progress.committed);
        }
        this.#note(entry);
        this.#show();
      },
    });
    entry.up = up;
    const end = (outcome: Partial<Entry>): void => {
      Object.assign(entry, outcome, { up: undefined, isRunning: false, progress: undefined });
      this.#schedule();
    };
    up.result.then(
      ({ headers }) => {
        end({ status: 'done', link: String(headers.location ?? ''), state: undefined, file: undefined });
      },
      (error: unknown) => {
        // It waits until the file is chosen again.
        if (isUploadError(error, 'unreadable')) return end({ file: undefined });
        const problem = error instanceof Error ? error.message : String(error);
        const isLost = isUploadError(error) && lost.has(error.code);
        end({ status: 'failed', problem, ...(isLost && { state: undefined }) });
      },
    );
  }

  /** One that cannot be noted is uploaded all the same. */
  #note({ id, name, size, status, sent, link, state }: Entry): void {
    if (!this.#entries.has(id)) return;
    const noted: Noted = { name, size, status, link, state, ...(status === 'paused' && { sent }) };
    const text = JSON.stringify(noted);
    try {
      if (page.localStorage.getItem(prefix + id) !== text) page.localStorage.setItem(prefix + id, text);
    } catch (error) {
      console.warn('this upload cannot go on after the page was closed', error);
    }
  }

  #show(): void {
    this.#onChange([...this.#entries.values()].map(itemOf));
  }
}

const idOf = ({ name, size, lastModified }: File): string => JSON.stringify([name, size, lastModified]);

const itemOf = ({ id, name, size, status, file, isRunning, progress, state, ...entry }: Entry): Item => {
  const moving = isRunning ? progressPhase(progress, state?.begun === true) : 'queued';
  const phase = status !== 'waiting' ? status : file === undefined ? 'lacking' : moving;
  return {
    id,
    name,
    size,
    phase,
    sent: phase === 'done' ? size : entry.sent,
    ...movementOf(phase, progress),
    pickedUpAt: entry.pickedUpAt,
    isKept: phase !== 'lacking', // what is said of all of them is not said of each
    problem: phase === 'failed' ? entry.problem : '',
    link: entry.link,
  };
};
