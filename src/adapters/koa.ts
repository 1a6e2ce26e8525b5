import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResumableOptions } from '../http/options.ts';
import { type UploadOperations, uploadService } from '../http/service.ts';
import type { Upload } from '../http/upload.ts';

declare module 'koa' {
  interface ExtendableContext {
    /** The upload, behind `resumable`; undefined for a request that is none. In stream mode a `StreamedUpload`. */
    upload?: Upload | undefined;
  }
}

/** What is used of a Koa context, and what is added to it. */
export interface KoaContext {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly request: object;
  originalUrl: string;
  respond?: boolean | undefined;
  upload?: Upload | undefined;
}

/** Koa middleware, and the few things to do with uploads outside any request. */
export interface ResumableMiddleware extends UploadOperations {
  (context: KoaContext, next: () => Promise<unknown>): Promise<void>;
}

/**
 * Makes what comes behind it on a route resumable: `router.post('/photos', resumable({ store }), ctx => …)`. To be put
 * before any body parser. For Koa 3.
 *
 * The store's and the library's own failures are thrown, with their `statusCode`. What the route answers with 5xx, or
 * throws, is a failure too: the bytes are kept, and the route is entered again when its client asks again.
 */
export const resumable = (options: ResumableOptions): ResumableMiddleware => {
  const service = uploadService(options);
  const middleware = (context: KoaContext, next: () => Promise<unknown>): Promise<void> =>
    new Promise((resolve, reject) => {
      const { req, res, originalUrl } = context;
      context.respond = false; // until the answer is Koa's to give
      const enter = (): void => {
        context.respond = true;
        next().then(() => resolve(), reject);
      };
      const handler = ({ upload }: { upload?: Upload }): void => {
        context.upload = upload;
        context.originalUrl = service.plainUrl(originalUrl);
        // `ctx.URL` is kept from when it is first asked for.
        Object.assign(context.request, { originalUrl: context.originalUrl, memoizedURL: undefined });
        enter();
      };
      const fail = (error: Error): void => {
        context.respond = true;
        reject(error);
      };
      const ended = service.serve({ req, res, handler, isBound: true, target: originalUrl, fail }, enter);
      ended?.then(() => context.respond || resolve());
    });
  return Object.assign(middleware, service.operations);
};
