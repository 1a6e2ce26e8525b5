import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResumableOptions } from '../http/options.ts';
import { type UploadOperations, uploadService } from '../http/service.ts';
import type { Upload } from '../http/upload.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    resumable?: boolean | undefined;
  }
  interface FastifyInstance {
    uploads: UploadOperations;
  }
  interface FastifyRequest {
    /** The upload, on a resumable route; undefined for a request that is none. In stream mode a `StreamedUpload`. */
    upload?: Upload | undefined;
  }
}

/** What is used of a Fastify request, and of an instance. */
interface Request {
  readonly raw: IncomingMessage & { originalUrl?: string };
  readonly query: unknown;
  readonly routeOptions: { readonly config: { readonly resumable?: boolean | undefined } };
  upload?: Upload | undefined;
}
type Hook = (request: Request, reply: { raw: ServerResponse }, done: (error?: Error) => void) => void;
interface Instance {
  decorate(name: string, value: UploadOperations): Instance;
  decorateRequest(name: string): unknown;
  addHook(name: 'onRequest', hook: Hook): unknown;
  addHook(name: 'onClose', hook: () => Promise<void>): unknown;
}

/**
 * Makes the routes resumable that say so: `app.register(resumable, { store })`, and then
 * `app.post('/photos', { config: { resumable: true } }, handler)`. `request.upload` is the upload, and `app.uploads`
 * the few things to do with uploads outside any request. For Fastify 5, with any body parser. The service ends with
 * the instance. The store's and the library's own failures go to the error handler, with their `statusCode`. What the
 * route answers with 5xx is a failure too: the bytes are kept, and it is entered again when its client asks again.
 */
export const resumable = async (app: Instance, options: ResumableOptions): Promise<void> => {
  const service = uploadService(options);
  app.decorate('uploads', service.operations).decorateRequest('upload');
  app.addHook('onClose', () => service.operations.close());
  app.addHook('onRequest', (request, reply, done) => {
    if (!request.routeOptions.config.resumable) return done();
    const { raw: req } = request;
    const handler = ({ upload }: { upload?: Upload }): void => {
      request.upload = upload;
      const value = service.plainUrl(req.originalUrl ?? req.url ?? '/'); // Fastify keeps what a hook has asked for
      for (const it of [req, request]) Object.defineProperty(it, 'originalUrl', { value, writable: true });
      Reflect.deleteProperty(request.query as object, options.sessionParameter ?? 'upload_id');
      done();
    };
    service.serve({ req, res: reply.raw, handler, isBound: true, target: req.originalUrl, fail: done }, done);
  });
};

// A plugin for the instance it is registered with, rather than for a scope of its own.
Object.assign(resumable, { [Symbol.for('skip-override')]: true });
