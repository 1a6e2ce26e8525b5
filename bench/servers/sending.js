// How an upload is sent over a raw socket, as cheaply as Node can send it, because whoever sends shares the
// machine's cores with the server that is measured.
import { connect } from 'node:net';
import { readResponse } from './response.js';

// Measured against the sink with 64 KiB to 1 MiB blocks, 2 to 8 in flight: this pair cost this process the
// least CPU (about 0.5 s/GiB, a quarter less than 256 KiB blocks).
export const block = Buffer.alloc(2 ** 20, 'resumable');
const inFlight = 4;

/** Connections stay open until this process ends: what a server does when one closes is not in any figure. */
export const open = (port) =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });

export const head = (method, target, fields) => {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n${lines.join('')}\r\n`;
};

/**
 * Sends the bytes from `start` to `end` of an endless repetition of the block; each finished write starts the
 * next, so the system's buffer never runs dry. Resolves when the system has taken all of them; a failed socket
 * reports itself where the response is read.
 */
export const sendBody = (socket, start, end) =>
  new Promise((resolve) => {
    let at = start;
    let underWay = 0;
    const next = () => {
      if (at === end) return underWay === 0 && resolve();
      const from = at % block.length;
      const chunk = block.subarray(from, Math.min(block.length, from + end - at));
      at += chunk.length;
      underWay++;
      socket.write(chunk, (error) => {
        underWay--;
        if (!error) next();
      });
    };
    for (let i = 0; i < inFlight; i++) next();
  });

/** One plain POST. */
export const post = (socket, size) => {
  const response = readResponse(socket);
  socket.write(
    head('POST', '/upload', { 'Content-Length': size, 'Content-Type': 'application/octet-stream' }),
  );
  sendBody(socket, 0, size);
  return response;
};

/** The POST of the tus protocol that creates an upload. */
export const createTus = (socket, size) => {
  const response = readResponse(socket);
  socket.write(
    head('POST', '/upload', { 'Tus-Resumable': '1.0.0', 'Upload-Length': size, 'Content-Length': 0 }),
  );
  return response;
};

/** The path of what an answer's Location names, with its query. */
export const pathIn = ({ fields }) => {
  const { pathname, search } = new URL(fields.location, 'http://127.0.0.1');
  return pathname + search;
};

/** The head of the PATCH of the tus protocol that brings the bytes from `start` to `size`. */
export const patchHead = (path, start, size) =>
  head('PATCH', path, {
    'Tus-Resumable': '1.0.0',
    'Upload-Offset': start,
    'Content-Length': size - start,
    'Content-Type': 'application/offset+octet-stream',
  });

/** The tus protocol: a POST that creates the upload, then one PATCH with all of it. */
export const tus = async (socket, size) => {
  const created = await createTus(socket, size);
  if (created.status !== 201) return created;
  const response = readResponse(socket);
  socket.write(patchHead(pathIn(created), 0, size));
  sendBody(socket, 0, size);
  return response;
};
