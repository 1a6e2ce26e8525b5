import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Entity } from './download/entity.ts';
import { type PlanOptions, planResponse, type ResponsePlan } from './download/plan.ts';
import { Departed, drained, pump, wrongSize } from './download/pump.ts';
import { isUploadError } from './errors.ts';
import type { Range } from './intervals.ts';

export type { Entity } from './download/entity.ts';
export { type FileEntityOptions, fileEntity } from './download/file.ts';
export {
  type PlanOptions,
  planResponse,
  type Representation,
  type RequestLine,
  type ResponsePlan,
} from './download/plan.ts';
export { type UploadEntityOptions, uploadEntity } from './download/upload.ts';
export type { ContentDisposition } from './headers/content-disposition.ts';

export interface ServeOptions extends Pick<PlanOptions, 'maxRanges'> {
  /** Is told what went wrong with the entity or its bytes. @default console.error */
  readonly onError?: (error: unknown) => void;
}

/** What came of a response. */
export interface Served {
  readonly status: number;
  /** Bytes of the body that were given to the connection. */
  readonly sentBytes: number;
  /** Whether that was all. */
  readonly isComplete: boolean;
}

/** A body up to this many bytes is read at once and sent in one piece with its head, where the entity can do that. */
const wholeBytes = 64 * 1024;

/**
 * Answers a GET or HEAD with the content, or what it wants of it: conditional requests, one range or several. Undefined is
 * a 404, any other method a 405. Fields that were set on the response before stay.
 *
 * Never rejects. An entity that could not be had, or a source that fails before its first byte, makes a bare 500 (410
 * where the entity, 404 where its bytes are gone); after that byte the connection is destroyed, so that a part never looks
 * like the whole. A client that goes away ends the reading.
 */
export const serve = async (
  req: IncomingMessage,
  res: ServerResponse,
  entity: Entity | undefined | Promise<Entity | undefined>,
  options: ServeOptions = {},
): Promise<Served> => {
  const sender = new Sender(res);
  let found: Entity | undefined;
  try {
    found = await entity;
    if (found === undefined) return bare(res, 404);
    const plan = planResponse(req, found, options);
    await sender.send(plan, found);
    return sender.served(plan.status, true);
  } catch (error) {
    if (error instanceof Departed || res.destroyed) return sender.served(res.statusCode, false);
    // Nothing has failed: this is the answer to who asks for what was.
    if (found === undefined && isUploadError(error, 'gone')) return bare(res, 410);
    tell(error, options);
    if (!res.headersSent) return bare(res, isUploadError(error, 'gone') ? 404 : 500);
    res.destroy();
    return sender.served(res.statusCode, false);
  } finally {
    await found?.close?.().catch((error: unknown) => tell(error, options));
  }
};

/** One response: what is sent of it, and how much was. */
class Sender {
  readonly #res: ServerResponse;
  /** Text that goes out with the bytes behind it. */
  #text = '';
  #sentBytes = 0;

  constructor(res: ServerResponse) {
    this.#res = res;
  }

  served(status: number, isComplete: boolean): Served {
    return { status, sentBytes: this.#sentBytes, isComplete };
  }

  async send(plan: ResponsePlan, entity: Entity): Promise<void> {
    const { status, headers, body, bodyLength } = plan;
    const res = this.#res;
    if (res.destroyed) throw new Departed();
    if (body.length === 0) {
      res.writeHead(status, headers).end();
      return;
    }
    const { readBytes } = entity;
    if (readBytes !== undefined && bodyLength !== undefined && bodyLength <= wholeBytes) {
      const bytes = await readAll(body, (start, end) => readBytes.call(entity, start, end));
      if (res.destroyed) throw new Departed();
      if (bytes.byteLength !== bodyLength) throw wrongSize(bodyLength, bytes.byteLength);
      res.writeHead(status, headers).end(bytes);
      this.#sentBytes = bytes.byteLength;
      return;
    }
    for (const piece of body) {
      if (typeof piece === 'string') this.#text += piece;
      else await this.#sendRange(piece, entity, plan);
    }
    this.#before(plan, 0);
    await ended(res);
  }

  async #sendRange({ start, end }: Range, entity: Entity, plan: ResponsePlan): Promise<void> {
    const size = end === Number.POSITIVE_INFINITY ? undefined : end - start;
    await pump(entity.read(start, end), this.#res, size, (bytes) => this.#before(plan, bytes));
    await drained(this.#res);
  }

  /** The head waits for the first byte: until then a failure can still be told. */
  #before({ status, headers }: ResponsePlan, bytes: number): void {
    const res = this.#res;
    if (!res.headersSent) res.writeHead(status, headers);
    if (this.#text !== '') res.write(this.#text, 'latin1');
    this.#sentBytes += this.#text.length + bytes;
    this.#text = '';
  }
}

const readAll = async (
  body: ResponsePlan['body'],
  read: NonNullable<Entity['readBytes']>,
): Promise<Uint8Array> => {
  const [only] = body;
  if (body.length === 1 && only !== undefined && typeof only !== 'string') return read(only.start, only.end);
  return Buffer.concat(
    await Promise.all(
      body.map((piece) =>
        typeof piece === 'string' ? Buffer.from(piece, 'latin1') : read(piece.start, piece.end),
      ),
    ),
  );
};

/** Ends the response; resolves when the system has all of it. */
const ended = (res: ServerResponse): Promise<void> =>
  new Promise((resolve, reject) => {
    const settle = (): void => {
      res.off('finish', settle).off('close', settle);
      if (res.writableFinished) resolve();
      else reject(new Departed());
    };
    if (res.destroyed) return settle();
    res.on('finish', settle).on('close', settle).end();
  });

const bare = (res: ServerResponse, status: number): Served => {
  if (!res.destroyed) res.writeHead(status, { 'Content-Length': 0 }).end();
  return { status, sentBytes: 0, isComplete: !res.destroyed };
};

const tell = (error: unknown, { onError = console.error }: ServeOptions): void => {
  try {
    onError(error);
  } catch (failure) {
    console.error(failure);
  }
};
