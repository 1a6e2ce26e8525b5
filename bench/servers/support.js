// What every benchmarked server process shares. Plain JavaScript, run by plain `node`: a TypeScript loader in
// this process would be counted in its memory and CPU figures.
import { readFileSync } from 'node:fs';

/** The directory this server may write to: its first argument. */
export const directory = process.argv[2] ?? '';

/** The largest resident size this process ever had, in bytes. */
const peakRss = () => {
  try {
    const match = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'));
    if (match) return Number(match[1]) * 1024;
  } catch {
    // No /proc on this system.
  }
  return process.resourceUsage().maxRSS * 1024;
};

/** Listens on loopback only, at a port of the system's choosing; resolves with the server. */
export const listenLoopback = (server) =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  });

/**
 * Answers the harness until it goes away. A message `{ NAME: question }` is answered `{ NAME: answer }` by the
 * function of that name, or `{ failed: reason }`.
 */
export const answerHarness = (answers) => {
  process.on('message', async (message) => {
    const [[name, question]] = Object.entries(message);
    try {
      process.send?.({ [name]: await answers[name](question) });
    } catch (error) {
      process.send?.({ failed: `${name}: ${error instanceof Error ? error.stack : error}` });
    }
  });
  // A harness that dies, however it dies, leaves nothing behind.
  process.on('disconnect', () => process.exit());
};

/** What this process has used so far. */
export const usage = () => ({ ...process.cpuUsage(), rss: process.memoryUsage.rss(), peakRss: peakRss() });

/** Counts the bytes that a server has read from its connections, open ones and closed ones. */
const countBytesRead = (server) => {
  const open = new Set();
  let closed = 0;
  server.on('connection', (socket) => {
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      closed += socket.bytesRead;
    });
  });
  return () => [...open].reduce((sum, { bytesRead }) => sum + bytesRead, closed);
};

/** Says where the server listens, then answers what is asked of every server, and `answers`. */
export const announce = (server, answers = {}) => {
  answerHarness({ usage, bytesRead: countBytesRead(server), ...answers });
  process.stdout.write(`listening ${server.address().port}\n`);
};
