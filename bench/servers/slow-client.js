// Many uploads at a snail's pace, each over a raw socket of its own.
import { connect } from 'node:net';
import { length, pathOf } from './names.js';
import { answerHarness } from './support.js';

const chunk = Buffer.alloc(1024, 'resumable');
/** Each upload gets a chunk this often … */
const everyMs = 100;
/** … in that many groups, so that not all of them arrive in one instant. */
const groups = 10;
/** Fewer than a server lets wait to be accepted. */
const connectsInFlight = 100;

/** Connected, with the head of its request sent. `fail` is told of anything that is not silence. */
const open = (port, number, fail) =>
  new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const say = (what) => fail(new Error(`upload ${number}: ${what}`));
    socket.once('error', (error) => say(error.message));
    socket.once('close', () => say('closed by the server'));
    socket.on('data', (data) => say(`answered before its end: ${data.toString('latin1')}`));
    socket.once('connect', () => {
      socket.write(`PUT ${pathOf(number)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${length}\r\n\r\n`);
      resolve(socket);
    });
  });

const openAll = async (port, uploads, fail) => {
  const sockets = [];
  while (sockets.length < uploads) {
    const batch = Math.min(connectsInFlight, uploads - sockets.length);
    const opening = Array.from({ length: batch }, (_, i) => open(port, sockets.length + i, fail));
    sockets.push(...(await Promise.all(opening)));
  }
  return sockets;
};

/** Sends for so long, and leaves all connections open. Resolves with the bytes that each was sent, at least. */
const send = (sockets, seconds) =>
  new Promise((resolve) => {
    const end = performance.now() + seconds * 1000;
    let turns = 0;
    const timer = setInterval(() => {
      for (let i = turns % groups; i < sockets.length; i += groups) sockets[i].write(chunk);
      turns++;
      if (performance.now() < end) return;
      clearInterval(timer);
      resolve(Math.floor(turns / groups) * chunk.length);
    }, everyMs / groups);
  });

const upload = ({ port, uploads, seconds }) =>
  new Promise((resolve, reject) => {
    const all = async () => {
      const sockets = await openAll(port, uploads, reject);
      return { leastBytes: await send(sockets, seconds) };
    };
    all().then(resolve, reject);
  });

answerHarness({ upload });
