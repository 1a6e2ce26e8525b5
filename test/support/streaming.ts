import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

// Processes that serve one store in stream mode, any of which may be killed.

export type StreamStore = 'fs' | 'sqlite';

/** One entry into a handler, and how many bytes were stored then. */
export interface Entered {
  readonly id: string;
  readonly attempt: number;
  readonly stored: number;
}

/** What a handler answers. */
export interface Answer {
  readonly id: string;
  readonly attempt: number;
  readonly size: number;
  readonly sha256: string;
  readonly nonce: string;
}

/** What a server says to its parent: each message is one of these. */
export interface Told {
  /** It listens. */
  readonly port?: number;
  readonly entered?: Entered;
  /** So many bytes a handler has read. */
  readonly read?: number;
  /** A failure that is not the client's. */
  readonly failed?: string;
}

const script = fileURLToPath(new URL('./streaming-server.ts', import.meta.url));
const tsx = import.meta.resolve('tsx');

export class StreamServer {
  readonly port: number;
  entered: readonly Entered[] = [];
  failures: readonly string[] = [];
  /** Whether it was killed: then nobody is at work on what it had begun. */
  wasKilled = false;
  readonly #child: ChildProcess;
  #read = 0;
  #onTold: () => void = () => undefined;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  /** Resolves when it listens; what a handler it runs before that tells is not lost. */
  static async start(store: StreamStore, directory: string): Promise<StreamServer> {
    const child = spawn(process.execPath, ['--import', tsx, script, store, directory], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const early: Told[] = [];
    const port = await new Promise<number>((resolve, reject) => {
      child.on('message', (told: Told) => {
        if (told.port === undefined) early.push(told);
        else resolve(told.port);
      });
      child.once('exit', (code, signal) =>
        reject(new Error(`a server ended (${code ?? signal}) before it listened`)),
      );
    });
    child.removeAllListeners('message');
    const server = new StreamServer(child, port);
    for (const told of early) server.#hear(told);
    child.on('message', (told: Told) => server.#hear(told));
    return server;
  }

  /** Resolves when a handler has read so many bytes. */
  async untilRead(bytes: number): Promise<void> {
    while (this.#read < bytes) {
      await new Promise<void>((resolve) => {
        this.#onTold = resolve;
      });
    }
  }

  /** Of what it has told until now. */
  forget(): void {
    this.entered = [];
    this.failures = [];
    this.#read = 0;
  }

  /** kill -9; resolves when the process is no more, and all that it told was heard. */
  async kill(): Promise<void> {
    this.wasKilled = true;
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null) return;
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await ended;
  }

  #hear({ entered, read, failed }: Told): void {
    if (entered !== undefined) this.entered = [...this.entered, entered];
    if (read !== undefined) this.#read = Math.max(this.#read, read);
    if (failed !== undefined) this.failures = [...this.failures, failed];
    this.#onTold();
  }
}
