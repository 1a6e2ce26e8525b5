import type { OpenStream, Source } from './content.ts';
import type { Settings } from './options.ts';
import type { UploadProgress } from './progress.ts';
import { ReplaySource } from './replay.ts';
import { Run, type UploadResult } from './run.ts';
import type { SavedUpload } from './saved.ts';
import type { Transport } from './transport.ts';

export interface Upload<Body extends Uint8Array = Uint8Array> extends AsyncIterable<UploadProgress> {
  /**
   * The final answer, when its status is 2xx. Rejects with an `UploadFailedError` for any other end, with the
   * signal's reason when aborted. Every connection, timer and file handle is released by then.
   */
  readonly result: Promise<UploadResult<Body>>;
  /** Ends the requests under way; nothing is sent until `resume()`. What the server has stays there. */
  pause(): void;
  resume(): void;
  /** Ends a back-off: the next try begins at once, as when a network is there again. A Retry-After is still obeyed. */
  retryNow(): void;
  /**
   * Gives the upload up: the server is told to remove it, and `result` rejects with `reason` (by default an
   * `AbortError`). Resolves when that is done.
   */
  abort(reason?: unknown): Promise<void>;
  /**
   * Plain data with which another process can go on: `upload(url, sameSource, { state })`. Undefined until the source
   * is open.
   */
  state(): SavedUpload | undefined;
  /** Progress, the newest only: a slow reader misses some. Ends with the upload, and throws what that throws. */
  [Symbol.asyncIterator](): AsyncGenerator<UploadProgress, void, undefined>;
}

/** Runs it in the background of the handle it returns. */
export const startUpload = <Body extends Uint8Array>(
  url: URL,
  open: () => Promise<Source | OpenStream>,
  settings: Settings,
  transport: Transport,
  bodyOf: (bytes: Uint8Array) => Body,
): Upload<Body> => {
  let run: Run | undefined;
  let wanted: 'run' | 'pause' | { readonly reason: unknown } = 'run';
  const events: ((run: Run) => void)[] = [];

  const main = async (): Promise<UploadResult<Body>> => {
    settings.signal?.throwIfAborted();
    const opened = await open();
    const source = 'bytes' in opened ? new ReplaySource(opened, settings.replayBufferBytes) : opened;
    try {
      const started = new Run(url, source, settings, transport);
      run = started;
      for (const listener of events) listener(started);
      if (wanted === 'pause') started.pause();
      else if (wanted !== 'run') started.cancel(wanted.reason);
      const result = await started.result();
      return { ...result, body: bodyOf(result.body) };
    } finally {
      await source.close();
    }
  };
  const result = main();

  return {
    result,
    pause() {
      if (wanted === 'run') wanted = 'pause';
      run?.pause();
    },
    resume() {
      if (wanted === 'pause') wanted = 'run';
      run?.resume();
    },
    retryNow() {
      run?.retryNow();
    },
    async abort(reason = new DOMException('The upload was aborted', 'AbortError')) {
      wanted = { reason };
      run?.cancel(reason);
      await result.catch(() => undefined); // whoever holds `result` is told
    },
    state: () => run?.save(),
    async *[Symbol.asyncIterator]() {
      // Whoever only reads the events is thrown the failure here.
      const ended = result.then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      const started =
        run ?? (await Promise.race([ended, new Promise<Run>((resolve) => events.push(resolve))]));
      if (started instanceof Run) {
        void ended.then((failure) => started.events.end(failure));
        yield* started.events.read();
      }
      const failure = await ended;
      if (failure !== undefined) throw failure.error;
    },
  };
};
