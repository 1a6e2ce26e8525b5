// Many uploads at a snail's pace, each over a raw socket of its own.
import { connect } from 'node:net';
import { length, pathOf } from './names.js';
import { answerHarness } from './support.js';

const chunk = Buffer.alloc(1024, 'resumable');
/** Not all uploads get their next chunk in one instant, but in that many groups. */
const groups = 10;
/** Fewer than a server lets wait to be accepted. */
const connectsInFlight = 100;

/** How an upload of `length` bytes begins: at a URL of its own, or as tus creates one with its bytes. */
const heads = {
  put: (number) => `PUT ${pathOf(number)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${length}\r\n\r\n`,
  tus: () =>
    `POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\nUpload-Length: ${length}\r\n` +
    `Content-Type: application/offset+octet-stream\r\nContent-Length: ${length}\r\n\r\n`,
};

/** Connected, with the head of its request sent. `fail` is told of anything that is not silence. */
const open = ({ port, protocol = 'put' }, number, fail) =>
  new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const say = (what) => fail(new Error(`upload ${number}: ${what}`));
    socket.once('error', (error) => say(error.message));
    socket.once('close', () => say('closed by the server'));
    socket.on('data', (data) => say(`answered before its end: ${data.toString('latin1')}`));
    socket.once('connect', () => {
      socket.write(heads[protocol](number));
      resolve(socket);
    });
  });

const sockets = [];
/** The first thing that went wrong with any of them; whoever asks next is told. */
let failure;
let onFailure = () => {};

const fail = (error) => {
  failure ??= error;
  onFailure(failure);
};

/** Rejects as soon as anything goes wrong, be it now or before. */
const unlessFailed = (work) =>
  new Promise((resolve, reject) => {
    onFailure = reject;
    if (failure !== undefined) reject(failure);
    else work().then(resolve, reject);
  });

/** Connects that many more, none of which has been sent a byte of its body. */
const openAll = async ({ uploads, ...target }) => {
  const wanted = sockets.length + uploads;
  while (sockets.length < wanted) {
    const batch = Math.min(connectsInFlight, wanted - sockets.length);
    const opening = Array.from({ length: batch }, (_, i) => open(target, sockets.length + i, fail));
    sockets.push(...(await Promise.all(opening)));
  }
  return { uploads: sockets.length };
};

/**
 * Sends each a chunk every `everyMs` for so long, and leaves all connections open. Resolves with the bytes that each
 * was sent, at least.
 */
const sendAll = ({ seconds, everyMs = 100 }) =>
  new Promise((resolve) => {
    const end = performance.now() + seconds * 1000;
    let turns = 0;
    const timer = setInterval(() => {
      for (let i = turns % groups; i < sockets.length; i += groups) sockets[i].write(chunk);
      turns++;
      if (performance.now() < end) return;
      clearInterval(timer);
      resolve({ leastBytes: Math.floor(turns / groups) * chunk.length });
    }, everyMs / groups);
  });

answerHarness({
  open: (plan) => unlessFailed(() => openAll(plan)),
  send: (plan) => unlessFailed(() => sendAll(plan)),
});
