import { UploadError } from '../errors.ts';

/** Where an upload is and what it is of: plain data, for `JSON.stringify`. */
export interface SavedUpload {
  readonly version: 1;
  readonly url: string;
  /** The session URL, when the server gave one. */
  readonly location?: string;
  readonly etag?: string;
  /** In bytes; none for a stream whose end was not seen. */
  readonly length?: number;
  /** Of the content. */
  readonly fingerprint?: string;
  /** What a 413 has taught. */
  readonly maxRequestBytes?: number;
  /** Whether a request that may have started it was sent. */
  readonly begun: boolean;
  /** The server has shown that it resumes. */
  readonly understood?: boolean;
}

/** Refuses a state of another upload: `invalid_argument`; of another content: `length_changed`, `digest_conflict`. */
export const assertSame = (
  saved: SavedUpload,
  url: URL,
  source: { readonly length: number | undefined; readonly fingerprint?: string | undefined },
): void => {
  if (saved.version !== 1 || saved.url !== url.href) {
    throw new UploadError('invalid_argument', 'the state is that of another upload', {
      expected: saved.url,
      actual: url.href,
    });
  }
  if (saved.length !== undefined && source.length !== undefined && saved.length !== source.length) {
    throw new UploadError('length_changed', 'the content has another length than when its upload began', {
      expected: saved.length,
      actual: source.length,
    });
  }
  if (saved.fingerprint !== undefined && saved.fingerprint !== source.fingerprint) {
    throw new UploadError('digest_conflict', 'the content is another than when its upload began');
  }
};
