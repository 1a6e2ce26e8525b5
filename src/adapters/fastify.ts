import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResumableOptions } from '../http/options.ts';
import { type UploadOperations, uploadService } from '../http/service.ts';
import type { Upload } from '../http/upload.ts';

/** What is used of a Fastify request, and what is added to it. */
interface FastifyRequest {
  readonly raw: IncomingMessage;
  readonly originalUrl: string;
  readonly query: unknown;
  readonly routeOptions: { readonly config: object };
  /** The upload, on a resumable route; undefined for a request that is none. In stream mode a `StreamedUpload`. */
  upload?: Upload | undefined;
}

/** … and of an instance. */
interface FastifyInstance {
  decorate(name: string, value: UploadOperations): unknown;
  decorateRequest(name: string): unknown;
  addHook(
    name: 'onRequest',
    hook: (request: FastifyRequest, reply: { raw: ServerResponse }, done: (error?: Error) => void) => void,
  ): unknown;
  addHook(name: 'onClose', hook: () => Promise<void>): unknown;
}

/**
 * Makes the routes resumable that say so: `app.register(resumable, { store })`, and then
 * `app.post('/photos', { config: { resumable: true } }, handler)`. `request.upload` is the upload, and `app.uploads`
 * the few things to do with uploads outside any request. For Fastify 5, with any body parser. The service ends with
 * the instance.
 *
 * The store's and the library's own failures go to the error handler, with their `statusCode`. What the route answers
 * with 5xx is a failure too: the bytes are kept, and the route is entered again when its client asks again.
 */
export const resumable = async (app: FastifyInstance, options: ResumableOptions): Promise<void> => {
  const service = uploadService(options);
  const { sessionParameter = 'upload_id' } = options;
  app.decorate('uploads', service.operations);
  app.decorateRequest('upload');
  app.addHook('onClose', () => service.operations.close());
  app.addHook('onRequest', (request, reply, done) => {
    if (!('resumable' in request.routeOptions.config) || !request.routeOptions.config.resumable)
      return done();
    const handler = ({ upload }: { upload?: Upload }): void => {
      request.upload = upload;
      Reflect.deleteProperty(request.query as object, sessionParameter);
      done();
    };
    const { raw: req, originalUrl: target } = request;
    service.serve({ req, res: reply.raw, handler, isBound: true, target, fail: done }, done);
  });
};

// A plugin for the instance it is registered with, rather than for a scope of its own.
Object.assign(resumable, { [Symbol.for('skip-override')]: true });
