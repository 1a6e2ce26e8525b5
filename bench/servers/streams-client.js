// The load of several streams at once: each a connection on which one upload follows the other.
import { readResponse } from './response.js';
import { block, head, open, sendBody } from './sending.js';
import { answerHarness } from './support.js';

/** Up to this size, head and body go out in one write, as they would from any HTTP client. */
const oneWriteBytes = 64 * 1024;

/** One request creates and completes an upload, in either protocol: tus calls it "Creation With Upload". */
const heads = {
  post: (bytes) => ({ 'Content-Length': bytes, 'Content-Type': 'application/octet-stream' }),
  tus: (bytes) => ({
    'Tus-Resumable': '1.0.0',
    'Upload-Length': bytes,
    'Content-Length': bytes,
    'Content-Type': 'application/offset+octet-stream',
  }),
};

/**
 * Uploads until the time is over or so many uploads were begun, and at least once per stream; each one begun is
 * finished. Resolves with how many were answered, and how long that took.
 */
const upload = async ({ port, protocol, streams, bytes, seconds, uploads }) => {
  const requestHead = head('POST', '/upload', heads[protocol](bytes));
  const isSmall = bytes <= oneWriteBytes;
  const first = isSmall ? Buffer.concat([Buffer.from(requestHead), block.subarray(0, bytes)]) : requestHead;
  const sockets = await Promise.all(Array.from({ length: streams }, () => open(port)));
  let begun = 0;
  let answered = 0;
  const started = performance.now();
  const until = started + seconds * 1000;
  const stream = async (socket) => {
    do {
      begun++;
      const response = readResponse(socket);
      socket.write(first);
      if (!isSmall) sendBody(socket, 0, bytes);
      const { status, body } = await response;
      // A server that fails fast must not look like one that is fast.
      if (status !== 200 || body !== String(bytes)) {
        throw new Error(`expected 200 and "${bytes}", got ${status} and ${JSON.stringify(body)}`);
      }
      answered++;
    } while (begun < uploads && performance.now() < until);
  };
  await Promise.all(sockets.map(stream));
  return { answered, elapsedMs: performance.now() - started };
};

answerHarness({ upload });
