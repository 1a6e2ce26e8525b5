import http, { type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import https from 'node:https';
import { UploadError } from '../errors.ts';
import type { ByteSource } from './content.ts';
import { Interruption } from './failure.ts';

export interface HttpResponse {
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface ExchangeOptions {
  readonly url: URL;
  readonly method: string;
  readonly headers: OutgoingHttpHeaders;
  readonly agent: http.Agent;
  /** Which bytes to send; none when undefined. */
  readonly body?: { readonly source: ByteSource; readonly start: number; readonly end: number } | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly stallTimeoutMs: number;
  /** The headers of each 103 that arrives. What it throws ends the exchange with exactly that. */
  readonly onCheckpoint?: ((headers: IncomingHttpHeaders) => void) | undefined;
  /**
   * `[start, end)` has been taken by the operating system. What it throws ends the exchange with exactly
   * that.
   */
  readonly onSent?: ((start: number, end: number) => void) | undefined;
}

/** No answer to an upload is larger; one that is would only fill the memory. */
const maxResponseBytes = 16 * 1024 * 1024;

/**
 * One request and its answer. Rejects with an `Interruption` when the answer did not arrive whole, with the
 * signal's reason when aborted, and with what the source or a callback threw. An answer that arrives while
 * the body is still being sent stops the sending. The connection is free or closed when this settles.
 */
export const exchange = async (options: ExchangeOptions): Promise<HttpResponse> => {
  const { url, method, headers, agent, signal, stallTimeoutMs } = options;
  signal?.throwIfAborted();
  const request = (url.protocol === 'https:' ? https : http).request(url, { method, headers, agent });

  let connected = false;
  let settled = false;
  let fatal: { readonly error: unknown } | undefined;
  const fail = (error: unknown): void => {
    fatal ??= { error };
    request.destroy();
  };
  const guarded = (callback: () => void): void => {
    try {
      if (!settled) callback();
    } catch (error) {
      fail(error);
    }
  };

  let idle: UploadError | undefined;
  const stall = setTimeout(() => {
    idle = new UploadError('idle', `nothing moved for ${stallTimeoutMs} ms`);
    request.destroy(idle);
  }, stallTimeoutMs);
  const abort = (): void => fail(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });

  const sender = new Sender(request, (start, end) => {
    stall.refresh();
    guarded(() => options.onSent?.(start, end));
  });
  request.on('socket', (socket) => {
    const onConnect = (): void => {
      connected = true;
      stall.refresh();
    };
    if (socket.connecting) socket.once('connect', onConnect);
    else onConnect();
  });
  request.on('information', (information) => {
    stall.refresh();
    if (information.statusCode === 103) guarded(() => options.onCheckpoint?.(information.headers));
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', (response) => {
      sender.stop();
      resolve(response);
    });
    // The listener stays: an error may follow the answer, when the server closes while we still send.
    request.on('error', reject);
  });
  request.once('close', () => sender.stop());

  try {
    sender.send(options.body).catch((error: unknown) => {
      if (!sender.stopped) fail(error);
    });
    const response = await answered;
    const body = await readBody(response, () => stall.refresh());
    if (fatal !== undefined) throw fatal;
    return {
      status: response.statusCode ?? 0,
      statusText: response.statusMessage ?? '',
      headers: response.headers,
      body,
    };
  } catch (error) {
    request.destroy();
    if (fatal !== undefined) throw fatal.error;
    if (error instanceof UploadError && error.code === 'unexpected_response') throw error;
    throw new Interruption(connected, idle ?? error);
  } finally {
    settled = true;
    sender.stop();
    clearTimeout(stall);
    signal?.removeEventListener('abort', abort);
    // A connection with half a body on it can't carry another request.
    if (!request.writableFinished) request.destroy();
  }
};

const leastWriteBytes = 64 * 1024;
const mostWriteBytes = 1024 * 1024;
const quickMs = 20;
const slowMs = 200;

/** Moves a range of a source into a request: one chunk is read while the one before it is sent. */
class Sender {
  readonly #request: http.ClientRequest;
  readonly #onSent: (start: number, end: number) => void;
  #stopped = false;
  #writeBytes = 128 * 1024;

  get stopped(): boolean {
    return this.#stopped;
  }

  constructor(request: http.ClientRequest, onSent: (start: number, end: number) => void) {
    this.#request = request;
    this.#onSent = onSent;
  }

  /**
   * Resolves when everything is out or `stop` was called, rejects only with what the source throws. Not to be
   * waited for: Node forgets the callbacks of writes to a connection that was never made.
   */
  async send(body: ExchangeOptions['body']): Promise<void> {
    if (body !== undefined) {
      const chunks = body.source.chunks(body.start, body.end);
      let offset = body.start;
      let ahead = chunks.next();
      while (!this.#stopped) {
        const { done, value } = await ahead;
        if (done === true || this.#stopped) break;
        ahead = chunks.next();
        // Nobody awaits it when the sending stops first.
        ahead.catch(() => {});
        offset = await this.#writeAll(value, offset);
      }
    }
    if (!this.#stopped) this.#request.end();
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Large writes cost least; on a slow line one has to be small, or nothing would seem to move while it lasts. */
  async #writeAll(chunk: Uint8Array, offset: number): Promise<number> {
    for (let at = 0; at < chunk.length && !this.#stopped; ) {
      const part = chunk.subarray(at, at + this.#writeBytes);
      const started = performance.now();
      await this.#write(part, offset + at);
      at += part.length;
      const tookMs = performance.now() - started;
      if (tookMs < quickMs) this.#writeBytes = Math.min(mostWriteBytes, this.#writeBytes * 2);
      else if (tookMs > slowMs) this.#writeBytes = Math.max(leastWriteBytes, this.#writeBytes / 2);
    }
    return offset + chunk.length;
  }

  #write(chunk: Uint8Array, offset: number): Promise<void> {
    return new Promise((resolve) => {
      this.#request.write(chunk, (error) => {
        if (error === null || error === undefined) this.#onSent(offset, offset + chunk.length);
        resolve();
      });
    });
  }
}

const readBody = async (response: IncomingMessage, onData: () => void): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let size = 0;
  onData();
  for await (const chunk of response as AsyncIterable<Buffer>) {
    onData();
    size += chunk.length;
    if (size > maxResponseBytes) {
      throw new UploadError('unexpected_response', `the answer is longer than ${maxResponseBytes} bytes`, {
        status: response.statusCode,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
};
