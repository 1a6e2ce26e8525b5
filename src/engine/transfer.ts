import type { UploadError } from '../errors.ts';
import type { StoreCapabilities } from '../store.ts';
import type { MemoryBudget } from './budget.ts';
import type { LiveUpload } from './live-upload.ts';

/** What a transfer asks of whoever feeds it. */
export interface TransferSource {
  /** `push` had answered false; now there is room again. */
  resume(): void;
  /**
   * No further byte is wanted: a newer request has taken over, the store failed, or the server is stopping.
   * What was delivered already may still be pushed before this returns.
   */
  stop(reason: UploadError): void;
}

export interface TransferOptions {
  readonly upload: LiveUpload;
  readonly budget: MemoryBudget;
  readonly source: TransferSource;
  /** Requests are numbered as they come: of two that bring the same bytes the newer one goes on. */
  readonly arrival: number;
  /** Where the first byte of the body belongs. */
  readonly start: number;
  /** Exclusive; Infinity when nobody said where the body ends. */
  readonly end: number;
  /** A batch is written when it holds this many bytes (the first may be another), … */
  readonly batchBytes: number;
  readonly firstBatchBytes: number;
  /** … or this long after its first byte. */
  readonly flushMs: number;
  /** Batches at the store at once. */
  readonly writesInFlight: number;
}

/** Of a body that may be small the first batch is as large as a content may be that is stored in one step. */
export const batchSizes = (
  most: number,
  supports: StoreCapabilities,
  { start, end = most }: { readonly start: number; readonly end: number | undefined },
): Pick<TransferOptions, 'batchBytes' | 'firstBatchBytes'> => {
  const batchBytes = Math.min(most, supports.batchBytes ?? most);
  return { firstBatchBytes: start === 0 && end <= most ? most : batchBytes, batchBytes };
};

interface Batch {
  readonly buffers: Uint8Array[];
  readonly start: number;
  readonly bytes: number;
}

/** Many tiny chunks fill a batch too: a vector of iovecs has a bound of its own (IOV_MAX). */
const maxChunks = 1024;

/**
 * One request body on its way into an upload. Per chunk it costs an addition, a comparison and an array push;
 * promises and closures are spent per batch.
 */
export class Transfer {
  readonly arrival: number;
  readonly start: number;
  /** Whether the body went on past `limit`. None of that is kept. */
  overrun = false;

  readonly #upload: LiveUpload;
  readonly #budget: MemoryBudget;
  readonly #source: TransferSource;
  #batchLimit: number;
  readonly #laterLimit: number;
  readonly #flushMs: number;
  readonly #maxInFlight: number;
  readonly #wake = (): void => this.#resume();

  #limit: number;
  /** Where the next byte belongs. */
  #position: number;
  /** Up to here nothing is stored, so bytes need not be looked up. */
  #clearUntil: number;
  #batch: Uint8Array[] = [];
  #batchStart: number;
  #batchBytes = 0;
  /** Batches that wait for a place in flight. */
  readonly #ready: Batch[] = [];
  #flushTimer: NodeJS.Timeout | undefined;
  #inFlight = 0;
  /** Whether anything went to the store. */
  #started = false;
  #held = false;
  #closed = false;
  #failure: UploadError | undefined;
  #settled: (() => void) | undefined;
  #end: Promise<void> | undefined;

  constructor(options: TransferOptions) {
    this.arrival = options.arrival;
    this.start = options.start;
    this.#limit = options.end;
    this.#upload = options.upload;
    this.#budget = options.budget;
    this.#source = options.source;
    this.#batchLimit = options.firstBatchBytes;
    this.#laterLimit = options.batchBytes;
    this.#flushMs = options.flushMs;
    this.#maxInFlight = options.writesInFlight;
    this.#position = options.start;
    this.#clearUntil = options.start;
    this.#batchStart = options.start;
  }

  /** Where the next byte of the body belongs: `start` plus all that was delivered and is inside the range. */
  get position(): number {
    return this.#position;
  }

  /** Exclusive bound on what this body may hold. */
  get limit(): number {
    return this.#limit;
  }

  /** The length of the whole has become known: what lies past it is kept no more. */
  bound(length: number): void {
    this.#limit = Math.min(this.#limit, Math.max(length, this.#position));
    this.#clearUntil = Math.min(this.#clearUntil, this.#limit);
  }

  get failure(): UploadError | undefined {
    return this.#failure;
  }

  /** Whether the source is being held back; its silence is then our doing. */
  get held(): boolean {
    return this.#held;
  }

  /** Whether the two would still bring the same bytes. */
  overlaps(start: number, end: number): boolean {
    return this.#position < end && start < this.#limit;
  }

  /** Takes the next chunk of the body. False asks the source to pause until `resume`. */
  push(chunk: Uint8Array): boolean {
    if (this.#closed) return false;
    let rest = chunk;
    if (rest.byteLength > this.#limit - this.#position) {
      this.overrun = true;
      rest = rest.subarray(0, this.#limit - this.#position);
    }
    while (rest.byteLength > 0) {
      const clear = this.#clear();
      if (clear === 0) {
        // Stored already: what is there wins, the repeated bytes are dropped.
        const skip = Math.min(this.#upload.written.runEnd(this.#position) - this.#position, rest.byteLength);
        this.flush();
        this.#position += skip;
        rest = rest.subarray(skip);
      } else {
        const part = rest.byteLength <= clear ? rest : rest.subarray(0, clear);
        this.#append(part);
        rest = rest.subarray(part.byteLength);
      }
    }
    this.feed();
    return !this.#mustHold();
  }

  /** Sends out what has been gathered if a reader waits for it and no earlier batch is on its way. */
  feed(): void {
    if (this.#inFlight === 0 && this.#upload.reader?.isHungry === true) this.flush();
  }

  /** What held the source back may have gone. */
  relieve(): void {
    this.#resume();
  }

  /** Sends out what has been gathered, or queues it behind the writes in flight. */
  flush(): void {
    if (this.#batchBytes > 0) this.#ready.push(this.#takeBatch());
    while (this.#inFlight < this.#maxInFlight) {
      const batch = this.#ready.shift();
      if (batch === undefined) return;
      this.#write(batch);
    }
  }

  /** Ends the source's delivery, with all it has delivered so far kept. */
  stop(reason: UploadError): void {
    if (this.#closed) return;
    this.#source.stop(reason);
    void this.end();
  }

  /**
   * No more bytes will come: resolves when all that came was written. It is not safe yet: that takes a
   * checkpoint. Never rejects; see `failure`.
   */
  end(): Promise<void> {
    this.#end ??= this.#finish();
    return this.#end;
  }

  /**
   * All bytes, when none has gone to the store yet, so that they can be stored together with the upload
   * itself. They are the caller's then.
   */
  takeWhole(): Uint8Array[] | undefined {
    if (
      this.#started ||
      this.#ready.length > 0 ||
      this.#batchStart !== 0 ||
      this.#batchBytes !== this.#position
    ) {
      return undefined;
    }
    this.#budget.release(this.#batchBytes);
    return this.#takeBatch().buffers;
  }

  /** How many bytes from `position` on are not stored. */
  #clear(): number {
    if (this.#position >= this.#clearUntil) {
      this.#clearUntil = Math.min(this.#upload.written.nextStored(this.#position), this.#limit);
    }
    return this.#clearUntil - this.#position;
  }

  #append(part: Uint8Array): void {
    if (this.#batchBytes === 0) {
      this.#batchStart = this.#position;
      if (this.#flushTimer === undefined) this.#flushTimer = setTimeout(() => this.flush(), this.#flushMs);
      else this.#flushTimer.refresh();
    }
    this.#batch.push(part);
    this.#batchBytes += part.byteLength;
    this.#position += part.byteLength;
    this.#budget.take(part.byteLength);
    if (this.#isFull()) this.flush();
  }

  #takeBatch(): Batch {
    const batch = { buffers: this.#batch, start: this.#batchStart, bytes: this.#batchBytes };
    this.#batch = [];
    this.#batchBytes = 0;
    return batch;
  }

  #write({ buffers, start, bytes }: Batch): void {
    this.#started = true;
    this.#batchLimit = this.#laterLimit;
    this.#inFlight++;
    this.#upload.write(buffers, start, bytes).then(
      () => this.#wrote(bytes),
      (error: UploadError) => {
        this.#failure ??= error;
        this.stop(error);
        this.#wrote(bytes);
      },
    );
  }

  #isFull(): boolean {
    return this.#batchBytes >= this.#batchLimit || this.#batch.length >= maxChunks;
  }

  #mustHold(): boolean {
    if (this.#budget.exhausted) {
      this.flush();
      this.#budget.wait(this.#wake);
      this.#held = true;
    } else {
      this.#held = this.#ready.length > 0 || this.#upload.isAhead;
    }
    return this.#held;
  }

  #wrote(bytes: number): void {
    this.#inFlight--;
    this.#budget.release(bytes);
    if (this.#ready.length > 0) this.flush();
    else if (!this.#closed) this.feed();
    if (this.#inFlight === 0) this.#settled?.();
    this.#resume();
  }

  #resume(): void {
    if (!this.#held || this.#closed || this.#mustHold()) return;
    this.#source.resume();
  }

  async #finish(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#flushTimer);
    this.#budget.cancel(this.#wake);
    this.flush();
    if (this.#inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#settled = resolve;
      });
    }
    this.#upload.leave(this);
  }
}
