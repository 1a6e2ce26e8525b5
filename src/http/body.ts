import type { IncomingMessage } from 'node:http';
import type { Transfer, TransferSource } from '../engine/transfer.ts';
import { UploadError } from '../errors.ts';

/** How the body of a request ended. */
export type BodyEnd =
  /** The message is complete. */
  | { readonly kind: 'clean' }
  /** The connection went away before that. */
  | { readonly kind: 'cut' }
  /** We want no more of it, or waited too long for more. */
  | { readonly kind: 'stopped'; readonly reason: UploadError };

/**
 * Feeds the body of a request into a transfer, straight from the 'data' event. The idle clock runs only while
 * the client could send: time during which we hold the socket back is not its silence.
 */
export class BodySource implements TransferSource {
  readonly #req: IncomingMessage;
  readonly #idleMs: number;
  #transfer: Transfer | undefined;
  #clock: NodeJS.Timeout | undefined;
  #reason: UploadError | undefined;
  #settle: ((end: BodyEnd) => void) | undefined;
  #ended = false;

  constructor(req: IncomingMessage, idleMs: number) {
    this.#req = req;
    this.#idleMs = idleMs;
  }

  /** Throws where somebody has read the body already: before anything is begun that would wait for it. */
  assertUnread(): void {
    if (this.#req.readableEnded) throw bodyConsumed();
  }

  /**
   * Resolves when the body has ended in one way or another; then nothing of ours listens to the request any
   * more. After a clean end the request has emitted 'close' too, so its stream is at rest.
   */
  run(transfer: Transfer): Promise<BodyEnd> {
    this.#transfer = transfer;
    return new Promise((resolve) => {
      this.#settle = resolve;
      if (this.#reason !== undefined) return this.#end({ kind: 'stopped', reason: this.#reason });
      if (this.#req.destroyed && !this.#req.readableEnded) return this.#end({ kind: 'cut' });
      if (this.#req.readableDidRead) return this.#end({ kind: 'stopped', reason: bodyConsumed() });
      this.#clock = setTimeout(this.#onIdle, this.#idleMs);
      this.#req
        .on('data', this.#onData)
        .on('end', this.#onEnd)
        .on('close', this.#onClose)
        .on('error', ignore);
    });
  }

  resume(): void {
    this.#clock?.refresh();
    this.#req.resume();
  }

  stop(reason: UploadError): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    // What Node has read from the socket already was delivered: reading it emits 'data'.
    if (this.#settle !== undefined) while (this.#req.read() !== null);
    this.#end({ kind: 'stopped', reason });
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#clock?.refresh();
    if (this.#transfer?.push(chunk) === false) this.#req.pause();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
  };

  readonly #onClose = (): void => {
    this.#end(this.#ended && this.#req.complete ? { kind: 'clean' } : { kind: 'cut' });
  };

  readonly #onIdle = (): void => {
    if (this.#transfer?.held === true) this.#clock?.refresh();
    else this.stop(new UploadError('idle', 'no byte arrived in time', { expected: this.#idleMs }));
  };

  #end(end: BodyEnd): void {
    if (this.#settle === undefined) return;
    clearTimeout(this.#clock);
    this.#req.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    if (end.kind === 'clean') this.#req.off('error', ignore);
    this.#req.pause();
    this.#settle(end);
    this.#settle = undefined;
  }
}

/** An aborted request errors and then closes; 'close' is what counts. */
const ignore = (): void => undefined;

const bodyConsumed = (): UploadError =>
  new UploadError('invalid_argument', 'the body was read already: put resumable before any body parser', {
    cause: new Error('bytes had been read from the request before its upload began'),
  });
