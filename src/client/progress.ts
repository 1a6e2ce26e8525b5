/**
 * `connecting`: nothing was sent yet. `sending`: bytes are under way. `reconnecting`: after a failure, between
 * requests or asking what the server has. `processing`: all bytes are there, the answer is not. `paused`: by
 * `pause()`. `done`: the final answer is here.
 */
export type UploadState = 'connecting' | 'sending' | 'reconnecting' | 'processing' | 'paused' | 'done';

/** In bytes and milliseconds. `sent` and `committed` never fall. */
export interface UploadProgress {
  /** How much of the content has been handed to the network at least once; not yet proof of anything. */
  readonly sent: number;
  /** The most the server has ever said it holds. */
  readonly committed: number;
  /** Infinity while the end of a stream was not seen. */
  readonly total: number;
  /** Of new content, per second, over the last few seconds. */
  readonly rate: number;
  /** Until all is sent, at this rate; Infinity when that can't be told. */
  readonly etaMs: number;
  readonly state: UploadState;
}

const windowMs = 5_000;
const sampleMs = 100;

/** How fast a number grows, over the last few seconds. */
export class RateMeter {
  readonly #samples: { readonly at: number; readonly value: number }[] = [];

  /** Per second. */
  rate(value: number, now = performance.now()): number {
    const samples = this.#samples;
    const last = samples.at(-1);
    if (last === undefined || now - last.at >= sampleMs) samples.push({ at: now, value });
    while (samples.length > 2 && now - (samples[0]?.at ?? now) > windowMs) samples.shift();
    const [first] = samples;
    if (first === undefined || now <= first.at) return 0;
    return Math.max(0, ((value - first.value) * 1000) / (now - first.at));
  }
}

interface Reader<T> {
  latest: T | undefined;
  wake: () => void;
}

/** Keeps the newest event only: who reads slowly misses some and holds up nobody. */
export class Latest<T> {
  readonly #readers = new Set<Reader<T>>();
  #ended: { readonly error?: unknown } | undefined;
  #last: T | undefined;

  publish(event: T): void {
    this.#last = event;
    for (const reader of this.#readers) {
      reader.latest = event;
      reader.wake();
    }
  }

  /** With `error`, readers are thrown that after the last event. */
  end(ended: { readonly error?: unknown } = {}): void {
    this.#ended ??= ended;
    for (const reader of this.#readers) reader.wake();
  }

  /** From the last event on. Ends with the upload: by throwing, if it failed. */
  async *read(): AsyncGenerator<T, void, undefined> {
    const reader: Reader<T> = { latest: this.#last, wake: () => {} };
    this.#readers.add(reader);
    try {
      for (;;) {
        const { latest } = reader;
        if (latest !== undefined) {
          reader.latest = undefined;
          yield latest;
        } else if (this.#ended !== undefined) {
          if ('error' in this.#ended) throw this.#ended.error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            reader.wake = resolve;
          });
        }
      }
    } finally {
      this.#readers.delete(reader);
    }
  }
}
