import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { receiveBody } from './body.ts';
import type { CallLog, OpenCall } from './calls.ts';
import { Content } from './content.ts';
import { messageOf, S3Error } from './errors.ts';
import { codeOfStatus, type Fault, type Faults } from './faults.ts';
import type { MultipartUploads } from './multipart.ts';
import * as multipart from './multipart-handlers.ts';
import * as objectHandlers from './object-handlers.ts';
import type { ObjectStore } from './object-store.ts';
import { operationOf, type S3Operation, unknownParts } from './operations.ts';
import { parseRequest, type S3Request } from './request.ts';
import { verifySignature } from './signature.ts';
import type { Answer, Handler, Rules, Work } from './work.ts';
import { errorXml } from './xml.ts';

const handlers: Readonly<Record<S3Operation, Handler>> = {
  AbortMultipartUpload: multipart.abortMultipartUpload,
  CompleteMultipartUpload: multipart.completeMultipartUpload,
  CopyObject: objectHandlers.copyObject,
  CreateBucket: objectHandlers.createBucket,
  CreateMultipartUpload: multipart.createMultipartUpload,
  DeleteObject: objectHandlers.deleteObject,
  DeleteObjects: objectHandlers.deleteObjects,
  GetObject: objectHandlers.getObject,
  HeadBucket: objectHandlers.headBucket,
  HeadObject: objectHandlers.getObject,
  ListMultipartUploads: multipart.listMultipartUploads,
  ListObjectsV2: objectHandlers.listObjectsV2,
  ListParts: multipart.listParts,
  PutObject: objectHandlers.putObject,
  UploadPart: multipart.uploadPart,
  UploadPartCopy: multipart.uploadPartCopy,
};

export interface ServerParts {
  readonly rules: Rules;
  readonly objects: ObjectStore;
  readonly uploads: MultipartUploads;
  readonly faults: Faults;
  readonly log: CallLog;
  /** Ends whatever still waits. */
  readonly closing: AbortSignal;
}

/** One request and its answer on their way. */
interface Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  /** The request lets go of it when it is destroyed. */
  readonly socket: Socket;
  readonly requestId: string;
  /** Whether the client waits for a 100 before it sends its body. */
  waits: boolean;
}

/** The connection was reset on purpose: there is nobody left to answer. */
class Reset extends Error {}

export const createS3Server = (parts: ServerParts): Server => {
  const handle = (incoming: IncomingMessage, outgoing: ServerResponse, waits: boolean): void => {
    const requestId = randomBytes(8).toString('hex').toUpperCase();
    const exchange: Exchange = { incoming, outgoing, socket: incoming.socket, requestId, waits };
    // A body that nobody reads to its end fails when the connection does.
    incoming.on('error', () => {});
    outgoing.on('error', () => {});
    serve(parts, exchange).catch((error: unknown) => {
      outgoing.destroy();
      if (!parts.closing.aborted) throw error;
    });
  };
  // A test may take its time between two requests of one connection.
  const patient = { keepAliveTimeout: 600_000, requestTimeout: 0 };
  const server = createServer(patient, (incoming, outgoing) => handle(incoming, outgoing, false));
  // Like S3, which looks at the headers first and sends the 100 only to a request it is going to read.
  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    handle(incoming, outgoing, true);
  });
  return server;
};

const serve = async (parts: ServerParts, exchange: Exchange): Promise<void> => {
  let request: S3Request;
  try {
    request = parseRequest(exchange.incoming);
  } catch (error) {
    return void (await send(parts, exchange, answerTo(error, exchange), undefined, []));
  }
  const { method, url } = request;
  const unknown = (what: string): S3Error => {
    parts.log.unknown.push({ method, url, what });
    return new S3Error('NotImplemented', `The double does not know: ${what}`);
  };
  const operation = operationOf(request);
  if (operation === undefined) {
    return void (await send(parts, exchange, answerTo(unknown('operation'), exchange), undefined, []));
  }
  const call = parts.log.open(operation, request);
  const faults = parts.faults.take(call);
  try {
    const answer = await answerOf(parts, exchange, request, call, faults, unknown);
    call.effective = answer.code === undefined && answer.status < 400;
    const replaced = await applyFaults(parts, exchange, faults, 'after');
    await send(parts, exchange, replaced ?? answer, call, faults);
  } catch (error) {
    const { incoming, socket } = exchange;
    if (!(error instanceof Reset || incoming.readableAborted || socket.destroyed)) throw error;
    call.outcome = 'lost';
    socket.destroy();
  }
};

const answerOf = async (
  parts: ServerParts,
  exchange: Exchange,
  request: S3Request,
  call: OpenCall,
  faults: readonly Fault[],
  unknown: Work['unknown'],
): Promise<Answer> => {
  const { rules } = parts;
  const failed = await applyFaults(parts, exchange, faults, 'before');
  if (failed !== undefined) return failed;
  try {
    const errors = unknownParts(call.operation, request).map(unknown);
    if (errors[0] !== undefined) throw errors[0];
    const signer = verifySignature(request, rules);
    return await handlers[call.operation]({
      ...parts,
      request,
      requestId: exchange.requestId,
      unknown,
      receive: async ({ algorithm, verify = true } = {}) => {
        const onBytes = pacer(parts, exchange, call, faults);
        if (exchange.waits) exchange.outgoing.writeContinue();
        exchange.waits = false;
        return receiveBody(exchange.incoming, request, {
          signer,
          algorithm,
          verify,
          maxSize: rules.maxPutSize,
          onBytes,
        });
      },
    });
  } catch (error) {
    if (!(error instanceof S3Error)) throw error;
    return answerTo(error, exchange);
  }
};

/** An answer instead of the true one, if one of the faults is an error. */
const applyFaults = async (
  { closing }: ServerParts,
  { socket, requestId }: Exchange,
  faults: readonly Fault[],
  when: 'before' | 'after',
): Promise<Answer | undefined> => {
  for (const fault of faults) {
    if ((fault.when ?? 'before') !== when) continue;
    if (fault.delayMs !== undefined) await delay(fault.delayMs, undefined, { signal: closing });
    const { until } = fault;
    if (until !== undefined)
      await Promise.race([typeof until === 'function' ? until() : until, aborted(closing)]);
    closing.throwIfAborted();
    if (fault.what === 'reset' && (when === 'after' || fault.afterBytes === undefined)) {
      reset(socket);
      throw new Reset();
    }
    if (fault.what !== 'status') continue;
    const status = fault.status ?? 500;
    const code = fault.code ?? codeOfStatus[status] ?? 'InternalError';
    const xml = errorXml({ code, message: messageOf(code), details: {} }, requestId);
    return { status, code, xml };
  }
  return undefined;
};

/** Of one that is being shut down already, Node (20) would keep the handle for ever, and could not exit. */
const reset = (socket: Socket): void => {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
};

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** Counts the content of a request as it comes, resets it midway, and holds it back to a speed. */
const pacer = (
  { closing }: ServerParts,
  { socket }: Exchange,
  call: OpenCall,
  faults: readonly Fault[],
): ((total: number) => Promise<void> | undefined) => {
  const limit = faults.find(
    ({ what, when, afterBytes }) => what === 'reset' && when !== 'after' && afterBytes !== undefined,
  )?.afterBytes;
  const speed = faults.find(({ what }) => what === 'slow')?.bytesPerSecond;
  return (total) => {
    const fresh = total - call.received;
    call.received = total;
    if (limit !== undefined && total >= limit) {
      reset(socket);
      throw new Reset();
    }
    if (speed === undefined || fresh === 0) return undefined;
    return delay((fresh / speed) * 1000, undefined, { signal: closing });
  };
};

const answerTo = (error: unknown, { requestId }: Exchange): Answer => {
  if (!(error instanceof S3Error)) throw error;
  const { status, code, headers } = error;
  if (status === 304) return { status, code, headers };
  return { status, code, headers, xml: errorXml(error, requestId) };
};

const send = async (
  parts: ServerParts,
  exchange: Exchange,
  answer: Answer,
  call: OpenCall | undefined,
  faults: readonly Fault[],
): Promise<void> => {
  const { outgoing, incoming, socket, requestId } = exchange;
  const { status, headers = {}, xml } = answer;
  const isHead = incoming.method === 'HEAD';
  const whole = xml === undefined ? answer.content : new Content([Buffer.from(xml)]);
  const short = faults.find(({ what }) => what === 'short');
  const body = short === undefined ? whole : whole?.slice(0, endOf(whole, short));
  if (socket.destroyed) {
    if (call !== undefined) call.outcome = 'lost';
    return;
  }
  if (call !== undefined) {
    call.status = status;
    if (answer.code !== undefined) call.code = answer.code;
  }
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) outgoing.setHeader(name, value);
  }
  outgoing.setHeader('server', 'AmazonS3');
  outgoing.setHeader('x-amz-request-id', requestId);
  outgoing.setHeader('x-amz-id-2', 'double');
  if (xml !== undefined) outgoing.setHeader('content-type', 'application/xml');
  if (status !== 204 && status !== 304)
    outgoing.setHeader('content-length', isHead && xml ? 0 : (body?.size ?? 0));
  // As S3 says it will; where a 100 was awaited and did not come, Node does it by itself.
  if (answer.code === 'RequestTimeout') outgoing.setHeader('connection', 'close');
  outgoing.statusCode = status;
  // What is left of a body that was refused: Node throws away only one that nobody has begun to read.
  incoming.resume();
  const finished = new Promise<void>((resolve) => outgoing.once('close', resolve));
  if (body === undefined || isHead) outgoing.end();
  else await sendBody(parts, exchange, body, call, faults);
  await finished;
  if (call !== undefined) call.outcome = outgoing.writableFinished ? 'answered' : 'lost';
};

const sendBody = async (
  { closing }: ServerParts,
  { socket, outgoing }: Exchange,
  body: Content,
  call: OpenCall | undefined,
  faults: readonly Fault[],
): Promise<void> => {
  const cut = faults.find(({ what }) => what === 'cut');
  const speed = faults.find(({ what }) => what === 'slow')?.bytesPerSecond;
  const { chunks } = body.slice(0, cut === undefined ? body.size : endOf(body, cut));
  const step = speed === undefined ? Number.POSITIVE_INFINITY : Math.max(1, Math.ceil(speed / 20));
  outgoing.flushHeaders();
  for (const chunk of chunks) {
    for (let offset = 0; offset < chunk.length; offset += step) {
      if (outgoing.destroyed) return;
      const piece = chunk.subarray(offset, offset + step);
      const flushed = outgoing.write(piece);
      if (call !== undefined) call.sent += piece.length;
      if (!flushed) await drained(outgoing);
      if (speed !== undefined) await delay((piece.length / speed) * 1000, undefined, { signal: closing });
    }
  }
  if (cut === undefined) outgoing.end();
  else socket.destroySoon();
};

/** Where a body breaks off. */
const endOf = ({ size }: Content, { afterBytes }: Fault): number =>
  Math.min(size, afterBytes ?? Math.floor(size / 2));

const drained = (outgoing: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const settle = (): void => {
      outgoing.off('drain', settle).off('close', settle);
      resolve();
    };
    outgoing.on('drain', settle).on('close', settle);
  });
