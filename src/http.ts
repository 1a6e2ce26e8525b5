import type { IncomingMessage, ServerResponse } from 'node:http';
import type { PendingCounts } from './engine/upkeep.ts';
import type { Handler, ResumableOptions, StreamHandler } from './http/options.ts';
import { type UploadOperations, uploadService } from './http/service.ts';

/** A plain request listener, and the few things to do with uploads outside any request. */
export interface ResumableListener extends UploadOperations {
  (req: IncomingMessage, res: ServerResponse): void;
  /** For a server's 'checkContinue' event: 100 (Continue) is then sent only when the body is wanted. */
  checkContinue(req: IncomingMessage, res: ServerResponse): void;
  /**
   * Runs the handler for uploads that have all bytes and no answer. To be called at start,
   * and again after `leaseMs` if some are `held`: those that a process of another machine or boot had begun.
   */
  retryPending(): Promise<PendingCounts>;
}

/**
 * Makes a request handler's uploads resumable. Returns a listener for `http.createServer` (or https). The
 * handler runs once the whole body is stored (in stream mode, at its first byte), and reads it from `req` as ever;
 * `req.upload` knows more. Its response is stored, and given to every later request for the same upload. Requests
 * that are no uploads pass through untouched.
 *
 * Rejects nothing at run time: each failure becomes an `application/problem+json` response with a stable
 * `code`. Throws an `UploadError` with `invalid_argument` for an unusable option.
 */
export function resumable(
  options: ResumableOptions & { readonly mode: 'stream' },
  handler: StreamHandler,
): ResumableListener;
export function resumable(options: ResumableOptions, handler: Handler): ResumableListener;
export function resumable(options: ResumableOptions, handler: Handler): ResumableListener {
  const service = uploadService(options);
  const serve = (req: IncomingMessage, res: ServerResponse, awaitsContinue: boolean): void => {
    service.serve({ req, res, handler, awaitsContinue }, () => {
      if (awaitsContinue) res.writeContinue();
      handler(req, res);
    });
  };
  const listener = (req: IncomingMessage, res: ServerResponse): void => serve(req, res, false);
  return Object.assign(listener, service.operations, {
    checkContinue: (req: IncomingMessage, res: ServerResponse) => serve(req, res, true),
    retryPending: () => service.retryPending(handler),
  });
}
