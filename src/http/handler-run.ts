import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Verdict } from '../engine/completion.ts';
import type { Follower } from '../engine/follower.ts';
import { isUploadError, UploadError } from '../errors.ts';
import { parseDigest } from '../headers/digest.ts';
import { contentDigest } from '../place-file.ts';
import { problemResponse } from '../protocol/problem.ts';
import type { UploadRecord } from '../store.ts';
import type { AnswerHead } from './answer.ts';
import { type RequestContext, restoreContext } from './context.ts';
import { holdRequest } from './held-request.ts';
import type { Handler, Settings } from './options.ts';
import { standIn } from './request-halves.ts';
import { ResponseCapture } from './response-capture.ts';
import { encodeHead } from './stored-response.ts';
import { handlerUpload, type UploadRequest } from './upload.ts';

/** The request that completes an upload; a retry at start has none. */
export interface CompletingRequest {
  /** Its body has been read to its end, or taken from it. */
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The context it has stated itself, if it looks so anyway (`isOriginal`): then it is shown as it is. */
  readonly context?: string | undefined;
  /** Whether the handler can run with this request only. */
  readonly isBound?: boolean | undefined;
}

/** One run of the application's handler on an upload, from claim to captured answer. */
export class HandlerRun {
  readonly #settings: Settings;
  readonly #handler: Handler;
  readonly #completing: CompletingRequest | undefined;
  /** Whether an exchange waits for the answer, and will see to what becomes of it. */
  isAwaited = false;
  /** The client has been answered before the handler began: it runs for nobody now. */
  #isDetached = false;
  #isRerun = false;
  #attempt = 0;
  #capture: ResponseCapture | undefined;
  #held: IncomingMessage | undefined;
  /** The answer is ours, not the handler's: the content is not what was announced, or the handler failed. */
  #instead: UploadError | undefined;

  constructor(settings: Settings, handler: Handler, completing?: CompletingRequest) {
    this.#settings = settings;
    this.#handler = handler;
    this.#completing = completing;
  }

  /** Whether it was this run, of all that asked, that entered the handler. */
  get hasStarted(): boolean {
    return this.#capture !== undefined;
  }

  /** Whether the handler has ended its response. */
  get hasEnded(): boolean {
    return this.#capture?.isEnded === true;
  }

  /**
   * Runs the handler. A throw, a destroyed response and an answer that is not about the content (`isRetriable`)
   * are failures: the bytes are kept for the next attempt. With `content`, of an upload that is still coming.
   */
  readonly process = async (record: UploadRecord, content?: Follower): Promise<Verdict> => {
    const { store, onError } = this.#settings;
    this.#attempt = record.attempt;
    const view = handlerUpload(store, record, content);
    const body = withRejection();
    // Once for one client: where a lease was lost, and so was the attempt after it, this one runs for nobody.
    const client = this.#isDetached || this.hasStarted ? undefined : this.#completing;
    if (client === undefined && this.#completing?.isBound === true) return { kind: 'failed' };
    const isShown = client?.context !== undefined && client.context === record.context;
    const req = holdRequest(client?.req, isShown ? undefined : this.#context(record), {
      open: () => content ?? view.upload.read(),
      ...(content !== undefined && { confirm: () => this.#confirm(record.id) }),
      onFailure: body.reject,
    });
    const capture = this.#start(req, client);
    if (content === undefined && !(await this.#hasDigest(record))) return this.#mismatch(record.id);
    try {
      const running = this.#run(Object.assign(req, { upload: view.upload }), capture, record.id);
      const { status, stored } = await Promise.race([running, body.promise]);
      if (isRetriable(status)) return { kind: 'failed' };
      return { kind: 'finished', response: stored, discard: view.wasMoved(), refused: status >= 400 };
    } catch (cause) {
      req.destroy();
      if (isUploadError(cause, 'digest_mismatch')) return this.#mismatch(record.id);
      this.#instead = new UploadError('handler_failed', 'the handler failed', { id: record.id, cause });
      if (!isNoFailure(cause)) onError(this.#instead, { id: record.id });
      return { kind: 'failed' };
    } finally {
      capture.onGone = () => undefined;
      // As with any request, a handler may answer first and go on reading; a body nobody reads is closed.
      if (req.listenerCount('data') === 0 && req.listenerCount('readable') === 0) req.destroy();
    }
  };

  /** Leaves request and response alone, should the handler not have begun. */
  detach(): void {
    this.#isDetached = true;
  }

  /**
   * Lets the client have what the handler answered, now that it is stored. See `ResponseCapture.send` for
   * `hold`.
   */
  respond(hold?: (end: () => void) => void): void {
    if (this.#instead === undefined && !this.#isRerun) this.#capture?.send(hold);
    else this.replace(problemResponse(this.#instead ?? new UploadError('handler_failed', 'failed')), hold);
  }

  /** Whether the stored answer is the one of this run: another attempt may have come before it. */
  isAnswer(record: UploadRecord): boolean {
    return this.hasStarted && !this.#isRerun && record.attempt === this.#attempt;
  }

  /** The trailers of a body that came over many connections are those of the last. */
  addTrailers({ trailers, trailersDistinct, rawTrailers }: IncomingMessage): void {
    if (this.#held !== undefined && rawTrailers.length > 0) {
      Object.assign(this.#held, { trailers, trailersDistinct, rawTrailers });
    }
  }

  /** See `ResponseCapture.attach`. */
  attach(res: ServerResponse): void {
    this.#capture?.attach(res);
  }

  /** See `ResponseCapture.replace`. */
  replace(head: AnswerHead, hold?: (end: () => void) => void): void {
    this.#capture?.replace(head, hold);
  }

  /** See `ResponseCapture.answerBeside`. */
  answerBeside(head: AnswerHead, hold?: (end: () => void) => void): void {
    this.#capture?.answerBeside(head, hold);
  }

  #context({ context, length }: UploadRecord): RequestContext {
    const text = context ?? '{"method":"POST","url":"/","headers":{}}';
    return restoreContext(text, this.#completing?.req.headers, length);
  }

  #start(req: IncomingMessage, client: CompletingRequest | undefined): ResponseCapture {
    const res = client?.res ?? new ServerResponse(req);
    const capture = new ResponseCapture(res, this.#settings.responseBytes, client !== undefined);
    // Whether a body can still come is no more a question of the connection.
    const stand = (): void => {
      req.socket = standIn(req.socket);
    };
    if (req.socket.readable) capture.onGone = stand;
    else stand();
    this.#isRerun = this.hasStarted;
    this.#capture ??= capture;
    this.#held = req;
    return capture;
  }

  async #run(req: UploadRequest, { res, ended }: ResponseCapture, id: string) {
    const failure = withRejection();
    // A handler may return before its response has ended; only its failure says anything, and only before the
    // end.
    new Promise((resolve) => resolve(this.#handler(req, res))).catch((error: Error) => {
      failure.reject(error);
      if (res.writableEnded) this.#settings.onError(error, { id });
    });
    return Promise.race([ended, failure.promise]);
  }

  /** Our answer in the place of the handler's: this content will never be the right one. */
  #mismatch(id: string): Verdict {
    this.#instead = new UploadError('digest_mismatch', 'the content is not what was announced', { id });
    const response = encodeHead(problemResponse(this.#instead));
    return { kind: 'finished', response, discard: false, refused: true };
  }

  /** Rejects with `digest_mismatch`: a handler is not to take the end of a wrong content for its success. */
  async #confirm(id: string): Promise<void> {
    const stored = await this.#settings.store.load(id);
    if (stored === undefined || (await this.#hasDigest(stored.record))) return;
    throw new UploadError('digest_mismatch', 'the content is not what was announced', { id });
  }

  async #hasDigest({ id, digest, length = 0 }: UploadRecord): Promise<boolean> {
    const expected = digest === undefined ? undefined : parseDigest(digest);
    if (expected === undefined) return true;
    return (await contentDigest(this.#settings.store.read(id, 0, length), expected.hash)) === expected.value;
  }
}

/**
 * Answers that say "not now" or "not you" to the request at hand, rather than anything about the content:
 * another one, with fresh credentials or at another time, may do better.
 */
const isRetriable = (status: number): boolean => status >= 500 || [401, 407, 408, 425, 429].includes(status);

/** The client has gone, the upload has, or the server is stopping: none of it the handler's doing. */
const isNoFailure = (cause: unknown): boolean =>
  isUploadError(cause) && ['interrupted', 'gone', 'closing'].includes(cause.code);

/** A promise that can only reject, and that nobody needs to wait for. */
const withRejection = (): { readonly promise: Promise<never>; reject(error: Error): void } => {
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<never>((_resolve, no) => {
    reject = no;
  });
  promise.catch(() => undefined);
  return { promise, reject: (error) => reject(error) };
};
