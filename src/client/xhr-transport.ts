import { UploadError } from '../errors.ts';
import type { BrowserRequest } from './browser-globals.ts';
import type { ByteSource } from './content.ts';
import { Interruption } from './failure.ts';
import type { HttpResponse, Transport, TransportRequest } from './transport.ts';

/** A browser's own request, for it alone tells how much of a body was sent. */
export class XhrTransport implements Transport {
  /** A browser takes 1xx responses for itself. */
  readonly showsCheckpoints = false;
  readonly #Request: new () => BrowserRequest;
  readonly #withCredentials: boolean;

  constructor(Request: new () => BrowserRequest, withCredentials: boolean) {
    this.#Request = Request;
    this.#withCredentials = withCredentials;
  }

  async send(request: TransportRequest): Promise<HttpResponse> {
    const { url, method, headers, body, signal, stallTimeoutMs } = request;
    const content = body === undefined ? null : await blobOf(body.source, body.start, body.end);
    signal.throwIfAborted();
    const xhr = new this.#Request();
    let fatal: { readonly error: unknown } | undefined;
    let idle: UploadError | undefined;
    let stall: ReturnType<typeof setTimeout> | undefined;
    const moved = (): void => {
      clearTimeout(stall);
      stall = setTimeout(() => {
        idle = new UploadError('idle', `nothing moved for ${stallTimeoutMs} ms`);
        xhr.abort();
      }, stallTimeoutMs);
    };
    const abort = (): void => xhr.abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      return await new Promise<HttpResponse>((resolve, reject) => {
        let sent = body?.start ?? 0;
        xhr.upload.onprogress = ({ loaded }) => {
          moved();
          const to = Math.min((body?.start ?? 0) + loaded, body?.end ?? 0);
          if (to <= sent || fatal !== undefined) return;
          try {
            request.onSent(sent, to);
          } catch (error) {
            fatal = { error };
            xhr.abort();
          }
          sent = to;
        };
        xhr.onprogress = moved;
        xhr.onreadystatechange = moved;
        // Nobody can say whether the server has seen anything of it: to be safe, it may have.
        const lost = (): void => {
          const interruption = new Interruption(true, idle ?? new Error('the connection was lost'));
          assertReadable(content).then(() => reject(interruption), reject);
        };
        xhr.onload = () => (xhr.status === 0 ? lost() : resolve(responseOf(xhr)));
        xhr.onerror = lost;
        xhr.onabort = () => {
          if (fatal !== undefined) reject(fatal.error);
          else if (signal.aborted) reject(signal.reason);
          else lost();
        };
        xhr.open(method, url.href);
        xhr.responseType = 'arraybuffer';
        xhr.withCredentials = this.#withCredentials;
        for (const [name, value] of Object.entries(headers)) {
          // A browser sets it by itself, and lets nobody else.
          if (name !== 'content-length') xhr.setRequestHeader(name, String(value));
        }
        moved();
        xhr.send(content);
      });
    } finally {
      clearTimeout(stall);
      signal.removeEventListener('abort', abort);
    }
  }

  release(): void {}
}

const responseOf = (xhr: BrowserRequest): HttpResponse => ({
  status: xhr.status,
  statusText: xhr.statusText,
  headers: parseHeaders(xhr.getAllResponseHeaders()),
  body: new Uint8Array(xhr.response ?? new ArrayBuffer(0)),
  url: xhr.responseURL,
});

const parseHeaders = (text: string): Record<string, string> => {
  const out: Record<string, string> = {};
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) out[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return out;
};

/** A browser that cannot read what it is to send says only that the request failed. Rejects with `unreadable`. */
export const assertReadable = async (content: Blob | null): Promise<void> => {
  try {
    await content?.slice(0, 1).arrayBuffer();
  } catch (cause) {
    throw new UploadError('unreadable', 'the file has changed, was moved, or is gone', { cause });
  }
};

export const blobOf = async (source: ByteSource, start: number, end: number): Promise<Blob> => {
  if (source.blob !== undefined) return source.blob(start, end);
  const parts: Blob[] = [];
  const chunks = source.chunks(start, end);
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    // A chunk is its source's again after the next one.
    parts.push(new Blob([new Uint8Array(next.value)]));
  }
  return new Blob(parts);
};
