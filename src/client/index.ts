import { readOptions, readUrl, type UploadOptions } from './options.ts';
import { Run, type UploadResult } from './run.ts';
import { openSource } from './source.ts';

export { isUploadError, UploadError, type UploadErrorCode } from '../errors.ts';
export type { HttpResponse } from './exchange.ts';
export { UploadFailedError } from './failure.ts';
export type { RetryOptions, UploadOptions, UploadProgress, UploadState } from './options.ts';
export type { UploadResult } from './run.ts';

export interface Upload {
  /**
   * The final answer, when its status is 2xx. Rejects with an `UploadFailedError` for any other end, with the
   * signal's reason when aborted. Every connection, timer and file handle is released by then.
   */
  readonly result: Promise<UploadResult>;
}

/**
 * Sends `source` (a path, or bytes that must not change meanwhile) to `url` in as many requests as it takes:
 * after a cut it asks what the server has and sends the rest. Throws `invalid_argument` for an unusable URL
 * or option.
 */
export const upload = (
  url: string | URL,
  source: string | Uint8Array,
  options: UploadOptions = {},
): Upload => {
  const target = readUrl(url);
  const settings = readOptions(options);
  const run = async (): Promise<UploadResult> => {
    settings.signal?.throwIfAborted();
    const content = await openSource(source);
    try {
      return await new Run(target, content, settings).result();
    } finally {
      await content.close();
    }
  };
  return { result: run() };
};
