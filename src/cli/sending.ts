import { basename } from 'node:path';
import { type SavedUpload, type UploadResult, upload } from '../client/index.ts';
import { isUploadError } from '../errors.ts';
import type { Output } from './output.ts';
import { isRefused, problemOf } from './problems.ts';
import { StateFile } from './state-file.ts';

export interface SendingOptions {
  readonly url: URL;
  readonly parallel: number;
  readonly maxRequestBytes: number | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly name: string | undefined;
  /** Seconds without progress. */
  readonly retryFor: number;
}

/** The server has forgotten it, or never had it. */
const isLost = (error: unknown): boolean =>
  isUploadError(error, 'not_found') ||
  isUploadError(error, 'gone') ||
  isUploadError(error, 'unknown_operation');

/** One source on its way: a file, or `-` for standard input. */
export class Sending {
  readonly #options: SendingOptions;
  readonly #output: Output;
  readonly #signal: AbortSignal;
  readonly #file: string;
  readonly #label: string;
  readonly #state: StateFile | undefined;
  #isAway = false;
  #isKept = false;
  /** Whether nothing can be kept. */
  #isBlind = false;
  #saving: Promise<void> = Promise.resolve();

  private constructor(
    options: SendingOptions,
    output: Output,
    signal: AbortSignal,
    file: string,
    state: StateFile | undefined,
  ) {
    this.#options = options;
    this.#output = output;
    this.#signal = signal;
    this.#file = file;
    this.#label = options.name ?? (file === '-' ? 'stdin' : basename(file));
    this.#state = state;
  }

  static async of(
    options: SendingOptions,
    output: Output,
    signal: AbortSignal,
    file: string,
  ): Promise<Sending> {
    const state = file === '-' ? undefined : await StateFile.of(file, options.url);
    return new Sending(options, output, signal, file, state);
  }

  /** Whether the same command can go on. */
  get isKept(): boolean {
    return this.#isKept && !this.#isBlind;
  }

  /** Rejects with what ended it. */
  async run(): Promise<void> {
    const found = await this.#try((state) => state.load());
    if (found === 'changed')
      this.#output.note(`${this.#file} has changed since its upload began: starting anew`);
    const saved = found === 'changed' ? undefined : found;
    if (saved !== undefined) this.#output.note(`${this.#file}: going on with an upload that was cut off`);
    let result: UploadResult;
    try {
      result = await this.#send(saved);
    } catch (error) {
      if (!isLost(error) || this.#state === undefined) throw error;
      this.#output.note(`${this.#file}: the server no longer has what was sent before: starting anew`);
      await this.#try((state) => state.remove());
      result = await this.#send(undefined);
    }
    await this.#try((state) => state.remove());
    this.#isKept = false;
    this.#tell(result);
  }

  /** What is kept is of no use after an answer that will not be another the next time. */
  async settle(error: unknown): Promise<void> {
    if (!isRefused(error)) return;
    await this.#try((state) => state.remove());
    this.#isKept = false;
  }

  async #send(state: SavedUpload | undefined): Promise<UploadResult> {
    const { url, parallel, maxRequestBytes, headers, retryFor } = this.#options;
    const isStream = this.#state === undefined;
    const filename = this.#options.name ?? (isStream ? undefined : this.#label);
    const up = upload(url, isStream ? process.stdin : this.#file, {
      state,
      parallel,
      maxRequestBytes,
      headers,
      ...(filename !== undefined && { metadata: { filename } }),
      // Of a stream nobody can send the rest: the server need not keep it.
      ...(!isStream && { signal: this.#signal }),
      retry: { maxCount: Number.POSITIVE_INFINITY, maxTimeMs: retryFor * 1000, maxMs: 5_000 },
      onProgress: ({ sent, total, rate, etaMs, state: now }) => {
        this.#keep(up.state());
        if (now === 'reconnecting' && !this.#isAway) {
          this.#isAway = true;
          this.#output.note(`no answer from ${url.origin}; trying again until ${retryFor} s have passed`);
        }
        if (now === 'sending' || now === 'processing') this.#isAway = false;
        this.#output.progress({
          file: this.#file,
          label: this.#label,
          state: now,
          done: sent,
          total,
          rate,
          etaMs,
        });
      },
    });
    const stop = (): void => void up.abort(this.#signal.reason);
    if (isStream) this.#signal.addEventListener('abort', stop, { once: true });
    if (isStream && this.#signal.aborted) stop();
    try {
      return await up.result;
    } finally {
      this.#signal.removeEventListener('abort', stop);
      if (isStream) process.stdin.destroy(); // whoever writes to us may go on for ever
      this.#keep(up.state());
      await this.#saving;
    }
  }

  /** An upload that the server has not named yet leaves nothing to go on with. */
  #keep(saved: SavedUpload | undefined): void {
    if (saved === undefined || !saved.begun || this.#state === undefined) return;
    this.#isKept = true;
    this.#saving = this.#try((state) => state.save(saved));
  }

  /** The upload itself goes on where nothing can be kept of it. */
  async #try<T>(work: (state: StateFile) => Promise<T>): Promise<T | undefined> {
    if (this.#state === undefined) return undefined;
    try {
      return await work(this.#state);
    } catch (error) {
      if (!this.#isBlind) {
        const why = problemOf(error)?.message ?? String(error);
        this.#output.note(`where the upload of ${this.#file} has got to cannot be kept: ${why}`);
      }
      this.#isBlind = true;
      return undefined;
    }
  }

  #tell({ status, headers, body, attempts, bytesSent, bytesResent }: UploadResult): void {
    const { location } = headers;
    const place = location === undefined ? undefined : absolute(location, this.#options.url);
    this.#output.result(`${status} ${place ?? '-'} ${this.#label}`, {
      file: this.#file,
      status,
      location: place ?? null,
      attempts,
      bytesSent,
      bytesResent,
      body: new TextDecoder().decode(body.subarray(0, 64 * 1024)),
    });
  }
}

const absolute = (location: string, base: URL): string =>
  URL.canParse(location, base.href) ? new URL(location, base).href : location;
