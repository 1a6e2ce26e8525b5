import { UploadError, type UploadErrorCode } from '../errors.ts';
import { IntervalSet } from '../intervals.ts';
import { backoffMs, maxDelayMs, retryAfterMs } from './backoff.ts';
import { cancelOperation } from './cancel.ts';
import type { Source } from './content.ts';
import { describeResponse, Interruption, UploadFailedError } from './failure.ts';
import { Gate } from './gate.ts';
import { learnedLimits } from './limits.ts';
import { Operation, type Step } from './operation.ts';
import type { Settings } from './options.ts';
import { Latest, RateMeter, type UploadProgress, type UploadState } from './progress.ts';
import { ReplaySource } from './replay.ts';
import { assertSame, type SavedUpload } from './saved.ts';
import type { HttpResponse, ResponseHeaders, Transport } from './transport.ts';

export interface UploadResult<Body extends Uint8Array = Uint8Array> {
  readonly status: number;
  readonly headers: ResponseHeaders;
  /** `String(body)` is its text. */
  readonly body: Body;
  /** Requests sent, handshake and queries included. */
  readonly attempts: number;
  /** Bytes of content that were handed to the network, all requests together. */
  readonly bytesSent: number;
  /** Those of `bytesSent` that had been sent before. */
  readonly bytesResent: number;
}

/** What became of one request, as far as the next one is concerned. */
interface Outcome {
  readonly final?: HttpResponse;
  /** Set when it brought the upload no further; counts against `retry` and calls for a back-off. */
  readonly failure?: unknown;
  /** The failure is only that it is not time yet: counts against the time, not the number. */
  readonly isPatience?: boolean;
  /** What the server asked for. */
  readonly retryAfterMs?: number;
}

/** A request under way. */
interface Flight {
  readonly step: Step;
  readonly abort: AbortController;
  /** How often there had been a failure when it began. */
  readonly round: number;
}

const paused = new Error('paused');
const superfluous = new Error('the answer is here');

/** One upload, from the first request to the final answer. */
export class Run {
  readonly events = new Latest<UploadProgress>();
  readonly #url: URL;
  readonly #source: Source | ReplaySource;
  readonly #settings: Settings;
  readonly #transport: Transport;
  readonly #operation: Operation;
  readonly #flights = new Map<Flight, Promise<void>>();
  readonly #gate = new Gate();
  /** Content that was sent at least once. */
  readonly #sent = new IntervalSet();
  /** … and what another process had sent. */
  readonly #reached = new IntervalSet();
  readonly #rate = new RateMeter();
  readonly #failures: unknown[] = [];
  #failuresInRow = 0;
  #round = 0;
  #notBefore = 0;
  /** Of that, until when the server asked to be left alone. */
  #askedUntil = 0;
  #progressAt = performance.now();
  #attempts = 0;
  #bytesSent = 0;
  #refusals = 0;
  #wasTooLarge = false;
  #state: UploadState = 'connecting';
  #paused = false;
  #final: HttpResponse | undefined;
  #ended: { readonly error: unknown } | undefined;
  #cancelled = false;

  constructor(url: URL, source: Source | ReplaySource, settings: Settings, transport: Transport) {
    if (settings.state !== undefined) assertSame(settings.state, url, source);
    this.#url = url;
    this.#source = source;
    this.#transport = transport;
    const maxRequestBytes = Math.min(settings.maxRequestBytes, learnedLimits.get(url.origin) ?? Infinity);
    this.#settings = { ...settings, maxRequestBytes };
    this.#operation = new Operation(url, source, this.#settings);
    if (source instanceof ReplaySource) source.onChange = () => this.#gate.open();
  }

  async result(): Promise<UploadResult> {
    const { signal } = this.#settings;
    const stop = (): void => this.#end(signal?.reason);
    signal?.addEventListener('abort', stop, { once: true });
    try {
      const final = await this.#fly();
      return this.#finish(final);
    } catch (error) {
      if (this.#cancelled) await cancelOperation(this.#operation, this.#settings, this.#transport);
      if (!(error instanceof UploadError) || error instanceof UploadFailedError) throw error;
      throw this.#failed(error.code, error.message, error);
    } finally {
      signal?.removeEventListener('abort', stop);
      this.#transport.release();
    }
  }

  pause(): void {
    if (this.#paused || this.#isOver) return;
    this.#paused = true;
    this.#report('paused');
    for (const { abort } of this.#flights.keys()) abort.abort(paused);
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#progressAt = performance.now();
    this.#report('reconnecting');
    this.#gate.open();
  }

  /** What the server asked for is still waited for. */
  retryNow(): void {
    this.#notBefore = this.#askedUntil;
    this.#gate.open();
  }

  /** `result` rejects with this once all is let go of, and the server was told. */
  cancel(reason: unknown): void {
    if (this.#isOver) return;
    this.#cancelled = true;
    this.#end(reason);
  }

  save(): SavedUpload {
    const { fingerprint } = this.#source as Partial<Source>;
    return this.#operation.save(this.#url, fingerprint);
  }

  get #isOver(): boolean {
    return this.#final !== undefined || this.#ended !== undefined;
  }

  #end(error: unknown): void {
    this.#ended ??= { error };
    for (const { abort } of this.#flights.keys()) abort.abort(error);
    this.#gate.open();
  }

  /** Keeps as many requests under way as there is work for, until one brings the final answer. */
  async #fly(): Promise<HttpResponse> {
    try {
      for (;;) {
        const opened = this.#gate.opened();
        this.#assertGoing();
        if (this.#final !== undefined) return this.#final;
        const delayMs = this.#notBefore - performance.now();
        if (!this.#paused && delayMs <= 0) this.#startMore();
        await this.#gate.wait(opened, this.#paused ? undefined : Math.max(0, delayMs));
      }
    } finally {
      for (const { abort } of this.#flights.keys()) abort.abort(superfluous);
      await Promise.all(this.#flights.values());
    }
  }

  #assertGoing(): void {
    this.#settings.signal?.throwIfAborted();
    if (this.#ended !== undefined) throw this.#ended.error;
    if (this.#source instanceof ReplaySource && this.#source.failed !== undefined)
      throw this.#source.failed.error;
  }

  #startMore(): void {
    const operation = this.#operation;
    while (this.#flights.size < this.#settings.parallel) {
      const step = operation.next();
      if (step === undefined) break;
      const flight = { step, abort: new AbortController(), round: this.#round };
      operation.start(step);
      const landed = this.#attempt(flight)
        .catch((error: unknown) => this.#end(error))
        .finally(() => {
          operation.end(step);
          this.#flights.delete(flight);
          this.#gate.open();
        });
      this.#flights.set(flight, landed);
    }
  }

  async #attempt(flight: Flight): Promise<void> {
    const outcome = await this.#request(flight);
    if (this.#isOver) return;
    if (outcome.final !== undefined) this.#final = outcome.final;
    else this.#delay(flight, outcome);
  }

  async #request({ step, abort }: Flight): Promise<Outcome> {
    const operation = this.#operation;
    const { url } = operation;
    const withBody = step.kind === 'whole' || step.kind === 'range';
    const [start, end] = step.kind === 'range' ? [step.start, step.end] : [0, operation.total ?? 0];
    let toldState = false;
    let last = start;

    this.#report(withBody ? 'sending' : this.#askingState());
    try {
      const given = await this.#settings.headers();
      abort.signal.throwIfAborted();
      this.#attempts++;
      const response = await this.#transport.send({
        url,
        method: this.#settings.method,
        headers: operation.headers(step, given, this.#transport.showsCheckpoints),
        body: withBody ? { source: this.#source, start, end } : undefined,
        signal: abort.signal,
        stallTimeoutMs: this.#settings.stallTimeoutMs,
        onSent: (from, to) => {
          last = to;
          this.#onSent(from, to);
          if (last === end && operation.allUnderWay && this.#flights.size === 1) this.#report('processing');
        },
        onCheckpoint: (headers) => {
          const { told, progress } = operation.learnCheckpoint(step, headers, url);
          toldState ||= told;
          if (progress) this.#onCommitted();
        },
      });
      return this.#judge(step, response, url, toldState);
    } catch (error) {
      if (abort.signal.aborted && error === abort.signal.reason) {
        if (error !== paused) throw error;
        if (step.kind === 'whole') operation.begin();
        if (withBody && !toldState) operation.forget();
        return {};
      }
      if (!(error instanceof Interruption)) throw error;
      if (step.kind === 'whole' && error.connected) operation.begin();
      if (step.kind === 'range' && error.connected && !this.#settings.handshake) operation.begin();
      if (!toldState) operation.forget();
      return { failure: error };
    }
  }

  #judge(step: Step, response: HttpResponse, url: URL, toldState: boolean): Outcome {
    const operation = this.#operation;
    const { status } = response;
    const withBody = step.kind === 'whole' || step.kind === 'range';
    const askedMs = retryAfterMs(response.headers);
    if (status === 308) {
      this.#refusals = 0;
      const progress = operation.learn(step, locate(response, url), url);
      if (progress) this.#onCommitted();
      if (withBody) this.#rememberLimit();
      const moved = progress || !withBody || (step.kind === 'range' && operation.holds(step));
      const stuck = operation.waitsForAnswer || !moved;
      const failure = stuck ? { failure: this.#unexpected(response, 'no progress') } : {};
      return { ...failure, retryAfterMs: askedMs };
    }
    if (retried.has(status)) {
      operation.learnPatience(response.headers);
      if (withBody && status !== 429) operation.begin();
      if (!toldState) operation.forget();
      const isPatience = askedMs > 0 && !withBody;
      return { failure: this.#unexpected(response, 'not now'), retryAfterMs: askedMs, isPatience };
    }
    if (status === 413 && withBody && problemCode(response) !== 'too_large') {
      const [start, end] = step.kind === 'range' ? [step.start, step.end] : [0, operation.total ?? 0];
      if (operation.halve(end - start)) {
        this.#wasTooLarge = true;
        this.#failures.push(this.#unexpected(response, `${end - start} bytes are too many for one request`));
        return {};
      }
    }
    if (status === 401 && this.#settings.freshHeaders && this.#refusals++ === 0) {
      if (withBody && !toldState) operation.forget();
      return { failure: this.#unexpected(response, 'not with these headers') };
    }
    if (status < 200 || status > 299) throw this.#refused(step, response);
    if (!operation.isWholeWith(step)) {
      // A server that knows nothing of this takes every request for all there is.
      if (step.kind === 'query' && operation.beginAnew()) {
        return { failure: this.#unexpected(response, 'a question taken for a complete request') };
      }
      const what = step.kind === 'range' ? 'a part' : `the ${step.kind}`;
      const text = `the server took ${what} for a complete request (${describeResponse(response)}); it cannot resume`;
      throw this.#failed('unexpected_response', text, undefined, response);
    }
    if (withBody) this.#rememberLimit();
    return { final: response };
  }

  /** For the origin, now that a request of this size has passed. */
  #rememberLimit(): void {
    if (this.#wasTooLarge) learnedLimits.set(this.#url.origin, this.#operation.limit);
  }

  /**
   * Between two requests: nothing after plain progress, else the longer of the back-off and what the server
   * asks for.
   */
  #delay({ round }: Flight, { failure, retryAfterMs: askedMs = 0, isPatience = false }: Outcome): void {
    const { retry } = this.#settings;
    let delayMs = askedMs;
    if (failure !== undefined) {
      this.#failures.push(failure);
      const reason = failure instanceof Error ? failure.message : String(failure);
      // Connections that were lost together are one failure.
      if (round === this.#round) {
        this.#round++;
        if (!isPatience && ++this.#failuresInRow > retry.maxCount) {
          const text = `gave up after ${this.#failuresInRow} requests without progress: ${reason}`;
          throw this.#failed('interrupted', text, failure);
        }
      }
      if (this.#failuresInRow > 0) delayMs = Math.max(delayMs, backoffMs(this.#failuresInRow, retry));
    }
    if (delayMs > maxDelayMs) {
      throw this.#failed('unexpected_response', `the server asks to wait for ${delayMs} ms`, failure);
    }
    const idleMs = performance.now() - this.#progressAt;
    if (failure !== undefined && idleMs + delayMs > retry.maxTimeMs) {
      const text = `gave up: no progress within ${retry.maxTimeMs} ms`;
      throw this.#failed('interrupted', text, failure);
    }
    if (delayMs === 0) return;
    if (askedMs > 0) this.#askedUntil = Math.max(this.#askedUntil, performance.now() + askedMs);
    this.#notBefore = Math.max(this.#notBefore, performance.now() + delayMs);
    if (this.#flights.size > 1) return;
    this.#report(this.#operation.waitsForAnswer ? 'processing' : 'reconnecting');
    // An idle connection would be closed by the server meanwhile, and the next request lost on it.
    this.#transport.release();
  }

  #finish(response: HttpResponse): UploadResult {
    this.#operation.finish();
    this.#reached.add(0, this.#operation.total ?? 0);
    this.#report('done');
    return {
      status: response.status,
      headers: response.headers,
      body: response.body,
      attempts: this.#attempts,
      bytesSent: this.#bytesSent,
      bytesResent: this.#bytesSent - this.#sent.size,
    };
  }

  #onSent(start: number, end: number): void {
    this.#bytesSent += end - start;
    this.#sent.add(start, end);
    this.#reached.add(start, end);
    this.#report('sending');
  }

  #onCommitted(): void {
    this.#failuresInRow = 0;
    this.#progressAt = performance.now();
    this.#reached.addAll(this.#operation.stored);
    this.#report(this.#state);
  }

  #askingState(): UploadState {
    if (this.#operation.waitsForAnswer) return 'processing';
    return this.#failures.length > 0 ? 'reconnecting' : 'connecting';
  }

  #report(state: UploadState): void {
    this.#state = this.#paused && state !== 'done' ? 'paused' : state;
    const { committed, total = Number.POSITIVE_INFINITY } = this.#operation;
    const sent = this.#reached.size;
    const rate = this.#rate.rate(this.#sent.size);
    const left = total - sent;
    const etaMs = left === 0 ? 0 : rate > 0 ? (left / rate) * 1000 : Number.POSITIVE_INFINITY;
    const progress = { sent, committed, total, rate, etaMs, state: this.#state };
    this.events.publish(progress);
    this.#settings.onProgress(progress);
  }

  /** A request that would have started the upload can't mean that it is gone. */
  #refused(step: Step, response: HttpResponse): UploadFailedError {
    const first = step.kind === 'handshake' || step.kind === 'whole';
    const lost = first ? undefined : lostCodes.get(response.status);
    const code = response.status === 413 ? 'too_large' : 'unexpected_response';
    const text = describeResponse(response);
    return lost === undefined
      ? this.#failed(code, `the server answered ${text}`, undefined, response)
      : this.#failed(
          lost,
          `the server no longer has this upload; start a new one (${text})`,
          undefined,
          response,
        );
  }

  #unexpected(response: HttpResponse, why: string): UploadError {
    return new UploadError('unexpected_response', `${why}: ${describeResponse(response)}`, {
      status: response.status,
    });
  }

  #failed(
    code: UploadErrorCode,
    message: string,
    cause: unknown,
    response?: HttpResponse,
  ): UploadFailedError {
    const status = response?.status ?? (cause instanceof UploadError ? cause.status : undefined);
    const last = cause ?? this.#failures.at(-1);
    return new UploadFailedError(code, message, { cause: last, status, attempts: this.#failures, response });
  }
}

const lostCodes = new Map<number, UploadErrorCode>([
  [404, 'not_found'],
  [410, 'gone'],
  [412, 'unknown_operation'],
]);

/** They say "not now" rather than anything about the content. */
const retried = new Set([408, 429, 502, 503, 504]);

/** A platform that follows a 308 by itself shows where it went instead of the Location. */
const locate = ({ headers, url }: HttpResponse, sentTo: URL): ResponseHeaders =>
  url === undefined || url === sentTo.href ? headers : { ...headers, location: url };

/** A server that says by itself that the upload is too large means all of it; a proxy means the request. */
const problemCode = ({ headers, body }: HttpResponse): unknown => {
  if (headers['content-type']?.startsWith('application/problem+json') !== true) return undefined;
  try {
    const problem: unknown = JSON.parse(new TextDecoder().decode(body));
    return typeof problem === 'object' && problem !== null ? Reflect.get(problem, 'code') : undefined;
  } catch {
    return undefined; // not what it claims to be
  }
};
