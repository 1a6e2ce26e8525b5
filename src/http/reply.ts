import type { IncomingMessage, ServerResponse } from 'node:http';
import { UploadError } from '../errors.ts';
import type { Range } from '../intervals.ts';
import type { Identity, Outcome } from '../protocol/dialect.ts';
import { type AnswerHead, answer, drain, isUnread } from './answer.ts';
import type { Arrival, Service } from './exchange.ts';
import type { HandlerRun } from './handler-run.ts';
import { sendInformation } from './informational.ts';
import { returnBody, takeBody } from './request-halves.ts';

/** How soon to ask again for an answer that another process is working on. */
const retryAfterMs = 1000;

/** What one exchange says to its client, and what of the request's body has to be read before it may. */
export class Reply {
  /** How the request names its upload. */
  identity: Identity = { by: 'none' };
  /** The secret of an upload whose client came without an identity. */
  token: string | undefined;
  /** Whether anybody could come back for the upload. */
  isTold = true;
  /** Of a whole upload. */
  length: number | undefined;

  readonly res: ServerResponse;
  readonly #service: Service;
  readonly #arrival: Arrival;
  /** The client waits for a 100 before it sends its body. */
  #awaitsContinue: boolean;
  #body: IncomingMessage;
  /** Has our response while the handler answers: what we have to say goes beside it. */
  #run: HandlerRun | undefined;

  constructor(service: Service, arrival: Arrival) {
    this.#service = service;
    this.#arrival = arrival;
    this.#awaitsContinue = arrival.awaitsContinue === true;
    this.#body = arrival.req;
    this.res = arrival.res;
  }

  /** The request's body as it arrives. */
  get body(): IncomingMessage {
    return this.#body;
  }

  /** The request target as the client sent it. */
  get target(): string {
    return this.#arrival.target ?? this.#arrival.req.url ?? '/';
  }

  /** From now on the response is the handler's. */
  lendTo(run: HandlerRun): void {
    this.#run = run;
  }

  /** Frees the request object for the handler: what arrives is ours from now on. */
  takeBody(): IncomingMessage {
    if (this.#body === this.#arrival.req) this.#body = takeBody(this.#arrival.req);
    return this.#body;
  }

  answer(outcome: Outcome): void {
    // What a partial first request is answered with names the upload, so that it can be gone on with.
    if (outcome.kind === 'incomplete') this.isTold = true;
    this.send(this.head(outcome));
  }

  send(head: AnswerHead): void {
    if (this.#run !== undefined) return this.#run.answerBeside(head, this.hold);
    answer(this.#body, this.res, head, this.#service.settings, this.#awaitsContinue);
  }

  /** 103 (Checkpoint); says whether it was sent. */
  inform(received: readonly Range[]): boolean {
    return sendInformation(this.#arrival.req, this.res, this.head({ kind: 'checkpoint', received }));
  }

  /** 100 (Continue), to a client that waits for it. */
  proceed(): void {
    if (!this.#awaitsContinue) return;
    this.#awaitsContinue = false;
    this.res.writeContinue();
  }

  /** Where an answer of the handler's own has to wait for the body it did not want: the way to wait. */
  get hold(): ((end: () => void) => void) | undefined {
    if (!isUnread(this.#body) || this.#awaitsContinue) return undefined;
    return (end) => drain(this.#body, this.#service.settings, end);
  }

  head(outcome: Outcome): AnswerHead {
    const { dialect, settings } = this.#service;
    // A failure names no place, and may be one of this very function.
    const origin = outcome.kind === 'failed' ? undefined : settings.origin(this.#arrival.req);
    const url = dialect.plainUrl(this.target);
    return dialect.response(outcome, { identity: this.identity, token: this.token, url, origin });
  }

  processing(): AnswerHead {
    return this.head({ kind: 'processing', retryAfterMs, length: this.length });
  }

  /** Tells the application of a failure that is not the client's. */
  report(error: unknown): undefined {
    const { code, cause, id } = internal(error);
    if (code === 'invalid_argument' || cause !== undefined) this.#service.settings.onError(error, { id });
  }

  /** Answers with the failure; one that is not the client's is reported. */
  fail(error: unknown): void {
    const known = internal(error);
    this.report(error);
    if (known.code === 'superseded' || known.code === 'idle') {
      this.#arrival.req.socket.destroy();
      return;
    }
    const head = this.head({ kind: 'failed', error: known });
    const { fail } = this.#arrival;
    if (fail === undefined || head.status < 500 || this.#run !== undefined) return this.send(head);
    // An error handler may read the body to its end, so that the client gets to read the answer.
    if (this.#body !== this.#arrival.req) returnBody(this.#arrival.req);
    fail(Object.assign(known, { statusCode: head.status, headers: head.headers }));
  }
}

export const internal = (error: unknown): UploadError =>
  error instanceof UploadError
    ? error
    : new UploadError('invalid_argument', 'internal error', { cause: error });
