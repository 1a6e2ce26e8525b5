import { NodeTransport } from './node-transport.ts';
import { readOptions, readUrl, type UploadOptions } from './options.ts';
import { openSource, type UploadSource } from './source.ts';
import { startUpload, type Upload as UploadOf } from './upload.ts';

export { isUploadError, UploadError, type UploadErrorCode } from '../errors.ts';
export {
  type Download,
  type DownloadOptions,
  type DownloadProgress,
  type DownloadResult,
  download,
} from './download.ts';
export { UploadFailedError } from './failure.ts';
export type { HeadersOption, RetryOptions, UploadOptions } from './options.ts';
export type { UploadProgress, UploadState } from './progress.ts';
export type { UploadResult } from './run.ts';
export type { SavedUpload } from './saved.ts';
export type { UploadSource } from './source.ts';
export type { HttpResponse } from './transport.ts';

export type Upload = UploadOf<Buffer>;

/**
 * Sends `source` to `url` in as many requests as it takes: after a cut it asks what the server has and sends
 * the rest. `source` is a path, bytes that must not change meanwhile, a Blob, a stream, or an array of these:
 * one content, in this order. Throws `invalid_argument` for an unusable URL or option.
 */
export const upload = (url: string | URL, source: UploadSource, options: UploadOptions = {}): Upload => {
  const target = readUrl(url);
  const settings = readOptions(options);
  const transport = new NodeTransport(settings.parallel);
  const bodyOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return startUpload(target, () => openSource(source), settings, transport, bodyOf);
};
