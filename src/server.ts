import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { serve, uploadEntity } from './download.ts';
import { UploadError } from './errors.ts';
import type { ContentDisposition } from './headers/content-disposition.ts';
import type { ResumableOptions } from './http/options.ts';
import type { UploadRequest } from './http/upload.ts';
import { type ResumableListener, resumable } from './http.ts';
import type { UploadRecord } from './store.ts';

// The server behind `npm start`: an ordinary handler that takes files and gives them back.
//
//     POST /upload        an upload; where to resume it, the handshake tells
//     PUT /upload/NAME    an upload at a URL the client chose: one name is one operation
//     GET /files/ID       the content, whole or in ranges

const route = /^\/upload(?:\/([^/?#]*))?(?:[?#]|$)/;

const identify = (req: IncomingMessage): string | undefined => {
  const name = route.exec(req.url ?? '')?.[1];
  if (name === undefined) return undefined;
  if (!/^[A-Za-z0-9._~-]{1,128}$/.test(name)) {
    throw new UploadError('malformed_name', 'not a name', { expected: '[A-Za-z0-9._~-]{1,128}' });
  }
  return name;
};

/**
 * A method belongs to one of the two forms of the URL; a request of another is no upload and gets its 405
 * below.
 */
const isUpload = (req: IncomingMessage): boolean => {
  const match = route.exec(req.url ?? '');
  if (match === null) return false;
  return match[1] === undefined ? req.method !== 'GET' : req.method === 'PUT' || req.method === 'DELETE';
};

export const uploadServer = (options: Omit<ResumableOptions, 'identify' | 'isUpload'>): ResumableListener => {
  return resumable({ ...options, identify, isUpload }, async (req, res) => {
    if (req.upload !== undefined) return receive(req, res);
    const id = /^\/files\/([A-Za-z0-9_-]{1,64})$/.exec(req.url ?? '')?.[1];
    if (id !== undefined)
      return void (await serve(req, res, uploadEntity(options.store, id, { ...options, disposition })));
    reply(res, route.test(req.url ?? '') ? 405 : 404);
  });
};

/** To be saved under the name its sender gave it. */
const disposition = ({ filename }: UploadRecord['metadata']): ContentDisposition | undefined =>
  filename === undefined ? undefined : { type: 'attachment', filename };

/** Reads the complete body, as any handler would. */
const receive = async (req: UploadRequest, res: ServerResponse): Promise<void> => {
  const sum = createHash('sha256');
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    sum.update(chunk);
    size += chunk.byteLength;
  }
  const id = req.upload?.id;
  res.writeHead(201, { 'Content-Type': 'application/json', Location: `/files/${id}` });
  res.end(`${JSON.stringify({ id, size, sha256: sum.digest('hex') })}\n`);
};

const reply = (res: ServerResponse, status: number): void => {
  res.writeHead(status, { 'Content-Length': 0 });
  res.end();
};
