// The load of downloads, over raw sockets: a client that parsed more than it must would be what is measured. Each
// aligned word of the file is its own position, so that every answer can be held against what was asked for.
import { connect } from 'node:net';
import { answerHarness } from './support.js';

const wordBytes = 8;

const open = (port) =>
  new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket)).setNoDelay(true);
    socket.once('error', reject);
  });

const request = (range) => `GET /file HTTP/1.1\r\nHost: localhost\r\n${range}\r\n`;

/** Reads heads and bodies off a connection; one of each at a time. */
class Answers {
  #head = '';
  #left = 0;
  #position = 0;
  #onHead;
  #onBytes;
  #onEnd;

  /** `onHead` says where the body's bytes begin in the file. */
  constructor(socket, { onHead, onBytes, onEnd }) {
    this.#onHead = onHead;
    this.#onBytes = onBytes;
    this.#onEnd = onEnd;
    socket.on('data', (chunk) => this.#take(chunk));
  }

  #take(chunk) {
    let at = 0;
    if (this.#left === 0) {
      const before = this.#head.length;
      this.#head += chunk.latin1Slice();
      const end = this.#head.indexOf('\r\n\r\n');
      if (end === -1) return;
      at = end + 4 - before;
      this.#left = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(this.#head)[1]);
      this.#position = this.#onHead(this.#head.slice(0, end), this.#left);
      this.#head = '';
    }
    const bytes = chunk.subarray(at);
    if (bytes.length > this.#left) throw new Error('more bytes than announced');
    if (bytes.length > 0) this.#onBytes(bytes, this.#position);
    this.#position += bytes.length;
    this.#left -= bytes.length;
    if (this.#left === 0) this.#onEnd();
  }
}

/** The first whole word of a chunk must be its own position. */
const assertContent = (bytes, position) => {
  const skip = (wordBytes - (position % wordBytes)) % wordBytes;
  if (bytes.length < skip + wordBytes) return;
  const word = Number(bytes.readBigUInt64LE(skip));
  if (word !== position + skip) throw new Error(`at ${position + skip} of the file was ${word}`);
};

const stream = async ({ port, size }) => {
  const socket = await open(port);
  const started = performance.now();
  await new Promise((resolve, reject) => {
    const fail = (error) => {
      socket.destroy();
      reject(error);
    };
    socket.once('close', () => reject(new Error('the connection was closed'))).once('error', reject);
    process.once('uncaughtException', fail);
    new Answers(socket, {
      onHead: (head, length) => {
        if (!head.startsWith('HTTP/1.1 200 ') || length !== size) throw new Error(`not the whole: ${head}`);
        return 0;
      },
      onBytes: assertContent,
      onEnd: () => resolve(process.off('uncaughtException', fail)),
    });
    socket.write(request(''));
  });
  const elapsedMs = performance.now() - started;
  socket.destroy();
  return { elapsedMs };
};

/** Asks for the ranges in turn, over and over; counts whole answers, each of which must be the right one. */
const ranges = async ({ port, starts, bytes, connections, seconds }) => {
  const sockets = await Promise.all(Array.from({ length: connections }, () => open(port)));
  const latencies = [];
  let next = 0;
  let running = connections;
  const started = performance.now();
  const until = started + seconds * 1000;
  await new Promise((resolve, reject) => {
    process.once('uncaughtException', reject);
    for (const socket of sockets) {
      let start = 0;
      let sentAt = 0;
      const ask = () => {
        sentAt = performance.now();
        if (sentAt >= until) {
          socket.removeAllListeners('close').destroy();
          if (--running === 0) resolve(process.off('uncaughtException', reject));
          return;
        }
        start = starts[next++ % starts.length];
        socket.write(request(`Range: bytes=${start}-${start + bytes - 1}\r\n`));
      };
      socket.once('close', () => reject(new Error('a connection was closed')));
      new Answers(socket, {
        onHead: (head, length) => {
          const isRight =
            length === bytes &&
            head.startsWith('HTTP/1.1 206 ') &&
            head.toLowerCase().includes(`\r\ncontent-range: bytes ${start}-${start + bytes - 1}/`);
          if (!isRight) throw new Error(`not bytes ${start} to ${start + bytes}: ${head}`);
          return start;
        },
        onBytes: assertContent,
        onEnd: () => {
          latencies.push(performance.now() - sentAt);
          ask();
        },
      });
      ask();
    }
  });
  const elapsedMs = performance.now() - started;
  latencies.sort((a, b) => a - b);
  const quantile = (q) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * q))];
  return {
    answered: latencies.length,
    seconds: elapsedMs / 1000,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
  };
};

answerHarness({ stream, ranges });
