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

/** Says where the server listens, then answers the harness until the harness goes away. */
export const announce = (server) => {
  process.on('message', (message) => {
    if (message?.usage) process.send?.({ usage: { ...process.cpuUsage(), peakRss: peakRss() } });
  });
  // A harness that dies, however it dies, leaves no server behind.
  process.on('disconnect', () => process.exit());
  process.stdout.write(`listening ${server.address().port}\n`);
};
