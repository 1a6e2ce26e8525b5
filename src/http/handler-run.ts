import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Verdict } from '../engine/completion.ts';
import { UploadError } from '../errors.ts';
import { parseDigest } from '../headers/digest.ts';
import { contentDigest } from '../place-file.ts';
import { problemResponse } from '../protocol/problem.ts';
import type { UploadRecord } from '../store.ts';
import type { AnswerHead } from './answer.ts';
import { type RequestContext, restoreContext } from './context.ts';
import { holdRequest } from './held-request.ts';
import type { Handler, Settings } from './options.ts';
import { ResponseCapture } from './response-capture.ts';
import { encodeHead } from './stored-response.ts';
import { handlerUpload, type UploadRequest } from './upload.ts';

/** The request that completes an upload; a retry at start has none. */
export interface CompletingRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The context it has stated itself, if it looks so anyway (`isOriginal`): then it is shown as it is. */
  readonly context?: string | undefined;
}

/** One run of the application's handler on a complete upload, from claim to captured answer. */
export class HandlerRun {
  readonly #settings: Settings;
  readonly #handler: Handler;
  readonly #completing: CompletingRequest | undefined;
  /** The client has been answered before the handler began: it runs for nobody now. */
  #isDetached = false;
  #isRerun = false;
  #attempt = 0;
  #capture: ResponseCapture | undefined;
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

  /**
   * Runs the handler. A throw, a destroyed response and an answer that is not about the content (`isRetriable`)
   * are failures: the bytes are kept for the next attempt.
   */
  readonly process = async (record: UploadRecord): Promise<Verdict> => {
    const { store, responseBytes, onError } = this.#settings;
    this.#attempt = record.attempt;
    const view = handlerUpload(store, record);
    const content = withRejection();
    const read = () => view.upload.read();
    // Once for one client: where a lease was lost, and so was the attempt after it, this one runs for nobody.
    const client = this.#isDetached || this.hasStarted ? undefined : this.#completing;
    const isShown = client?.context !== undefined && client.context === record.context;
    const context = isShown ? undefined : this.#context(record);
    const req = holdRequest(client?.req, context, read, content.reject);
    const res = client?.res ?? new ServerResponse(req);
    const capture = new ResponseCapture(res, responseBytes, client !== undefined);
    this.#isRerun = this.hasStarted;
    this.#capture ??= capture;
    if (!(await this.#hasDigest(record))) {
      this.#instead = new UploadError('digest_mismatch', 'the content is not what was announced', {
        id: record.id,
      });
      const response = encodeHead(problemResponse(this.#instead));
      return { kind: 'finished', response, discard: false, refused: true };
    }
    try {
      const running = this.#run(Object.assign(req, { upload: view.upload }), res, capture, record.id);
      const { status, stored } = await Promise.race([running, content.promise]);
      if (isRetriable(status)) return { kind: 'failed' };
      return { kind: 'finished', response: stored, discard: view.wasMoved(), refused: status >= 400 };
    } catch (cause) {
      this.#instead = new UploadError('handler_failed', 'the handler failed', { id: record.id, cause });
      onError(this.#instead, { id: record.id });
      req.destroy();
      return { kind: 'failed' };
    } finally {
      // As with any request, a handler may answer first and go on reading; a body nobody reads is closed.
      if (req.listenerCount('data') === 0 && req.listenerCount('readable') === 0) req.destroy();
    }
  };

  /** Leaves request and response alone, should the handler not have begun. */
  detach(): void {
    this.#isDetached = true;
  }

  /** Lets the client have what the handler answered, now that it is stored. */
  respond(): void {
    if (this.#instead === undefined && !this.#isRerun) this.#capture?.send();
    else
      this.#capture?.replace(problemResponse(this.#instead ?? new UploadError('handler_failed', 'failed')));
  }

  /** Whether the stored answer is the one of this run: another attempt may have come before it. */
  isAnswer(record: UploadRecord): boolean {
    return this.hasStarted && !this.#isRerun && record.attempt === this.#attempt;
  }

  /** See `ResponseCapture.replace`. */
  replace(head: AnswerHead): void {
    this.#capture?.replace(head);
  }

  /** See `ResponseCapture.answerBeside`. */
  answerBeside(head: AnswerHead): void {
    this.#capture?.answerBeside(head);
  }

  #context({ context, length = 0 }: UploadRecord): RequestContext {
    const text = context ?? '{"method":"POST","url":"/","headers":{}}';
    return restoreContext(text, this.#completing?.req.headers, length);
  }

  async #run(req: UploadRequest, res: ServerResponse, { ended }: ResponseCapture, id: string) {
    const failure = withRejection();
    // A handler may return before its response has ended; only its failure says anything, and only before the
    // end.
    Promise.resolve(this.#handler(req, res)).catch((error: Error) => {
      failure.reject(error);
      if (res.writableEnded) this.#settings.onError(error, { id });
    });
    return Promise.race([ended, failure.promise]);
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

/** A promise that can only reject, and that nobody needs to wait for. */
const withRejection = (): { readonly promise: Promise<never>; reject(error: Error): void } => {
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<never>((_resolve, no) => {
    reject = no;
  });
  promise.catch(() => undefined);
  return { promise, reject: (error) => reject(error) };
};
