import type { IncomingMessage, ServerResponse } from 'node:http';
import { isWhole, type Terms } from '../engine/facts.ts';
import type { WriteSession } from '../engine/write-session.ts';
import type { Engine } from '../engine.ts';
import { isUploadError, UploadError, unlessGone } from '../errors.ts';
import type { Command, Dialect, Identity, WriteCommand } from '../protocol/dialect.ts';
import { newToken, uploadId } from '../protocol/identity.ts';
import { pathOf } from '../protocol/session-url.ts';
import { type BodyEnd, BodySource } from './body.ts';
import { Completing, type Running } from './completing.ts';
import { captureContext, isOriginal } from './context.ts';
import { checkedTerms, oneAtATime, type Refusal, refusalHead, statusOf } from './hooks.ts';
import type { Handler, Settings } from './options.ts';
import { internal, Reply } from './reply.ts';
import { noteAddresses } from './request-halves.ts';

/** What every exchange of one service shares. */
export interface Service {
  readonly engine: Engine;
  readonly dialect: Dialect;
  readonly settings: Settings;
  /** Handlers at work on uploads that are still coming, by id. */
  readonly streams: Map<string, Running>;
  /** What has to end before the service may. */
  readonly pending: Set<Promise<void>>;
}

/** A request, and what to do about it. */
export interface Arrival {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** What the application does with the upload, if it comes to that with this request. */
  readonly handler: Handler;
  /** Whether that is something it can do with these two objects only, and not for an upload without a client. */
  readonly isBound?: boolean | undefined;
  /** The request target as the client sent it, where a router has changed `req.url`. */
  readonly target?: string | undefined;
  /** The client waits for a 100 before it sends its body. */
  readonly awaitsContinue?: boolean | undefined;
  /**
   * Is given what is neither the client's nor the handler's failure, with the `statusCode` and the `headers` of the
   * answer, and gives that. By default the answer is an `application/problem+json`.
   */
  readonly fail?: ((error: UploadError & { statusCode: number }) => void) | undefined;
}

type Known = Exclude<Identity, { by: 'none' }>;

/** One request and its response: from the command to what goes on the wire. */
export class Exchange {
  readonly #service: Service;
  readonly #arrival: Arrival;
  readonly #reply: Reply;
  readonly #completing: Completing;
  /** The context this request has stated, if the application may see the request as it came. */
  #ownContext: string | undefined;

  constructor(service: Service, arrival: Arrival) {
    this.#service = service;
    this.#arrival = arrival;
    this.#reply = new Reply(service, arrival);
    this.#completing = new Completing(service, arrival, this.#reply, () => this.#forget());
    noteAddresses(arrival.req.socket);
  }

  /**
   * Carries the command out; every failure ends here, as a response. `pass` hands the request to the
   * application as it is.
   */
  async run(command: Command, pass: () => void): Promise<void> {
    try {
      this.#reply.identity = command.identity;
      if (this.#service.settings.authorize !== undefined && !(await this.#isAllowed(command.identity)))
        return;
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
    this.#reply.fail(error);
  }

  /** Before anything is revealed or stored; a refusal has been answered. */
  async #isAllowed(identity: Identity): Promise<boolean> {
    const { engine, settings } = this.#service;
    const stored =
      identity.by === 'none' ? undefined : await engine.find(this.#id(identity)).catch(unlessGone);
    const refusal = await settings.authorize?.(this.#arrival.req, stored && statusOf(stored));
    if (refusal === undefined) return true;
    this.#refuse(refusal);
    return false;
  }

  /** "Initial Handshake": an upload without bytes, and its name. */
  async #create(length: number | undefined): Promise<void> {
    const id = this.#newIdentity();
    const terms = await this.#terms(id, length);
    if (terms === undefined) return;
    await this.#service.engine.create(id, { length }, terms);
    this.#reply.answer({ kind: 'created' });
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
      this.#reply.answer({ kind: 'incomplete', received: stored?.received ?? [] });
    } else await this.#completing.complete(id, this.#ownContext, stored);
  }

  async #abort(command: Extract<Command, { kind: 'abort' }>): Promise<boolean> {
    const id = this.#id(command.identity);
    if (command.absent === 'pass') {
      const stored = await this.#service.engine.find(id).catch(unlessGone);
      if (stored?.record.state !== 'open') return false;
    }
    await this.#service.engine.abort(id);
    this.#reply.answer({ kind: 'aborted' });
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
    this.#reply.isTold = !isNew;
    const terms = await this.#termsIfNew(id, command);
    if (terms === undefined) return;
    if (settings.mode === 'stream') this.#reply.takeBody();
    const source = new BodySource(this.#reply.body, settings.idleTimeoutMs);
    const hasContent = command.end === undefined || command.end > command.start || command.length === 0;
    const session = await engine.write(
      id,
      {
        ...command,
        absent: isNew ? 'certain' : command.absent,
        context: hasContent ? this.#captureContext() : undefined,
        terms,
      },
      source,
    );
    if (session.kind === 'gap')
      return this.#reply.answer({ kind: 'incomplete', received: session.stored.received });
    if (session.kind !== 'writing') return this.#completing.complete(id, this.#ownContext, session.stored);
    let own: Running | undefined;
    const end = await this.#receive(session, source, command, async () => {
      if (settings.mode === 'stream' && hasContent) own = await this.#begin(session);
    });
    this.#service.streams.get(id)?.run.addTrailers(this.#reply.body);
    try {
      await this.#afterBody(session, end, own);
    } catch (error) {
      this.fail(error); // first: what ended the body has failed its handler too, and says more
    } finally {
      if (own?.run.isAwaited === false) this.#leave(own);
    }
  }

  /** The handler goes on without this connection, whose client may bring the rest on others. */
  #leave({ run, completion }: Running): void {
    completion.then(
      () => run.respond(),
      () => run.respond(), // whose failure it was has been said
    );
  }

  /** `begin` starts what is to happen at the first byte. */
  async #receive(
    session: WriteSession,
    source: BodySource,
    command: WriteCommand,
    begin: () => Promise<void>,
  ): Promise<BodyEnd> {
    let endPush: () => Promise<void> = async () => undefined;
    try {
      source.assertUnread();
      endPush = await this.#push(session, command);
      await begin();
      this.#reply.proceed();
      return await source.run(session.transfer);
    } catch (error) {
      return { kind: 'stopped', reason: internal(error) };
    } finally {
      await endPush();
    }
  }

  /** Stream mode: the handler starts here, unless it has been entered before. */
  async #begin(session: WriteSession): Promise<Running | undefined> {
    const { engine, streams, settings } = this.#service;
    const { id } = session;
    await session.establish();
    const run = this.#completing.newRun(this.#ownContext);
    const begun = await engine.begin(id, run.process);
    if (begun === undefined) return undefined;
    const own: Running = { run, completion: begun.completion };
    this.#reply.lendTo(run);
    streams.set(id, own);
    begun.completion
      .catch((error: unknown) => settings.onError(error, { id }))
      .finally(() => streams.delete(id));
    return own;
  }

  async #afterBody(session: WriteSession, end: BodyEnd, own: Running | undefined): Promise<void> {
    const { id } = session;
    const answered = answeredBy(end);
    if (end.kind !== 'clean' && !this.#reply.isTold && answered === undefined) {
      await session.abandon();
      if (end.kind === 'stopped') throw end.reason;
      return;
    }
    const finishing = session.finish(end.kind === 'clean', { claim: true });
    const result = await finishing.catch(async (error: unknown) => {
      if (own?.run.hasEnded === true) return this.#reply.report(error); // nothing of it is missing, then
      if (!this.#reply.isTold) await this.#service.engine.forget(id);
      throw error;
    });
    // The handler had seen enough, or has failed: its answer is the answer.
    if (answered !== undefined || result === undefined) return this.#concludeEarly(id, own, answered);
    const { received, whole, known } = result;
    if (end.kind === 'stopped') throw end.reason;
    if (whole) {
      // A cut connection may have brought the last byte: nobody waits for the answer, but the upload is
      // complete.
      if (own !== undefined) return this.#completing.await(id, own);
      return this.#completing.complete(id, this.#ownContext, known);
    }
    if (end.kind === 'clean') this.#reply.answer({ kind: 'incomplete', received });
  }

  async #concludeEarly(id: string, own: Running | undefined, code: string | undefined): Promise<void> {
    if (own !== undefined) return this.#completing.await(id, own);
    if (code === 'complete') return this.#completing.complete(id, undefined);
    this.#reply.send(this.#reply.processing());
  }

  /**
   * 103 Checkpoint, to those who want it: the first at once, with the identity a client without one needs, or what is
   * stored already; then whenever more is safe, but no more often than `checkpointPushMs`. The application is told beside it.
   * Returns the way to end both.
   */
  async #push(session: WriteSession, command: WriteCommand): Promise<() => Promise<void>> {
    const { checkpoints, checkpointPushMs, onCheckpoint, onError } = this.#service.settings;
    const wanted = checkpoints === 'always' || (checkpoints === 'on-request' && command.wantsCheckpoints);
    const isSent = wanted && this.#arrival.req.httpVersion === '1.1';
    if (!isSent && onCheckpoint === undefined) return async () => undefined;
    let last = Number.NEGATIVE_INFINITY;
    const reply = this.#reply;
    const { known } = session;
    if (isSent && !reply.isTold) {
      await session.establish();
      if (reply.inform([])) reply.isTold = true;
      last = Date.now();
    } else if (isSent && known.length > 0) {
      // What a request repeats brings nothing new, and so no checkpoint: without this its sender might never get past it.
      reply.inform(known);
      last = Date.now();
    }
    const push = oneAtATime(async () => {
      try {
        const isDue = isSent && Date.now() - last >= checkpointPushMs;
        if (isDue) last = Date.now();
        if (!isDue && onCheckpoint === undefined) return;
        const stored = await session.stored();
        if (isDue && reply.inform(stored?.received ?? [])) reply.isTold = true;
        if (stored !== undefined) await onCheckpoint?.(statusOf(stored));
      } catch (error) {
        if (!isUploadError(error, 'gone')) onError(error, { id: session.id }); // one that is gone ends with the body
      }
    });
    const stop = session.onCheckpoint(push);
    return async () => {
      stop();
      await push.settled();
    };
  }

  async #forget(): Promise<void> {
    const { token } = this.#reply;
    if (token !== undefined) await this.#service.engine.forget(this.#id({ by: 'session', token }));
  }

  /** What is laid down for the upload, should it be made by this request. Undefined: refused, and answered. */
  async #termsIfNew(id: string, command: WriteCommand): Promise<Terms | undefined> {
    const { engine, settings } = this.#service;
    const mayBeNew = settings.onCreate !== undefined && command.absent === 'create';
    const isNew = mayBeNew && (command.identity.by === 'none' || (await engine.find(id)) === undefined);
    return isNew ? this.#terms(id, command.length) : { metadata: settings.metadata(this.#arrival.req) };
  }

  async #terms(id: string, length: number | undefined): Promise<Terms | undefined> {
    const { settings } = this.#service;
    const { req } = this.#arrival;
    const metadata = settings.metadata(req);
    const said = await settings.onCreate?.(req, { id, length });
    if (said === undefined) return { metadata };
    if (!('refuse' in said)) return checkedTerms({ ...said, metadata: { ...metadata, ...said.metadata } });
    this.#refuse(said.refuse);
    return undefined;
  }

  #refuse(refusal: Refusal): void {
    const unknown = this.#reply.head({ kind: 'failed', error: new UploadError('not_found', 'refused') });
    this.#reply.send(refusalHead(refusal, unknown));
  }

  #captureContext(): string {
    const { req } = this.#arrival;
    const url = this.#service.dialect.plainUrl(req.url ?? '/');
    const isTag = this.#reply.identity.by === 'tag';
    const context = captureContext(req, url, isTag);
    if (!isTag && isOriginal(req, url)) this.#ownContext = context;
    return context;
  }

  #newIdentity(): string {
    const token = newToken();
    this.#reply.token = token;
    return this.#id({ by: 'session', token });
  }

  #id(identity: Identity): string {
    const { req } = this.#arrival;
    const owner = this.#service.settings.owner(req);
    return uploadId(identity as Known, { owner, path: pathOf(this.#reply.target) });
  }
}

/** The code with which the engine stops a body that a handler wants no more of. */
const answeredBy = (end: BodyEnd): 'complete' | 'handler_failed' | undefined => {
  const code = end.kind === 'stopped' ? end.reason.code : undefined;
  return code === 'complete' || code === 'handler_failed' ? code : undefined;
};
