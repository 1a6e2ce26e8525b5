import { createReadStream } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import fastifyMultipart from '@fastify/multipart';
import { serve } from '@hono/node-server';
import { bodyParser } from '@koa/bodyparser';
import busboy from 'busboy';
import express, { type Request as ExpressRequest, type RequestHandler } from 'express';
import express4 from 'express4';
import { type FastifyInstance, type FastifyRequest, fastify } from 'fastify';
import formidable from 'formidable';
import { Hono } from 'hono';
import Koa, { type Context } from 'koa';
import { koaBody } from 'koa-body';
import multer from 'multer';
import { resumable as expressResumable } from '../../src/adapters/express.ts';
import { resumable as fastifyResumable } from '../../src/adapters/fastify.ts';
import { resumable as fetchResumable } from '../../src/adapters/fetch.ts';
import { resumable as koaResumable } from '../../src/adapters/koa.ts';
import {
  type ResumableOptions,
  resumable,
  type StreamedUpload,
  type Upload,
  type UploadOperations,
} from '../../src/index.ts';
import type { Digested } from '../support/service.ts';
import { fetchLine, type Line, socketLine } from './line.ts';
import { type Form, Sum, sumOf } from './message.ts';

/** What an app is started with. */
export interface Setting {
  readonly options: ResumableOptions;
  /** For the files of parsers that make some. */
  readonly folder: string;
  /** Told by the first thing behind `resumable`, before any parser. */
  readonly enter: (upload: Upload | StreamedUpload | undefined) => void;
}

export interface App {
  readonly line: Line;
  readonly uploads: UploadOperations;
  stop(): Promise<void>;
}

/** One adapter with one parser behind it. */
export interface Route {
  readonly adapter: string;
  readonly parser: string;
  readonly form: Form;
  /** How many files its parser makes of one upload, for the route to do with what it likes. */
  readonly files: number;
  start(setting: Setting): Promise<App>;
}

/** What every route answers with. */
export const status = 201;
export const header = 'X-Route';

type Read = (req: IncomingMessage, folder: string) => Promise<Digested>;

interface Parser {
  readonly parser: string;
  readonly form: Form;
  readonly files?: number;
}

// Parsers that take a request of Node's.

const readAll = async (body: AsyncIterable<unknown>): Promise<Digested> => {
  const sum = new Sum();
  for await (const chunk of body) sum.add(chunk as Buffer);
  return sum.digested;
};

const readFile = async (title: string | undefined, path: string | undefined): Promise<Digested> => {
  const sum = new Sum().add(title ?? '');
  for await (const chunk of createReadStream(path ?? '')) sum.add(chunk as Buffer);
  return sum.digested;
};

const readWithBusboy = async (req: IncomingMessage): Promise<Digested> => {
  const sum = new Sum();
  const parser = busboy({ headers: req.headers });
  parser.on('field', (_name, value) => sum.add(value));
  parser.on('file', (_name, file) => {
    file.on('data', (chunk: Buffer) => sum.add(chunk));
    file.on('error', () => undefined); // a body that breaks off is told here too
  });
  await pipeline(req, parser);
  return sum.digested;
};

const readWithFormidable = async (req: IncomingMessage, folder: string): Promise<Digested> => {
  const [fields, files] = await formidable({ uploadDir: folder }).parse(req);
  return readFile(fields.title?.[0], files.film?.[0]?.filepath);
};

const nodeParsers: readonly (Parser & { readonly read: Read })[] = [
  { parser: 'busboy', form: 'multipart', read: readWithBusboy },
  { parser: 'formidable', form: 'multipart', files: 1, read: readWithFormidable },
  { parser: 'for await', form: 'bytes', read: readAll },
];

/** The end of an app over a server of Node's: what it is connected to goes, and then it. */
const closing = (server: Server, end: () => Promise<unknown>) => async (): Promise<void> => {
  server.closeAllConnections();
  await end();
};

const appOf = (server: Server, uploads: UploadOperations): App => ({
  line: socketLine((server.address() as AddressInfo).port),
  uploads,
  stop: closing(server, async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    await uploads.close({ graceMs: 0 });
    await closed;
  }),
});

const listening = async (listener: RequestListener): Promise<Server> => {
  const server = createServer({ requestTimeout: 0 }, listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
};

// Plain Node.

const plainRoutes = nodeParsers.map(({ read, ...parser }): Route => {
  const start = async ({ options, folder, enter }: Setting): Promise<App> => {
    const uploads = resumable(options, async (req, res) => {
      enter(req.upload);
      const seen = await read(req, folder);
      res.writeHead(status, { [header]: parser.parser, 'Content-Type': 'application/json' });
      res.end(JSON.stringify(seen));
    });
    return appOf(await listening(uploads), uploads);
  };
  return { files: 0, ...parser, adapter: 'plain', start };
});

// Express.

interface ExpressParser extends Parser {
  readonly use?: (folder: string) => RequestHandler;
  readonly read: (req: ExpressRequest, folder: string) => Digested | Promise<Digested>;
}

const textOf = ({ body }: { readonly body?: unknown }): Digested => {
  const { title, text } = body as { title: string; text: string };
  return sumOf(title, text);
};

const expressParsers = (kit: typeof express): readonly ExpressParser[] => [
  {
    parser: 'multer, memory',
    form: 'multipart',
    use: () => multer({ storage: multer.memoryStorage() }).single('film'),
    read: ({ body, file }) => sumOf((body as { title: string }).title, file?.buffer ?? ''),
  },
  {
    parser: 'multer, disk',
    form: 'multipart',
    files: 1,
    use: (folder) => multer({ dest: folder }).single('film'),
    read: ({ body, file }) => readFile((body as { title: string }).title, file?.path),
  },
  { parser: 'express.json', form: 'json', use: () => kit.json({ limit: '2mb' }), read: textOf },
  {
    parser: 'express.raw',
    form: 'bytes',
    use: () => kit.raw({ limit: '2mb' }),
    read: ({ body }) => sumOf(body as Buffer),
  },
  {
    parser: 'express.urlencoded',
    form: 'urlencoded',
    use: () => kit.urlencoded({ extended: false, limit: '2mb' }),
    read: textOf,
  },
  ...nodeParsers,
];

const through: RequestHandler = (_req, _res, next) => next();

const expressRoutes = (adapter: string, kit: typeof express): Route[] =>
  expressParsers(kit).map(({ use, read, ...parser }) => {
    const start = async ({ options, folder, enter }: Setting): Promise<App> => {
      const uploads = expressResumable(options);
      const entering: RequestHandler = (req, _res, next) => {
        enter(req.upload);
        next();
      };
      const app = kit();
      app.post('/upload', uploads, entering, use?.(folder) ?? through, (req, res, next) => {
        const answer = async (): Promise<void> => {
          const seen = await read(req, folder);
          res.status(status).set(header, parser.parser).json(seen);
        };
        answer().catch(next); // Express 4 does not look at what a handler returns
      });
      return appOf(await listening(app), uploads);
    };
    return { files: 0, ...parser, adapter, start };
  });

// Koa.

interface KoaParser extends Parser {
  readonly use?: (folder: string) => Koa.Middleware;
  readonly read: (context: Context) => Digested | Promise<Digested>;
}

const koaParsers: readonly KoaParser[] = [
  {
    parser: '@koa/bodyparser, json',
    form: 'json',
    use: () => bodyParser({ jsonLimit: '2mb' }),
    read: ({ request }) => textOf(request),
  },
  {
    parser: 'koa-body, multipart',
    form: 'multipart',
    files: 1,
    use: (folder) => koaBody({ multipart: true, formidable: { uploadDir: folder } }),
    read: ({ request: { body, files } }) => {
      const film = [files?.film ?? []].flat()[0];
      return readFile((body as { title: string }).title, film?.filepath);
    },
  },
  { parser: 'ctx.req', form: 'bytes', read: ({ req }) => readAll(req) },
];

const koaRoutes = koaParsers.map(({ use, read, ...parser }): Route => {
  const start = async ({ options, folder, enter }: Setting): Promise<App> => {
    const uploads = koaResumable(options);
    const app = new Koa();
    app.silent = true; // of a body that ended because the server did
    app.use(uploads);
    app.use((context, next) => {
      enter((context as { upload?: Upload }).upload);
      return next();
    });
    if (use !== undefined) app.use(use(folder));
    app.use(async (context) => {
      const seen = await read(context);
      context.status = status;
      context.set(header, parser.parser);
      context.body = seen;
    });
    return appOf(await listening(app.callback()), uploads);
  };
  return { files: 0, ...parser, adapter: 'Koa 3', start };
});

// Fastify.

interface FastifyParser extends Parser {
  readonly use: (app: FastifyInstance) => unknown;
  readonly read: (request: FastifyRequest) => Digested | Promise<Digested>;
}

const fastifyParsers: readonly FastifyParser[] = [
  {
    parser: '@fastify/multipart',
    form: 'multipart',
    use: (app) => app.register(fastifyMultipart),
    read: async (request) => {
      const film = await request.file();
      const title = film?.fields.title as { value: string } | undefined;
      const sum = new Sum().add(title?.value ?? '');
      for await (const chunk of film?.file ?? []) sum.add(chunk as Buffer);
      return sum.digested;
    },
  },
  { parser: 'built-in JSON', form: 'json', use: () => undefined, read: textOf },
  {
    parser: 'content-type parser, stream',
    form: 'bytes',
    use: (app) =>
      app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload)),
    read: ({ body }) => readAll(body as Readable),
  },
  {
    parser: 'content-type parser, buffer',
    form: 'bytes',
    use: (app) =>
      app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) =>
        done(null, body),
      ),
    read: ({ body }) => sumOf(body as Buffer),
  },
];

const fastifyRoutes = fastifyParsers.map(({ use, read, ...parser }): Route => {
  const start = async ({ options, folder: _, enter }: Setting): Promise<App> => {
    const app = fastify({ bodyLimit: 2 * 1024 * 1024, requestTimeout: 0 });
    await app.register(fastifyResumable, options);
    await use(app);
    app.addHook('onRequest', async (request) => enter((request as { upload?: Upload }).upload));
    app.post('/upload', { config: { resumable: true } }, async (request, reply) => {
      const seen = await read(request);
      return reply.code(status).header(header, parser.parser).send(seen);
    });
    await app.listen({ host: '127.0.0.1', port: 0 });
    return {
      line: socketLine((app.server.address() as AddressInfo).port),
      uploads: (app as { uploads?: UploadOperations }).uploads as UploadOperations,
      stop: closing(app.server, () => app.close()),
    };
  };
  return { files: 0, ...parser, adapter: 'Fastify 5', start };
});

// Fetch.

interface FetchParser extends Parser {
  readonly read: (request: Request) => Promise<Digested>;
}

const fetchParsers: readonly FetchParser[] = [
  {
    parser: 'request.formData()',
    form: 'multipart',
    read: async (request) => {
      const form = await request.formData();
      const film = form.get('film') as File;
      return sumOf(String(form.get('title')), new Uint8Array(await film.arrayBuffer()));
    },
  },
  { parser: 'request.json()', form: 'json', read: async (request) => textOf({ body: await request.json() }) },
  {
    parser: 'request.arrayBuffer()',
    form: 'bytes',
    read: async (request) => sumOf(new Uint8Array(await request.arrayBuffer())),
  },
];

const fetchUploads = ({ parser, read }: FetchParser, { options, enter }: Setting) =>
  fetchResumable(options, async (request, upload) => {
    enter(upload);
    return Response.json(await read(request), { status, headers: { [header]: parser } });
  });

const honoRoutes = fetchParsers.map((parser): Route => {
  const start = async (setting: Setting): Promise<App> => {
    const uploads = fetchUploads(parser, setting);
    const app = new Hono();
    app.post('/upload', (context) => uploads(context.req.raw));
    const server = await new Promise<Server>((resolve) => {
      const started = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, () =>
        resolve(started as Server),
      );
    });
    return appOf(server, uploads);
  };
  return { files: 0, ...parser, adapter: 'Hono', start };
});

const fetchRoutes = fetchParsers.map((parser): Route => {
  const start = async (setting: Setting): Promise<App> => {
    const uploads = fetchUploads(parser, setting);
    return { line: fetchLine(uploads), uploads, stop: () => uploads.close({ graceMs: 0 }) };
  };
  return { files: 0, ...parser, adapter: 'fetch, no server', start };
});

export const routes: readonly Route[] = [
  ...expressRoutes('Express 5', express),
  ...expressRoutes('Express 4', express4),
  ...koaRoutes,
  ...fastifyRoutes,
  ...honoRoutes,
  ...fetchRoutes,
  ...plainRoutes,
];
