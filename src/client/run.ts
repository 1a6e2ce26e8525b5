import http, { type IncomingHttpHeaders } from 'node:http';
import https from 'node:https';
import { UploadError, type UploadErrorCode } from '../errors.ts';
import { IntervalSet } from '../intervals.ts';
import { backoffMs, maxDelayMs, retryAfterMs, wait } from './backoff.ts';
import { exchange, type HttpResponse } from './exchange.ts';
import { describeResponse, Interruption, UploadFailedError } from './failure.ts';
import { Operation, type Step } from './operation.ts';
import type { Settings, UploadState } from './options.ts';
import type { Source } from './source.ts';

export interface UploadResult {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Requests sent, handshake and queries included. */
  readonly attempts: number;
  /** Bytes of content the operating system took, all requests together. */
  readonly bytesSent: number;
  /** Those of `bytesSent` that had been sent before. */
  readonly bytesResent: number;
}

/** What became of one request, as far as the next one is concerned. */
interface Outcome {
  readonly final?: HttpResponse;
  /** Set when it brought the upload no further; counts against `retry.maxCount` and calls for a back-off. */
  readonly failure?: unknown;
  /** What the server asked for. */
  readonly retryAfterMs?: number;
}

/** One upload, from the first request to the final answer. */
export class Run {
  readonly #source: Source;
  readonly #settings: Settings;
  readonly #operation: Operation;
  readonly #agents = new Agents();
  /** Content that was sent at least once. */
  readonly #sent = new IntervalSet();
  readonly #failures: unknown[] = [];
  #failuresInRow = 0;
  #attempts = 0;
  #bytesSent = 0;
  #state: UploadState = 'asking';

  constructor(url: URL, source: Source, settings: Settings) {
    this.#source = source;
    this.#settings = settings;
    this.#operation = new Operation(url, source.length, settings);
  }

  async result(): Promise<UploadResult> {
    try {
      for (;;) {
        const { final, failure, retryAfterMs = 0 } = await this.#attempt(this.#operation.next());
        if (final !== undefined) return this.#finish(final);
        await this.#pause(failure, retryAfterMs);
      }
    } catch (error) {
      if (!(error instanceof UploadError) || error instanceof UploadFailedError) throw error;
      throw this.#failed(error.code, error.message, error);
    } finally {
      this.#agents.close();
    }
  }

  async #attempt(step: Step): Promise<Outcome> {
    const operation = this.#operation;
    const { url } = operation;
    const withBody = step.kind === 'whole' || step.kind === 'range';
    const [start, end] = step.kind === 'range' ? [step.start, step.end] : [0, operation.total];
    let toldState = false;

    this.#report(withBody ? 'sending' : 'asking');
    this.#attempts++;
    try {
      const response = await exchange({
        url,
        method: this.#settings.method,
        headers: operation.headers(step),
        agent: this.#agents.for(url),
        body: withBody ? { source: this.#source, start, end } : undefined,
        signal: this.#settings.signal,
        stallTimeoutMs: this.#settings.stallTimeoutMs,
        onSent: (from, to) => this.#onSent(from, to),
        onCheckpoint: (headers) => {
          const { told, progress } = operation.learnCheckpoint(headers, url);
          toldState ||= told;
          if (progress) this.#onCommitted();
        },
      });
      return this.#judge(step, response, url, toldState);
    } catch (error) {
      if (!(error instanceof Interruption)) throw error;
      if (step.kind === 'whole' && error.connected) operation.begin();
      if (!toldState) operation.forget();
      return { failure: error };
    }
  }

  #judge(step: Step, response: HttpResponse, url: URL, toldState: boolean): Outcome {
    const operation = this.#operation;
    const { status } = response;
    if (status === 308) {
      const progress = operation.learn(response.headers, url);
      if (progress) this.#onCommitted();
      const asked = step.kind === 'handshake' || step.kind === 'query';
      const stuck = operation.waitsForAnswer || !(progress || asked);
      return {
        ...(stuck ? { failure: this.#unexpected(response, 'no progress') } : {}),
        retryAfterMs: retryAfterMs(response.headers),
      };
    }
    if (status === 503) {
      if (step.kind === 'whole') operation.begin();
      if (!toldState) operation.forget();
      return {
        failure: this.#unexpected(response, 'not now'),
        retryAfterMs: retryAfterMs(response.headers),
      };
    }
    if (status < 200 || status > 299) throw this.#refused(step, response);
    if (step.kind === 'handshake' && operation.total > 0) {
      // A server that knows nothing of this took the empty request for the whole upload.
      throw this.#failed(
        'unexpected_response',
        `the server took the handshake for a complete request (${describeResponse(response)}); it cannot resume`,
        undefined,
        response,
      );
    }
    return { final: response };
  }

  /**
   * Between two requests: nothing after plain progress, else the longer of the back-off and what the server
   * asks for.
   */
  async #pause(failure: unknown, askedMs: number): Promise<void> {
    const { retry, signal } = this.#settings;
    let delayMs = askedMs;
    if (failure !== undefined) {
      this.#failures.push(failure);
      if (++this.#failuresInRow > retry.maxCount) {
        const reason = failure instanceof Error ? failure.message : String(failure);
        throw this.#failed(
          'interrupted',
          `gave up after ${this.#failuresInRow} requests without progress: ${reason}`,
          failure,
        );
      }
      delayMs = Math.max(delayMs, backoffMs(this.#failuresInRow, retry));
    }
    if (delayMs > maxDelayMs) {
      throw this.#failed('unexpected_response', `the server asks to wait for ${delayMs} ms`, failure);
    }
    if (delayMs === 0) return;
    this.#report('waiting');
    // An idle connection would be closed by the server meanwhile, and the next request lost on it.
    this.#agents.close();
    await wait(delayMs, signal);
  }

  #finish(response: HttpResponse): UploadResult {
    this.#operation.finish();
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
    this.#report('sending');
  }

  #onCommitted(): void {
    this.#failuresInRow = 0;
    this.#report(this.#state);
  }

  #report(state: UploadState): void {
    this.#state = state;
    const { committed, total } = this.#operation;
    this.#settings.onProgress({ sent: this.#sent.size, committed, total, state });
  }

  /** A request that would have started the upload can't mean that it is gone. */
  #refused(step: Step, response: HttpResponse): UploadFailedError {
    const first = step.kind === 'handshake' || step.kind === 'whole';
    const lost = first ? undefined : lostCodes.get(response.status);
    const text = describeResponse(response);
    return lost === undefined
      ? this.#failed('unexpected_response', `the server answered ${text}`, undefined, response)
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

/** One connection per scheme, kept from the handshake to the body. Usable again after `close`. */
class Agents {
  readonly #http = new http.Agent({ keepAlive: true, maxSockets: 1 });
  readonly #https = new https.Agent({ keepAlive: true, maxSockets: 1 });

  for(url: URL): http.Agent {
    return url.protocol === 'https:' ? this.#https : this.#http;
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
}
