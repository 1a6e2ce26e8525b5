// The load of the S3 benchmark: one upload or many at once, and one that is cut off and resumed, step by step.
import { readResponse } from './response.js';
import { createTus, head, open, patchHead, pathIn, post, sendBody, tus } from './sending.js';
import { answerHarness } from './support.js';

const expectStatus = (answer, status) => {
  if (answer.status === status) return answer;
  throw new Error(`expected ${status}, got ${answer.status} ${JSON.stringify(answer.body)}`);
};

/** This library's own protocol: an identity is asked for first, so that the upload can be resumed. */
const gears = {
  whole: post,
  async start(socket, size) {
    const response = readResponse(socket);
    socket.write(head('POST', '/upload', { 'Content-Range': `bytes */${size}`, 'Content-Length': 0 }));
    return pathIn(expectStatus(await response, 308));
  },
  async ask(socket, path, size) {
    const response = readResponse(socket);
    socket.write(head('POST', path, { 'Content-Range': `bytes */${size}`, 'Content-Length': 0 }));
    const { fields } = expectStatus(await response, 308);
    return Number(/^bytes=0-(\d+)$/.exec(fields.range)?.[1] ?? -1) + 1;
  },
  rest: (path, start, size) =>
    head('POST', path, {
      'Content-Range': `bytes ${start}-${size - 1}/${size}`,
      'Content-Length': size - start,
      'Content-Type': 'application/octet-stream',
    }),
};

const protocols = {
  post: gears,
  tus: {
    whole: tus,
    start: async (socket, size) => pathIn(expectStatus(await createTus(socket, size), 201)),
    async ask(socket, path) {
      const response = readResponse(socket, { bodiless: true });
      socket.write(head('HEAD', path, { 'Tus-Resumable': '1.0.0' }));
      return Number(expectStatus(await response, 200).fields['upload-offset']);
    },
    rest: patchHead,
  },
};

/** So many uploads at once, each over a connection of its own. The time is that of all of them. */
const upload = async ({ port, size, protocol, uploads = 1 }) => {
  const sockets = await Promise.all(Array.from({ length: uploads }, () => open(port)));
  const started = performance.now();
  const answers = await Promise.all(sockets.map((socket) => protocols[protocol].whole(socket, size)));
  const elapsedMs = performance.now() - started;
  return { elapsedMs, answers: answers.map(({ status, body }) => ({ status, body })) };
};

/** An upload whose connection is reset once the system has taken the first `bytes`. Resolves with its path. */
const cut = async ({ port, size, protocol, bytes }) => {
  const { start, rest } = protocols[protocol];
  const socket = await open(port);
  const path = await start(socket, size);
  const early = readResponse(socket).then(({ status }) => {
    throw new Error(`answered ${status} before its end`);
  });
  socket.write(rest(path, 0, size));
  await Promise.race([sendBody(socket, 0, bytes), early]);
  early.catch(() => {}); // that it is closed within the response is what comes next
  socket.resetAndDestroy();
  return path;
};

/** Resolves with how many bytes the server says it has, from the first on. */
const ask = async ({ port, size, protocol, path }) => protocols[protocol].ask(await open(port), path, size);

/** Sends the rest of an upload. */
const resume = async ({ port, size, protocol, path, start }) => {
  const socket = await open(port);
  const response = readResponse(socket);
  socket.write(protocols[protocol].rest(path, start, size));
  sendBody(socket, start, size);
  const { status, body } = await response;
  return { status, body };
};

answerHarness({ upload, cut, ask, resume });
