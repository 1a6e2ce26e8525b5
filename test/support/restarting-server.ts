import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Forwarder } from './forwarder.ts';

const script = fileURLToPath(new URL('./file-server.ts', import.meta.url));

/** `file-server.ts` behind one port, however often it is killed. */
export class RestartingServer {
  readonly #folder: string;
  readonly #forwarder: Forwarder;
  #child: ChildProcess | undefined;

  private constructor(folder: string, forwarder: Forwarder) {
    this.#folder = folder;
    this.#forwarder = forwarder;
  }

  static async start(folder: string): Promise<RestartingServer> {
    const server = new RestartingServer(folder, await Forwarder.start());
    await server.restart();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#forwarder.port}`;
  }

  /** To clients, heads included. */
  get sentBytes(): number {
    return this.#forwarder.sentBytes;
  }

  /** Who connects from now on waits for the next process. */
  async kill(): Promise<void> {
    this.#forwarder.hold();
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  async restart(): Promise<void> {
    const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), script, this.#folder], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    const [said] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [
      { readonly port?: number } | number | null,
    ];
    if (typeof said !== 'object' || said?.port === undefined) throw new Error('a server ended too early');
    this.#forwarder.to(said.port);
  }

  async close(): Promise<void> {
    await this.kill();
    await this.#forwarder.close();
  }
}
