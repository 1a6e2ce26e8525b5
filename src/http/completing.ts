import type { Completion, Known } from '../engine/completion.ts';
import type { UploadError } from '../errors.ts';
import type { AnswerHead } from './answer.ts';
import { unshared } from './cors.ts';
import type { Arrival, Service } from './exchange.ts';
import { HandlerRun } from './handler-run.ts';
import { internal, type Reply } from './reply.ts';
import { decodeResponse } from './stored-response.ts';

/** A handler at work, and what will come of it. */
export interface Running {
  readonly run: HandlerRun;
  readonly completion: Promise<Completion>;
}

/** How one exchange comes to the answer of its upload: by running the handler, or by waiting for whoever does. */
export class Completing {
  readonly #service: Service;
  readonly #arrival: Arrival;
  readonly #reply: Reply;
  readonly #forget: () => Promise<void>;

  /** `forget` removes an upload whose client has been told that it failed and cannot come back. */
  constructor(service: Service, arrival: Arrival, reply: Reply, forget: () => Promise<void>) {
    this.#service = service;
    this.#arrival = arrival;
    this.#reply = reply;
    this.#forget = forget;
  }

  /** A run that shows the request of this exchange to the handler. */
  newRun(context: string | undefined): HandlerRun {
    const { req, res, handler, isBound } = this.#arrival;
    if (!req.complete) this.#reply.takeBody();
    return new HandlerRun(this.#service.settings, handler, { req, res, context, isBound });
  }

  /**
   * Waits for the answer of a complete upload, running the handler if nobody does; then gives it, or asks for
   * patience. `known` is that of `Engine.complete`.
   */
  complete(id: string, context: string | undefined, known?: Known): Promise<void> {
    const run = this.newRun(context);
    this.#reply.length = known?.record.length;
    this.#service.streams.get(id)?.run.attach(this.#reply.res);
    return this.await(id, { run, completion: this.#service.engine.complete(id, run.process, known) });
  }

  async await(id: string, { run, completion }: Running): Promise<void> {
    const { settings } = this.#service;
    run.isAwaited = true;
    // Whoever was never told how to come back cannot be asked to: it waits, as it would without us.
    const patience = sleep(this.#reply.isTold ? settings.completeWaitMs : undefined);
    try {
      const result = await Promise.race([completion, patience.over]);
      if (result !== undefined) return await this.#conclude(result, run);
      if (!run.hasStarted) return this.#leave(id, { run, completion });
      run.answerBeside(this.#reply.processing(), this.#reply.hold);
      await completion;
      run.respond();
    } catch (error) {
      if (!run.hasStarted) throw error;
      settings.onError(error, { id });
      run.replace(this.#failure(internal(error)), this.#reply.hold);
    } finally {
      patience.cancel();
    }
  }

  /** The client is told to come back, and its next request need not wait for what becomes of this one. */
  #leave(id: string, { run, completion }: Running): void {
    const { pending, settings } = this.#service;
    run.detach();
    this.#reply.send(this.#reply.processing());
    const report = (error: unknown): void =>
      run.hasStarted ? settings.onError(error, { id }) : this.#reply.report(error);
    const left = completion
      .then(() => run.respond())
      .catch(report)
      .finally(() => pending.delete(left));
    pending.add(left);
  }

  async #conclude(completion: Completion, run: HandlerRun): Promise<void> {
    const reply = this.#reply;
    if (completion.kind === 'finished' && !run.isAnswer(completion.record)) {
      // "An operation that has already completed": answered as it was, and never processed again.
      const stored = this.#stored(completion.record.response);
      if (run.hasStarted) run.replace(stored, reply.hold);
      else reply.send(stored);
    } else if (run.hasStarted && completion.kind !== 'running') {
      run.respond(reply.hold);
      // A client that has heard of the failure and has no way to come back will begin anew.
      if (completion.kind === 'failed' && !reply.isTold && !reply.res.destroyed) await this.#forget();
    } else if (run.hasStarted) run.replace(reply.processing(), reply.hold);
    else reply.send(reply.processing());
  }

  /** Who may read it depends on who asks now. */
  #stored(response = ''): AnswerHead {
    const head = decodeResponse(response);
    return this.#service.settings.cors ? unshared(head) : head;
  }

  #failure(error: UploadError) {
    return this.#reply.head({ kind: 'failed', error });
  }
}

/** Undefined: for ever. */
const sleep = (ms: number | undefined): { readonly over: Promise<undefined>; cancel(): void } => {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<undefined>((resolve) => {
    if (ms !== undefined) timer = setTimeout(() => resolve(undefined), ms);
  });
  return { over, cancel: () => clearTimeout(timer) };
};
