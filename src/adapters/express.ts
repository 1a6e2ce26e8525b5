import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResumableOptions } from '../http/options.ts';
import { type UploadOperations, uploadService } from '../http/service.ts';
import type { Upload } from '../http/upload.ts';

declare global {
  namespace Express {
    interface Request {
      /** The upload, behind `resumable`; undefined for a request that is none. In stream mode a `StreamedUpload`. */
      upload?: Upload;
    }
  }
}

/** What Express adds to a request. */
type ExpressRequest = IncomingMessage & { originalUrl?: string; query?: unknown };

/** Express middleware, and the few things to do with uploads outside any request. */
export interface ResumableMiddleware extends UploadOperations {
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void): void;
}

/**
 * Makes what comes behind it on a route resumable: `app.post('/photos', resumable({ store }), multer(…), handler)`.
 * To be put before any body parser. For Express 4 and 5, and for whatever else takes `(req, res, next)`.
 *
 * The store's and the library's own failures go to the error handler, with their `statusCode`. What the route answers
 * with 5xx is a failure too: the bytes are kept, and the route is entered again when its client asks again.
 */
export const resumable = (options: ResumableOptions): ResumableMiddleware => {
  const service = uploadService(options);
  const { sessionParameter = 'upload_id' } = options;
  const middleware = (req: ExpressRequest, res: ServerResponse, next: (error?: unknown) => void): void => {
    const handler = (): void => {
      if (req.originalUrl !== undefined) req.originalUrl = service.plainUrl(req.originalUrl);
      // Express 4 has parsed the query before the URL was what it is now.
      if (Object.hasOwn(req, 'query')) Reflect.deleteProperty(req.query as object, sessionParameter);
      next();
    };
    const target = req.originalUrl;
    service.serve({ req, res, handler, isBound: true, target, fail: next }, () => next());
  };
  return Object.assign(middleware, service.operations);
};
