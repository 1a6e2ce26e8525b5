// The load: one upload per message from the harness, by the library's client or over bare sockets.
import { closeSync, openSync, writeSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { upload } from '../../dist/src/client/index.js';

const [, , directory = ''] = process.argv;
const MiB = 2 ** 20;

/** The same memory for every upload of this process. */
let content = Buffer.alloc(0);
const contentOf = (size) => {
  if (content.length !== size) content = Buffer.alloc(size, 1);
  return content;
};

const files = new Map();
const fileOf = (size) => {
  const known = files.get(size);
  if (known !== undefined) return known;
  const path = join(directory, `content-${size}`);
  const file = openSync(path, 'w');
  const block = Buffer.alloc(MiB, 1);
  for (let written = 0; written < size; written += MiB) writeSync(file, block);
  closeSync(file);
  files.set(size, path);
  return path;
};

/** One request over a socket of its own; resolves with what came back. */
const send = (port, head, body) =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    let text = '';
    socket.setEncoding('latin1');
    socket.on('error', reject);
    socket.on('end', () => resolve(text));
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.write(`${head}\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
    // Of all block sizes and numbers in flight the one that costs least.
    let offset = 0;
    const more = (error) => {
      if (error || offset === body.length) return;
      const chunk = body.subarray(offset, offset + MiB);
      offset += chunk.length;
      socket.write(chunk, more);
    };
    for (let i = 0; i < 4; i++) more();
  });

/** What a client has to put on the wire, and nothing else. */
const bare = async ({ port, size, connections }) => {
  const body = contentOf(size);
  const nothing = body.subarray(0, 0);
  const first = await send(
    port,
    `POST /upload HTTP/1.1\r\nContent-Range: bytes */${size}\r\nContent-Length: 0`,
    nothing,
  );
  const [, location] = /^Location: (\S+)/im.exec(first) ?? [];
  const share = Math.ceil(size / connections);
  const answers = await Promise.all(
    Array.from({ length: connections }, (_, i) => {
      const [start, end] = [i * share, Math.min(size, (i + 1) * share)];
      const range = `Content-Range: bytes ${start}-${end - 1}/${size}\r\nContent-Length: ${end - start}`;
      return send(port, `POST ${location} HTTP/1.1\r\n${range}`, body.subarray(start, end));
    }),
  );
  const final = answers.find((answer) => answer.startsWith('HTTP/1.1 200')) ?? answers[0];
  return { status: Number(final.slice(9, 12)), body: final.slice(final.indexOf('\r\n\r\n') + 4) };
};

const ours = async ({ port, size, connections, fromFile }) => {
  const source = fromFile ? fileOf(size) : contentOf(size);
  const { status, body } = await upload(`http://127.0.0.1:${port}/upload`, source, { parallel: connections })
    .result;
  return { status, body: String(body) };
};

process.on('message', async ({ prepare, upload: job }) => {
  try {
    if (prepare !== undefined) {
      if (prepare.fromFile) fileOf(prepare.size);
      else contentOf(prepare.size);
      process.send?.({ prepared: true });
      return;
    }
    const before = process.cpuUsage();
    const started = performance.now();
    const { status, body } = await (job.bare ? bare(job) : ours(job));
    const elapsedMs = performance.now() - started;
    const { user, system } = process.cpuUsage(before);
    process.send?.({ uploaded: { elapsedMs, status, body, cpuSeconds: (user + system) / 1e6 } });
  } catch (error) {
    process.send?.({ failed: error instanceof Error ? error.stack : String(error) });
  }
});
process.on('disconnect', () => process.exit());
