import { UploadError } from '../errors.ts';
import { Interruption } from './failure.ts';
import type { HttpResponse, Transport, TransportRequest } from './transport.ts';
import { assertReadable, blobOf } from './xhr-transport.ts';

/** A line that moves less in a second counts as one that has stalled: `fetch` shows nothing until the answer. */
const leastBytesPerSecond = 16 * 1024;

/** Where there is nothing better, as in a service worker: all of a body counts as sent when its answer is there. */
export class FetchTransport implements Transport {
  readonly showsCheckpoints = false;
  readonly #credentials: 'include' | 'same-origin';

  constructor(withCredentials = false) {
    this.#credentials = withCredentials ? 'include' : 'same-origin';
  }

  async send(request: TransportRequest): Promise<HttpResponse> {
    const { url, method, headers, body, signal, stallTimeoutMs } = request;
    const { 'content-length': _, ...fields } = headers;
    const content = body === undefined ? null : await blobOf(body.source, body.start, body.end);
    signal.throwIfAborted();
    const give = new AbortController();
    const abort = (): void => give.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    const patienceMs = stallTimeoutMs + ((content?.size ?? 0) / leastBytesPerSecond) * 1000;
    const stall = setTimeout(
      () => {
        give.abort(new UploadError('idle', `no answer for ${patienceMs} ms`));
      },
      Math.min(patienceMs, 2 ** 31 - 1),
    );
    try {
      const response = await fetch(url, {
        method,
        headers: Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)])),
        body: content,
        signal: give.signal,
        redirect: 'follow',
        credentials: this.#credentials,
      });
      const answer: HttpResponse = {
        status: response.status,
        statusText: response.statusText,
        headers: Object.fromEntries(response.headers),
        body: new Uint8Array(await response.arrayBuffer()),
        url: response.url,
      };
      if (body !== undefined) request.onSent(body.start, body.end);
      return answer;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      // Whatever `fetch` throws but for that is a lost connection; what our own callback throws is not.
      if (!(error instanceof TypeError || error === give.signal.reason)) throw error;
      await assertReadable(content);
      throw new Interruption(true, error);
    } finally {
      clearTimeout(stall);
      signal.removeEventListener('abort', abort);
    }
  }

  release(): void {}
}
