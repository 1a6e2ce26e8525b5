// The load: one upload per message from the harness, over a raw socket, as cheap as Node can send it, because
// the client shares the machine's cores with the server it measures.
import { connect } from 'node:net';
import { readResponse } from './response.js';

// Measured against the sink with 64 KiB to 1 MiB blocks, 2 to 8 in flight: this pair cost this process the
// least CPU (about 0.5 s/GiB, a quarter less than 256 KiB blocks).
const block = Buffer.alloc(2 ** 20, 'resumable');
const inFlight = 4;

/** Connections stay open until this process ends: what a server does when one closes is not in any figure. */
const open = (port) =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });

const head = (method, target, fields) => {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n${lines.join('')}\r\n`;
};

/** Sends the block over and over; each finished write starts the next, so the system's buffer never runs dry. */
const sendBody = (socket, size) => {
  let left = size;
  const next = (error) => {
    if (error || left === 0) return; // a failed socket reports itself where the response is read
    const chunk = left < block.length ? block.subarray(0, left) : block;
    left -= chunk.length;
    socket.write(chunk, next);
  };
  for (let i = 0; i < inFlight; i++) next();
};

/** One plain POST. */
const post = (socket, size) => {
  const response = readResponse(socket);
  socket.write(
    head('POST', '/upload', { 'Content-Length': size, 'Content-Type': 'application/octet-stream' }),
  );
  sendBody(socket, size);
  return response;
};

/** The tus protocol: a POST that creates the upload, then one PATCH with all of it. */
const tus = async (socket, size) => {
  const creation = readResponse(socket);
  socket.write(
    head('POST', '/upload', { 'Tus-Resumable': '1.0.0', 'Upload-Length': size, 'Content-Length': 0 }),
  );
  const created = await creation;
  if (created.status !== 201) return created;
  const { pathname } = new URL(created.fields.location, 'http://127.0.0.1');
  const response = readResponse(socket);
  socket.write(
    head('PATCH', pathname, {
      'Tus-Resumable': '1.0.0',
      'Upload-Offset': 0,
      'Content-Length': size,
      'Content-Type': 'application/offset+octet-stream',
    }),
  );
  sendBody(socket, size);
  return response;
};

const protocols = { post, tus };

const upload = async ({ port, size, protocol }) => {
  const socket = await open(port);
  const started = performance.now();
  const { status, body } = await protocols[protocol](socket, size);
  return { elapsedMs: performance.now() - started, status, body };
};

process.on('message', (message) => {
  upload(message.upload).then(
    (result) => process.send?.({ uploaded: result }),
    (error) => process.send?.({ failed: String(error) }),
  );
});
process.on('disconnect', () => process.exit());
