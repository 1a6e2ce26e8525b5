import type { IncomingMessage, ServerResponse } from 'node:http';
import { FetchResponse, fromRequest, sendResponse, toRequest, withHeaders } from '../http/fetch-bridge.ts';
import type { ResumableOptions } from '../http/options.ts';
import { type UploadOperations, type UploadService, uploadService } from '../http/service.ts';
import type { Upload } from '../http/upload.ts';

/** `upload` is undefined for a request that is no upload. In stream mode it is a `StreamedUpload`. */
export type FetchHandler = (request: Request, upload?: Upload) => Response | Promise<Response>;

/** A fetch-style handler, and the few things to do with uploads outside any request. */
export interface ResumableFetch extends UploadOperations {
  (request: Request): Promise<Response>;
  /** See `ResumableListener.retryPending`. */
  retryPending(): ReturnType<UploadService['retryPending']>;
}

/**
 * Makes a fetch-style handler's uploads resumable, for servers in Node that speak `Request` and `Response`:
 * `app.post('/photos', (c) => uploads(c.req.raw))` with Hono. Such a server has no way to send a 103, and none to
 * close a connection.
 */
export const resumable = (options: ResumableOptions, handler: FetchHandler): ResumableFetch => {
  const service = uploadService(options);
  const run = async (
    req: IncomingMessage & { upload?: Upload },
    res: ServerResponse,
    asked?: Request,
  ): Promise<void> => {
    await sendResponse(res, await handler(toRequest(req, asked), req.upload));
  };
  const answer = (request: Request): Promise<Response> =>
    new Promise((resolve, reject) => {
      const req = fromRequest(request);
      const res = new FetchResponse(req, resolve);
      const pass = async (): Promise<Response> => withHeaders(await handler(request), res);
      service.serve(
        { req, res, handler: (held, captured) => run(held, captured, request), target: req.url },
        () => pass().then(resolve, reject),
      );
    });
  return Object.assign(answer, service.operations, { retryPending: () => service.retryPending(run) });
};
