import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The project's own server as a process of its own, on a free port. */
export interface UploadServer {
  readonly port: number;
  kill(signal: NodeJS.Signals): void;
  /** Resolves with the exit code, or the signal that ended it. */
  exited(): Promise<number | string | null>;
}

/**
 * Starts `serve` with these arguments; resolves when it listens. The build output starts faster than the source; it is
 * the caller's to have built.
 */
export const startUploadServer = async (
  args: readonly string[],
  from: 'source' | 'build' = 'source',
): Promise<UploadServer> => {
  const cli = from === 'build' ? ['dist/src/cli.js'] : ['--import', 'tsx', 'src/cli.ts'];
  const child = spawn(process.execPath, [...cli, 'serve', '--port', '0', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = async (): Promise<number | string | null> => {
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined)
      await once(child, 'exit');
    return child.exitCode ?? child.signalCode;
  };
  const port = await listening(child).catch(async (error: unknown) => {
    child.kill('SIGKILL');
    await exited();
    throw error;
  });
  return { port, kill: (signal) => void child.kill(signal), exited };
};

const listening = async (child: ChildProcess & { stdout: NodeJS.ReadableStream }): Promise<number> => {
  for await (const line of createInterface({ input: child.stdout })) {
    const port = /^listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1];
    if (port === undefined) continue;
    child.stdout.resume();
    return Number(port);
  }
  throw new Error('the server ended before it listened');
};
