import { UploadError, type UploadErrorCode, type UploadErrorFacts } from '../errors.ts';
import type { HttpResponse } from './transport.ts';

export interface UploadFailureFacts extends UploadErrorFacts {
  readonly cause?: unknown;
  /** Why each request before the end failed, oldest first. */
  readonly attempts: readonly unknown[];
  readonly response?: HttpResponse | undefined;
}

/** Why an upload ended without a 2xx. `cause` is the last failure, `attempts` are all of them. */
export class UploadFailedError extends UploadError {
  /** Why each failed request failed, oldest first: lost connections, stalls, 503s, 308s without progress. */
  readonly attempts: readonly unknown[];
  /** The answer that ended it; undefined when there was none. */
  readonly response: HttpResponse | undefined;

  constructor(code: UploadErrorCode, message: string, facts: UploadFailureFacts) {
    super(code, message, facts);
    this.attempts = facts.attempts;
    this.response = facts.response;
  }
}

/** A request that ended without a usable answer: the server may hold more than it was able to say. */
export class Interruption extends UploadError {
  /** Whether the connection was ever made; when not, the server has seen nothing of the request. */
  readonly connected: boolean;

  constructor(connected: boolean, cause: unknown) {
    super('interrupted', cause instanceof Error && cause.message !== '' ? cause.message : String(cause), {
      cause,
    });
    this.connected = connected;
  }
}

/** `404 Not Found: no such upload`, the body on one line and cut to what a log line bears. */
export const describeResponse = ({ status, statusText, body }: HttpResponse): string => {
  const text = new TextDecoder().decode(body.subarray(0, 300)).replace(/\s+/g, ' ').trim();
  return `${status} ${statusText}`.trim() + (text === '' ? '' : `: ${text}`);
};
