import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { UploadError } from '../../src/errors.ts';
import { driverPath } from './driver.ts';
import { busyTimeoutMs, migrations, writerPragmas } from './schema.ts';
import { type Change, statements, type Value } from './statements.ts';

/** Changes in one transaction at the most: it bounds how long the first of them waits for the last. */
const mostChanges = 512;

/** Batches at the thread at once: while one is committed, the next is on its way. */
const batchesInFlight = 2;

/** What the thread says of a change that it could not carry out. */
interface Failure {
  readonly code: string;
  readonly message: string;
}

interface Waiting {
  readonly change: Change;
  resolve(touched: number): void;
  reject(error: Error): void;
}

/**
 * Changes the index, by a thread of its own. All that is asked for in one turn of the event loop, and while
 * earlier changes are being committed, is one transaction: a thousand uploads that make a checkpoint at once cost
 * one sync.
 */
export class Committer {
  readonly #thread: Worker;
  #queue: Waiting[] = [];
  /** Batches at the thread, in order. */
  readonly #sent: (readonly Waiting[])[] = [];
  #isScheduled = false;
  #failure: UploadError | undefined;
  #onIdle: (() => void) | undefined;

  private constructor(thread: Worker) {
    this.#thread = thread;
    thread.on('message', (results: (number | Failure)[]) => this.#settle(results));
    thread.on('error', (cause) => this.#fail(cause));
    thread.on('exit', () => this.#fail(new Error('the thread has ended')));
    thread.unref();
  }

  /** Opens the index, made or brought up to date where need be. Rejects with the system's or SQLite's error. */
  static async open(file: string, power: boolean): Promise<Committer> {
    const thread = new Worker(new URL('./commit-thread.js', import.meta.url), {
      execArgv: [],
      workerData: {
        driver: driverPath(),
        file,
        busyTimeoutMs,
        pragmas: writerPragmas(power),
        migrations,
        statements,
      },
    });
    const [answer] = (await once(thread, 'message')) as ['ready' | Failure];
    if (answer !== 'ready') throw systemError(answer);
    return new Committer(thread);
  }

  /** False once the thread has ended, by itself or by `close`. */
  get isUsable(): boolean {
    return this.#failure === undefined;
  }

  /** Resolves with the number of rows the first step touched, once the change is committed. */
  commit(change: Change): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#queue.push({ change, resolve, reject });
      if (this.#isScheduled || this.#sent.length >= batchesInFlight) return;
      this.#isScheduled = true;
      setImmediate(this.#flush);
    });
  }

  /** Waits for what was asked for, and ends the thread. */
  async close(): Promise<void> {
    if (this.#queue.length > 0 || this.#sent.length > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    this.#failure ??= new UploadError('store_failed', 'the store is closed');
    const exited = once(this.#thread, 'exit');
    this.#thread.ref();
    this.#thread.postMessage('close');
    await exited;
  }

  readonly #flush = (): void => {
    this.#isScheduled = false;
    while (this.#queue.length > 0 && this.#sent.length < batchesInFlight) {
      const batch = this.#queue.splice(0, mostChanges);
      this.#sent.push(batch);
      this.#thread.ref(); // somebody waits for it
      this.#thread.postMessage(flatten(batch));
    }
  };

  #settle(results: readonly (number | Failure)[]): void {
    const batch = this.#sent.shift() ?? [];
    if (this.#sent.length === 0) this.#thread.unref();
    this.#flush();
    results.forEach((result, n) => {
      if (typeof result === 'number') batch[n]?.resolve(result);
      else batch[n]?.reject(systemError(result));
    });
    if (this.#queue.length === 0 && this.#sent.length === 0) this.#onIdle?.();
  }

  /** The thread is gone: whether it has committed what it was given is unknown. */
  #fail(cause: Error): void {
    this.#failure ??= new UploadError('store_failed', 'the index can be changed no more', { cause });
    for (const { reject } of [...this.#sent.splice(0).flat(), ...this.#queue.splice(0)]) {
      reject(this.#failure);
    }
    this.#onIdle?.();
  }
}

/**
 * A batch as one array of values, which costs half of what as many objects do on their way to another thread: for
 * each change the number of its steps, for each step its statement, the number of its values, and these.
 */
const flatten = (batch: readonly Waiting[]): Value[] => {
  const flat: Value[] = [];
  for (const { change } of batch) {
    flat.push(change.length);
    for (const { statement, values } of change) flat.push(statement, values.length, ...values);
  }
  return flat;
};

/** What the system says in the same case. */
const codes: Readonly<Record<string, string>> = { SQLITE_FULL: 'ENOSPC', SQLITE_BUSY: 'EBUSY' };

const systemError = ({ code, message }: Failure): Error =>
  Object.assign(new Error(`${code}: ${message}`), { code: codes[code] ?? 'EIO' });
