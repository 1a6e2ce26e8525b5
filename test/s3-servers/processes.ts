import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lastLines } from './packages.ts';

/** The processes of one server, with a temporary folder for their data and their logs. */
export class Processes {
  /** Holds one log for each process. */
  readonly folder: string;
  /** For the processes' own files. */
  readonly data: string;
  /** Those that ended by themselves, and how. */
  readonly ended: string[] = [];
  readonly #children: ChildProcess[] = [];
  #stopping = false;

  private constructor(folder: string) {
    this.folder = folder;
    this.data = join(folder, 'data');
  }

  static async open(name: string): Promise<Processes> {
    const processes = new Processes(await mkdtemp(join(tmpdir(), `s3-${name}-`)));
    await mkdir(processes.data);
    return processes;
  }

  start(name: string, command: readonly string[], env: NodeJS.ProcessEnv = {}): void {
    const log = openSync(join(this.folder, `${name}.log`), 'a');
    // However this process ends, also by SIGKILL, the kernel then ends its servers. Detached, so that a Ctrl-C in the
    // terminal reaches only the command that uses them.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], {
      detached: true,
      stdio: ['ignore', log, log],
      env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', HOME: this.data, TMPDIR: this.data, ...env },
    });
    closeSync(log);
    child.on('error', (error) => this.ended.push(`${name} could not be started: ${error.message}`));
    child.on('exit', (code, signal) => {
      if (!this.#stopping) this.ended.push(`${name} ended with ${signal ?? code}`);
    });
    this.#children.push(child);
  }

  /** Waits until `check` holds; rejects when a process ends before that, or when it takes too long. */
  async until(what: string, check: () => Promise<boolean>, signal?: AbortSignal): Promise<void> {
    const deadline = Date.now() + 60_000;
    while (!(await check())) {
      signal?.throwIfAborted();
      if (this.ended.length > 0) throw new Error(this.ended.join(', '));
      if (Date.now() > deadline) throw new Error(`${what}: not within a minute`);
      await sleep(50);
    }
  }

  readLog(name: string): Promise<string> {
    return readFile(join(this.folder, `${name}.log`), 'utf8');
  }

  /** The last lines of one log, or of all. */
  async lastWords(only?: string): Promise<string> {
    const files = await readdir(this.folder);
    const names = only === undefined ? files.filter((file) => file.endsWith('.log')) : [`${only}.log`];
    const parts = names.map(async (name) => {
      const path = join(this.folder, name);
      return `--- ${path}, its last lines\n${lastLines(await readFile(path, 'utf8'), 15)}`;
    });
    return (await Promise.all(parts)).join('\n');
  }

  /** Nothing of the data is to be kept, so nothing is asked to end in order. */
  async stop(options: { readonly keepLogs?: boolean } = {}): Promise<void> {
    this.#stopping = true;
    for (const child of this.#children) {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    await rm(options.keepLogs ? this.data : this.folder, { recursive: true, force: true });
  }
}

/**
 * A free port below those that the system gives to outgoing connections, so that none of them takes it before the
 * server does.
 */
export const freePort = async (): Promise<number> => {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    if (await isFree(port)) return port;
  }
  throw new Error('no free port was found');
};

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
