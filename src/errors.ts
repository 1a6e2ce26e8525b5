/**
 * Every failure this library reports has a stable `code`. What a code means on the wire is the business of a
 * dialect (`src/protocol/problem.ts`); here it only names what happened to the upload.
 */
export type UploadErrorCode =
  /** A Content-Range that the grammar does not know. */
  | 'malformed_content_range'
  /** The stated range and the body's Content-Length disagree. */
  | 'range_length_mismatch'
  /** The stated range ends past the stated length. */
  | 'range_past_length'
  /** A length was stated that differs from the one stated before, or is below what is stored. */
  | 'length_changed'
  /** The body went on past the range it announced; nothing past the range was kept. */
  | 'body_past_range'
  /** One name was used for two different representations (Repr-Digest). */
  | 'digest_conflict'
  /** The complete content does not have the digest its sender announced. */
  | 'digest_mismatch'
  /** A digest header that cannot be read, or of a length its algorithm does not have. */
  | 'malformed_digest'
  /** Upload-Metadata that cannot be read, names something twice, or is more than is taken. */
  | 'malformed_metadata'
  /** A name outside the form a client may choose. */
  | 'malformed_name'
  /** No upload has that identity. */
  | 'not_found'
  /** The upload was removed, has expired, or its stored bytes were lost. */
  | 'gone'
  /** The identity was sent as a precondition and is not one of ours. */
  | 'unknown_operation'
  /** An upload with that id exists already. */
  | 'exists'
  /** The upload is complete: it can neither be written nor cancelled. */
  | 'complete'
  /** Longer than the server accepts. */
  | 'too_large'
  /** The store is full. */
  | 'no_space'
  /** The store failed; `cause` says how. */
  | 'store_failed'
  /** The store cannot do this at all. */
  | 'not_supported'
  /** A newer request for the same bytes has taken over. */
  | 'superseded'
  /** No byte arrived for `idleTimeoutMs`. */
  | 'idle'
  /** The connection ended before the body did. */
  | 'interrupted'
  /** The server is stopping. */
  | 'closing'
  /** The target of a move exists and is another file. */
  | 'target_exists'
  /** The application's handler failed; the bytes are kept and it can run again. */
  | 'handler_failed'
  /** An option, or an argument of a call, is not usable. */
  | 'invalid_argument'
  /** What is to be sent cannot be read any more: the file has changed, was moved, or is gone. */
  | 'unreadable'
  /** A server sent something a client cannot go on from; `status` says what. */
  | 'unexpected_response';

/** What an error knows beyond its code; each is a plain property, so that logs can index it. */
export interface UploadErrorFacts {
  readonly id?: string | undefined;
  /** Where in the content it happened, in bytes. */
  readonly offset?: number | undefined;
  readonly expected?: number | string | undefined;
  readonly actual?: number | string | undefined;
  readonly status?: number | undefined;
}

export class UploadError extends Error {
  override readonly name = 'UploadError';
  readonly code: UploadErrorCode;
  readonly id: string | undefined;
  readonly offset: number | undefined;
  readonly expected: number | string | undefined;
  readonly actual: number | string | undefined;
  readonly status: number | undefined;

  constructor(
    code: UploadErrorCode,
    message: string,
    facts: UploadErrorFacts & { readonly cause?: unknown } = {},
  ) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = code;
    this.id = facts.id;
    this.offset = facts.offset;
    this.expected = facts.expected;
    this.actual = facts.actual;
    this.status = facts.status;
  }
}

export const isUploadError = (error: unknown, code?: UploadErrorCode): error is UploadError =>
  error instanceof UploadError && (code === undefined || error.code === code);

/** To `catch` with where an upload that is no more counts as none. */
export const unlessGone = (error: unknown): undefined => {
  if (!isUploadError(error, 'gone')) throw error;
};

/** The `code` of a Node system error (`ENOENT`, `EEXIST`, …), if it is one. */
export const systemCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

/** To `catch` with: a system error of one of these codes is no failure, and gives undefined. */
export const ignoring =
  (...codes: string[]) =>
  (error: unknown): undefined => {
    if (!codes.includes(systemCode(error) ?? '')) throw error;
  };

/** EDQUOT and EFBIG mean for an upload what ENOSPC means: the bytes do not fit here. */
const full = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Whether a store failed for want of room. */
export const isFull = (error: unknown): boolean =>
  isUploadError(error, 'no_space') || full.has(systemCode(error) ?? '');

/** To `catch` what a store threw with. */
export const rethrowFor =
  (id: string) =>
  (error: unknown): never => {
    throw storeError(error, id);
  };

/** Wraps whatever a store threw; an `UploadError` is passed on as it is. */
export const storeError = (error: unknown, id?: string): UploadError => {
  if (error instanceof UploadError) return error;
  return isFull(error)
    ? new UploadError('no_space', 'the store is full', { id, cause: error })
    : new UploadError('store_failed', 'the store failed', { id, cause: error });
};
