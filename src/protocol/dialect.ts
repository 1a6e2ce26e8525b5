import type { UploadError } from '../errors.ts';
import type { Range } from '../intervals.ts';

// A dialect turns a request head into a command and an outcome into a response head. It does no I/O, and
// neither commands nor outcomes carry a status or a header: that is what makes dialects interchangeable.

/** The part of a request that decides what it asks for. Header names in lower case, as Node gives them. */
export interface RequestHead {
  readonly method: string;
  /** The request target as received. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** What the application says about this request. */
  readonly facts: RequestFacts;
}

export interface RequestFacts {
  /** The name a client chose for its operation, where the application declares the URL unique. */
  readonly name: string | undefined;
  /**
   * What the application says: true for an upload even if it has no body, false for a request that is none of
   * ours whatever it looks like, undefined to let its head decide.
   */
  readonly isUpload: boolean | undefined;
}

/** How a request names its upload, before any secret is hashed into an id. */
export type Identity =
  /** A secret of ours, in the URL we gave or in the entity tag. */
  | { readonly by: 'session' | 'tag'; readonly token: string }
  | { readonly by: 'name'; readonly name: string }
  /** A first request that knows nothing of us: a new upload with a new secret. */
  | { readonly by: 'none' };

export type Command =
  /** Make an upload and tell its identity; no byte comes with it. */
  | { readonly kind: 'create'; readonly identity: Identity; readonly length: number | undefined }
  | WriteCommand
  /** What is stored? `absent: 'empty'` where an upload nobody has seen is one with nothing stored. */
  | {
      readonly kind: 'query';
      readonly identity: Identity;
      readonly length: number | undefined;
      readonly absent: 'empty' | 'refuse';
    }
  /** `absent: 'pass'` where the request is the application's own unless there is an open upload. */
  | { readonly kind: 'abort'; readonly identity: Identity; readonly absent: 'pass' | 'refuse' };

export interface WriteCommand {
  readonly kind: 'write';
  readonly identity: Identity;
  readonly absent: 'create' | 'refuse';
  readonly start: number;
  /** Exclusive; undefined when the head does not say. */
  readonly end: number | undefined;
  readonly length: number | undefined;
  /** Whether the clean end of the body is the end of the content. */
  readonly endsContent: boolean;
  /** The digest of the whole content, in canonical form. */
  readonly digest: string | undefined;
  /** Whether the sender wants to be told of checkpoints while it sends. */
  readonly wantsCheckpoints: boolean;
}

/** What came of a command. */
export type Outcome =
  /** Bytes are missing and will be taken. */
  | { readonly kind: 'incomplete'; readonly received: readonly Range[] }
  /** Said while the body is still coming. */
  | { readonly kind: 'checkpoint'; readonly received: readonly Range[] }
  | { readonly kind: 'created' }
  | { readonly kind: 'aborted' }
  /** All bytes are there, `length` of them where that is at hand, and the answer is not: ask again. */
  | { readonly kind: 'processing'; readonly retryAfterMs: number; readonly length: number | undefined }
  | { readonly kind: 'failed'; readonly error: UploadError };

/** What an outcome is told about the request it answers. */
export interface OutcomeContext {
  readonly identity: Identity;
  /** The secret to tell a client that has none yet; undefined where it has, or must not learn it here. */
  readonly token: string | undefined;
  /** The request target, without the session parameter. */
  readonly url: string;
  /** Scheme and authority that a URL is to have; undefined where it is to be relative. */
  readonly origin?: string | undefined;
}

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Dialect {
  readonly name: string;
  /**
   * Undefined when the request is none of ours. Rejects with an `UploadError` when it is, but cannot be read.
   */
  command(head: RequestHead): Command | undefined;
  response(outcome: Outcome, context: OutcomeContext): ResponseHead;
  /** The request target as the application knows it. */
  plainUrl(url: string): string;
}
