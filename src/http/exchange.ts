import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Completion } from '../engine/completion.ts';
import { isWhole } from '../engine/facts.ts';
import type { Lease } from '../engine/lease.ts';
import type { WriteSession } from '../engine/write-session.ts';
import type { Engine } from '../engine.ts';
import { isUploadError, UploadError, unlessGone } from '../errors.ts';
import type { Range } from '../intervals.ts';
import type { Command, Dialect, Identity, Outcome, WriteCommand } from '../protocol/dialect.ts';
import { newToken, uploadId } from '../protocol/identity.ts';
import { pathOf } from '../protocol/session-url.ts';
import { type AnswerHead, answer } from './answer.ts';
import { type BodyEnd, BodySource } from './body.ts';
import { captureContext, isOriginal } from './context.ts';
import { HandlerRun } from './handler-run.ts';
import { sendInformation } from './informational.ts';
import type { Handler, Settings } from './options.ts';
import { decodeResponse } from './stored-response.ts';

/** What every exchange of one `resumable` shares. */
export interface Service {
  readonly engine: Engine;
  readonly dialect: Dialect;
  readonly settings: Settings;
  readonly handler: Handler;
}

type Known = Exclude<Identity, { by: 'none' }>;

/** How soon to ask again for an answer that another process is working on. */
const retryAfterMs = 1000;

/** One request and its response: from the command to what goes on the wire. */
export class Exchange {
  readonly #service: Service;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  /** The client waits for a 100 before it sends its body. */
  #awaitsContinue: boolean;
  #identity: Identity = { by: 'none' };
  /** The secret of an upload whose client came without an identity. */
  #token: string | undefined;
  /** Whether anybody could come back for the upload. */
  #isTold = true;
  /** The context this request has stated, if the application may see the request as it came. */
  #ownContext: string | undefined;

  constructor(service: Service, req: IncomingMessage, res: ServerResponse, awaitsContinue: boolean) {
    this.#service = service;
    this.#req = req;
    this.#res = res;
    this.#awaitsContinue = awaitsContinue;
  }

  /**
   * Carries the command out; every failure ends here, as a response. `pass` hands the request to the
   * application as it is.
   */
  async run(command: Command, pass: () => void): Promise<void> {
    try {
      this.#identity = command.identity;
      switch (command.kind) {
        case 'create':
          return await this.#create(command.length);
        case 'query':
          return await this.#query(command);
        case 'write':
          return await this.#write(command);
        case 'abort':
          return (await this.#abort(command)) ? undefined : pass();
      }
    } catch (error) {
      this.fail(error);
    }
  }

  /** Answers with the failure; one that is not the client's is reported. */
  fail(error: unknown): void {
    const known = internal(error);
    if (!(error instanceof UploadError) || known.cause !== undefined) {
      this.#service.settings.onError(error, { id: known.id });
    }
    if (known.code === 'superseded' || known.code === 'idle') this.#req.socket.destroy();
    else this.#answer({ kind: 'failed', error: known });
  }

  /** "Initial Handshake": an upload without bytes, and its name. */
  async #create(length: number | undefined): Promise<void> {
    const { engine, settings } = this.#service;
    const id = this.#newIdentity();
    await engine.create(id, { length }, settings.metadata(this.#req));
    this.#answer({ kind: 'created' });
  }

  /** "Query Requests". An upload that lacks nothing but its answer gets that from whoever asks. */
  async #query(command: Extract<Command, { kind: 'query' }>): Promise<void> {
    const id = this.#id(command.identity);
    // Of an empty upload this may be the only request the handler will ever see.
    const context = command.length === 0 ? this.#captureContext() : undefined;
    const stored = await this.#service.engine.query(id, { length: command.length, context });
    if (stored === undefined && command.absent === 'refuse')
      throw new UploadError('not_found', 'unknown', { id });
    if (stored === undefined || (stored.record.state === 'open' && !isWhole(stored))) {
      this.#answer({ kind: 'incomplete', received: stored?.received ?? [] });
    } else await this.#complete(id);
  }

  async #abort(command: Extract<Command, { kind: 'abort' }>): Promise<boolean> {
    const id = this.#id(command.identity);
    if (command.absent === 'pass') {
      const stored = await this.#service.engine.find(id).catch(unlessGone);
      if (stored?.record.state !== 'open') return false;
    }
    await this.#service.engine.abort(id);
    this.#answer({ kind: 'aborted' });
    return true;
  }

  /**
   * "Initial Request" and "Resume Requests": the body goes to its place, and then the upload is complete or
   * it is not.
   */
  async #write(command: WriteCommand): Promise<void> {
    const { engine, settings } = this.#service;
    const isNew = command.identity.by === 'none';
    const id = isNew ? this.#newIdentity() : this.#id(command.identity);
    this.#isTold = !isNew;
    const source = new BodySource(this.#req, settings.idleTimeoutMs);
    const hasContent = command.end === undefined || command.end > command.start || command.length === 0;
    const session = await engine.write(
      id,
      {
        ...command,
        absent: isNew ? 'certain' : command.absent,
        context: hasContent ? this.#captureContext() : undefined,
        metadata: settings.metadata(this.#req),
      },
      source,
    );
    if (session.kind === 'gap')
      return this.#answer({ kind: 'incomplete', received: session.stored.received });
    if (session.kind !== 'writing') return this.#complete(id);
    const end = await this.#receive(session, source, command);
    await this.#afterBody(session, end);
  }

  async #receive(session: WriteSession, source: BodySource, command: WriteCommand): Promise<BodyEnd> {
    let endPush: () => void = () => undefined;
    try {
      endPush = await this.#push(session, command);
      this.#continue();
      return await source.run(session.transfer);
    } catch (error) {
      return { kind: 'stopped', reason: internal(error) };
    } finally {
      endPush();
    }
  }

  async #afterBody(session: WriteSession, end: BodyEnd): Promise<void> {
    if (end.kind !== 'clean' && !this.#isTold) {
      await session.abandon();
      if (end.kind === 'stopped') throw end.reason;
      return;
    }
    const finishing = session.finish(end.kind === 'clean', { claim: true });
    const { received, whole, lease } = await finishing.catch(async (error: unknown) => {
      if (!this.#isTold) await this.#service.engine.forget(session.id);
      throw error;
    });
    if (end.kind === 'stopped') throw end.reason;
    if (whole) {
      // A cut connection may have brought the last byte: nobody waits for the answer, but the upload is
      // complete.
      return this.#complete(session.id, lease);
    }
    if (end.kind === 'clean') this.#answer({ kind: 'incomplete', received });
  }

  /**
   * 103 Checkpoint, to those who want it: the first at once, with the identity a client without one needs;
   * then whenever more is safe, but no more often than `checkpointPushMs`. Returns the way to end it.
   */
  async #push(session: WriteSession, command: WriteCommand): Promise<() => void> {
    const { checkpoints, checkpointPushMs, onError } = this.#service.settings;
    const wanted = checkpoints === 'always' || (checkpoints === 'on-request' && command.wantsCheckpoints);
    if (!wanted || this.#req.httpVersion !== '1.1') return () => undefined;
    let last = Number.NEGATIVE_INFINITY;
    const push = async (): Promise<void> => {
      if (Date.now() - last < checkpointPushMs) return;
      last = Date.now();
      const received = await session.acknowledge();
      if (this.#inform(received)) this.#isTold = true;
    };
    if (!this.#isTold) {
      await session.establish();
      if (this.#inform([])) this.#isTold = true;
      last = Date.now();
    }
    return session.onCheckpoint(() => {
      push().catch((error: unknown) => {
        if (!isUploadError(error, 'gone')) onError(error, { id: session.id }); // one that is gone ends with the body
      });
    });
  }

  #inform(received: readonly Range[]): boolean {
    const head = this.#service.dialect.response({ kind: 'checkpoint', received }, this.#context());
    return sendInformation(this.#req, this.#res, head);
  }

  /**
   * Waits for the answer of a complete upload, running the handler if nobody does; then gives it, or asks for
   * patience.
   */
  async #complete(id: string, lease?: Lease): Promise<void> {
    const { engine, settings, handler } = this.#service;
    const completing = { req: this.#req, res: this.#res, context: this.#ownContext };
    const run = new HandlerRun(settings, handler, completing);
    const completion = engine.complete(id, run.process, lease);
    // Whoever was never told how to come back cannot be asked to: it waits, as it would without us.
    const patience = sleep(this.#isTold ? settings.completeWaitMs : undefined);
    try {
      const result = await Promise.race([completion, patience.over]);
      if (result !== undefined) return await this.#conclude(result, run);
      if (run.hasStarted) run.answerBeside(this.#processing());
      else {
        run.detach();
        this.#send(this.#processing());
      }
      await completion;
      run.respond();
    } catch (error) {
      if (!run.hasStarted) throw error;
      settings.onError(error, { id });
      run.replace(this.#failure(internal(error)));
    } finally {
      patience.cancel();
    }
  }

  async #conclude(completion: Completion, run: HandlerRun): Promise<void> {
    if (completion.kind === 'finished' && !run.isAnswer(completion.record)) {
      // "An operation that has already completed": answered as it was, and never processed again.
      const { response = '' } = completion.record;
      if (run.hasStarted) run.replace(decodeResponse(response));
      else this.#send(decodeResponse(response));
    } else if (run.hasStarted && completion.kind !== 'running') {
      run.respond();
      // A client that has heard of the failure and has no way to come back will begin anew.
      if (completion.kind === 'failed' && !this.#isTold && !this.#res.destroyed) await this.#forget();
    } else if (run.hasStarted) run.replace(this.#processing());
    else this.#send(this.#processing());
  }

  async #forget(): Promise<void> {
    if (this.#token === undefined) return;
    await this.#service.engine.forget(this.#id({ by: 'session', token: this.#token }));
  }

  #answer(outcome: Outcome): void {
    // What a partial first request is answered with names the upload, so that it can be gone on with.
    if (outcome.kind === 'incomplete') this.#isTold = true;
    this.#send(this.#service.dialect.response(outcome, this.#context()));
  }

  #send(head: AnswerHead): void {
    answer(this.#req, this.#res, head, this.#service.settings, this.#awaitsContinue);
  }

  #processing(): AnswerHead {
    return this.#service.dialect.response({ kind: 'processing', retryAfterMs }, this.#context());
  }

  #failure(error: UploadError): AnswerHead {
    return this.#service.dialect.response({ kind: 'failed', error }, this.#context());
  }

  #captureContext(): string {
    const url = this.#service.dialect.plainUrl(this.#req.url ?? '/');
    const isTag = this.#identity.by === 'tag';
    const context = captureContext(this.#req, url, isTag);
    if (!isTag && isOriginal(this.#req, url)) this.#ownContext = context;
    return context;
  }

  #context() {
    const url = this.#service.dialect.plainUrl(this.#req.url ?? '/');
    return { identity: this.#identity, token: this.#token, url };
  }

  #continue(): void {
    if (!this.#awaitsContinue) return;
    this.#awaitsContinue = false;
    this.#res.writeContinue();
  }

  #newIdentity(): string {
    this.#token = newToken();
    return this.#id({ by: 'session', token: this.#token });
  }

  #id(identity: Identity): string {
    const owner = this.#service.settings.owner(this.#req);
    return uploadId(identity as Known, { owner, path: pathOf(this.#req.url ?? '/') });
  }
}

const internal = (error: unknown): UploadError =>
  error instanceof UploadError
    ? error
    : new UploadError('invalid_argument', 'internal error', { cause: error });

/** Undefined: for ever. */
const sleep = (ms: number | undefined): { readonly over: Promise<undefined>; cancel(): void } => {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<undefined>((resolve) => {
    if (ms !== undefined) timer = setTimeout(() => resolve(undefined), ms);
  });
  return { over, cancel: () => clearTimeout(timer) };
};
