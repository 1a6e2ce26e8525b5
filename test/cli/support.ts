import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { startUploadServer, type UploadServer } from '../../bench/lib/upload-server.ts';
import { afterwards } from '../support/scripted-server.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Ended {
  /** The exit code, or the signal that ended it. */
  readonly code: number | string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: Uint8Array | string;
  /** Where the program is; the tree by default. */
  readonly from?: string;
  readonly uid?: number;
}

/** The command line as a process of its own. */
export interface Running {
  readonly ended: Promise<Ended>;
  readonly child: ChildProcess;
  /** Resolves with the first object on stdout of which this is true; rejects when the process ends before. */
  seen(wanted: (event: Event) => boolean): Promise<Event>;
}

/** What --json prints. */
export interface Event {
  readonly event: string;
  readonly [name: string]: unknown;
}

export const folder = async (): Promise<string> => {
  const path = await mkdtemp(join(tmpdir(), 'resumable-cli-'));
  afterwards(() => rm(path, { recursive: true, force: true }));
  return path;
};

export const file = async (bytes: Uint8Array, name = 'film.mp4'): Promise<string> => {
  const path = join(await folder(), name);
  await writeFile(path, bytes);
  return path;
};

const tsx = import.meta.resolve('tsx');

export const nodeArgs = (from = root): string[] => ['--import', tsx, join(from, 'src', 'cli.ts')];

export const start = (args: readonly string[], options: RunOptions = {}): Running => {
  const { cwd = root, env = {}, input, from, uid } = options;
  const child = spawn(process.execPath, [...nodeArgs(from), ...args], {
    cwd,
    env: { ...process.env, npm_command: '', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(uid !== undefined && { uid, gid: uid }),
  });
  afterwards(() => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  });
  child.stdin.on('error', () => undefined); // it may end before it has read all
  child.stdin.end(input);
  const waiting = new Set<(event: Event | undefined) => void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!line.startsWith('{')) return;
    for (const look of waiting) look(JSON.parse(line) as Event);
  });
  const ended = Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]).then(
    ([, stdout, stderr]): Ended => {
      for (const look of waiting) look(undefined);
      return { code: child.exitCode ?? child.signalCode, stdout, stderr };
    },
  );
  const seen = (wanted: (event: Event) => boolean): Promise<Event> =>
    new Promise((resolve, reject) => {
      const look = (event: Event | undefined): void => {
        if (event === undefined) void ended.then(({ stderr }) => reject(new Error(`it ended: ${stderr}`)));
        else if (wanted(event)) resolve(event);
        else return;
        waiting.delete(look);
      };
      waiting.add(look);
    });
  return { ended, child, seen };
};

export const run = (args: readonly string[], options: RunOptions = {}): Promise<Ended> =>
  start(args, options).ended;

export const events = (stdout: string): Event[] =>
  stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Event);

/** The last of stdout. */
export const result = (stdout: string): Event => {
  const last = events(stdout).at(-1);
  if (last?.event !== 'result') throw new Error(`no result: ${stdout}`);
  return last;
};

export const serve = async (...args: string[]): Promise<UploadServer> => {
  const server = await startUploadServer(args);
  afterwards(async () => {
    server.kill('SIGKILL');
    await server.exited();
  });
  return server;
};

/** In a test's own folder, so that none finds what another has left. */
export const stateIn = (home: string): Record<string, string> => ({ XDG_STATE_HOME: home });
