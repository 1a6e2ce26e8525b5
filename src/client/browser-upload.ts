import { globals } from './browser-globals.ts';
import { openSource, type UploadSource } from './browser-source.ts';
import { FetchTransport } from './fetch-transport.ts';
import { readOptions, readUrl, type UploadOptions } from './options.ts';
import { startUpload, type Upload as UploadOf } from './upload.ts';
import { XhrTransport } from './xhr-transport.ts';

export type Upload = UploadOf<Uint8Array>;

/**
 * Sends `source` to `url` in as many requests as it takes: after a cut it asks what the server has and sends
 * the rest. `source` is bytes that must not change meanwhile, a Blob or File, a stream, or an array of these:
 * one content, in this order. A URL may be relative to the page. Throws `invalid_argument`.
 */
export const upload = (url: string | URL, source: UploadSource, options: UploadOptions = {}): Upload => {
  const { location } = globalThis as { readonly location?: { readonly href: string } };
  const target = readUrl(URL.canParse(String(url), location?.href) ? new URL(url, location?.href) : url);
  const settings = readOptions(options);
  const { withCredentials } = settings;
  const { XMLHttpRequest } = globals;
  const transport =
    XMLHttpRequest === undefined
      ? new FetchTransport(withCredentials)
      : new XhrTransport(XMLHttpRequest, withCredentials);
  const open = () => new Promise<ReturnType<typeof openSource>>((resolve) => resolve(openSource(source)));
  return startUpload(target, open, settings, transport, textual);
};

/** As a Buffer does: `String(body)` is its text. */
const textual = (bytes: Uint8Array): Uint8Array =>
  Object.defineProperty(bytes, 'toString', { value: () => new TextDecoder().decode(bytes) });
