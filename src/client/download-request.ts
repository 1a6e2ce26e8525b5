import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { UploadError } from '../errors.ts';
import { Interruption } from './failure.ts';

export interface OpenResponse {
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingHttpHeaders;
  /** Where it came from, after redirects. */
  readonly url: URL;
  /** Rejects with an `Interruption` when it is cut short; the connection is closed when it is left early. */
  body(): AsyncGenerator<Buffer, void, undefined>;
  destroy(): void;
}

export interface GetOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly agents: { readonly http: http.Agent; readonly https: https.Agent };
  readonly signal: AbortSignal;
  readonly stallTimeoutMs: number;
}

const mostRedirects = 10;
const redirects = new Set([301, 302, 303, 307, 308]);
/** Not for an origin the application has not named. */
const credentials = ['authorization', 'cookie', 'proxy-authorization'];

/**
 * A GET, up to the head of its answer, through redirects. Rejects with an `Interruption` when none came, and
 * with the signal's reason.
 */
export const get = async (url: URL, options: GetOptions): Promise<OpenResponse> => {
  let target = url;
  let { headers } = options;
  for (let count = 0; count <= mostRedirects; count++) {
    const response = await request(target, { ...options, headers });
    const { location } = response.headers;
    if (!redirects.has(response.status) || location === undefined) return response;
    response.destroy();
    const next = URL.canParse(location, target.href) ? new URL(location, target) : undefined;
    if (
      next === undefined ||
      !/^https?:$/.test(next.protocol) ||
      (next.protocol === 'http:' && target.protocol === 'https:')
    ) {
      const facts = { status: response.status, actual: location };
      throw new UploadError(
        'unexpected_response',
        'the server sent a Location that cannot be followed',
        facts,
      );
    }
    if (next.origin !== url.origin) {
      headers = Object.fromEntries(Object.entries(headers).filter(([name]) => !credentials.includes(name)));
    }
    target = next;
  }
  throw new UploadError('unexpected_response', `more than ${mostRedirects} redirects`);
};

const request = (url: URL, { headers, agents, signal, stallTimeoutMs }: GetOptions): Promise<OpenResponse> =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const secure = url.protocol === 'https:';
    const agent = secure ? agents.https : agents.http;
    const sent = (secure ? https : http).request(url, { method: 'GET', headers, agent });
    const stall = new Stall(stallTimeoutMs, (idle) => sent.destroy(idle));
    stall.start();
    const abort = (): void => void sent.destroy();
    signal.addEventListener('abort', abort, { once: true });
    sent.once('close', () => {
      stall.stop();
      signal.removeEventListener('abort', abort);
    });
    // Stays, for what comes after the answer.
    sent.on('error', (error) => reject(signal.aborted ? signal.reason : new Interruption(true, error)));
    sent.once('response', (response: IncomingMessage) => {
      const arriving = new Arriving(response, stall);
      resolve({
        status: response.statusCode ?? 0,
        statusText: response.statusMessage ?? '',
        headers: response.headers,
        url,
        destroy: () => sent.destroy(),
        async *body() {
          try {
            for (let chunk = await arriving.next(); chunk !== undefined; chunk = await arriving.next()) {
              signal.throwIfAborted();
              yield chunk;
            }
          } catch (error) {
            throw signal.aborted ? signal.reason : new Interruption(true, stall.idle ?? error);
          } finally {
            if (!response.complete) sent.destroy();
          }
        },
      });
    });
    sent.end();
  });

/** Ends what does not move. */
class Stall {
  /** Set once it has ended it. */
  idle: UploadError | undefined;
  readonly #timeoutMs: number;
  readonly #end: (idle: UploadError) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(timeoutMs: number, end: (idle: UploadError) => void) {
    this.#timeoutMs = timeoutMs;
    this.#end = end;
  }

  start(): void {
    if (this.#timer !== undefined) {
      this.#timer.refresh();
      return;
    }
    this.#timer = setTimeout(() => {
      this.idle = new UploadError('idle', `nothing moved for ${this.#timeoutMs} ms`);
      this.#end(this.idle);
    }, this.#timeoutMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** The most that waits to be written. */
const aheadBytes = 1024 * 1024;

/**
 * The body as it arrives. What has arrived is given out also after the connection was lost, which an iteration of
 * the stream itself would not do.
 */
class Arriving {
  readonly #response: IncomingMessage;
  readonly #stall: Stall;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #ended: { readonly error?: unknown } | undefined;
  #wake = (): void => {};

  constructor(response: IncomingMessage, stall: Stall) {
    this.#response = response;
    this.#stall = stall;
    stall.start();
    response.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
      // The clock is the network's: it stands still while we hold it up.
      if (this.#bytes >= aheadBytes) {
        response.pause();
        stall.stop();
      } else stall.start();
      this.#wake();
    });
    response.once('end', () => this.#end({}));
    response.once('error', (error) => this.#end({ error }));
    response.once('close', () => this.#end({ error: new Error('the connection was closed') }));
  }

  /** Undefined at the end. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#bytes -= chunk.length;
        if (this.#response.isPaused() && this.#bytes < aheadBytes / 2) {
          this.#response.resume();
          if (this.#ended === undefined) this.#stall.start();
        }
        return chunk;
      }
      if (this.#ended !== undefined) {
        if ('error' in this.#ended) throw this.#ended.error;
        return undefined;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #end(ended: { readonly error?: unknown }): void {
    this.#ended ??= ended;
    this.#stall.stop();
    this.#wake();
  }
}
