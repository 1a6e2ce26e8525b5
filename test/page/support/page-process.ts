import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('./page-server.ts', import.meta.url));

/** `page-server.ts` on one port and folder, however often it is killed. */
export class PageServer {
  readonly #folder: string;
  readonly #modules: string;
  #port = 0;
  #child: ChildProcess | undefined;

  private constructor(folder: string, modules: string) {
    this.#folder = folder;
    this.#modules = modules;
  }

  /** `modules` is the folder of the built `src`. */
  static async start(modules: string): Promise<PageServer> {
    const server = new PageServer(await mkdtemp(join(tmpdir(), 'resumable-page-')), modules);
    await server.restart();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** Of a killed one: another server, as it were, at the same place. */
  async forget(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async restart(): Promise<void> {
    const args = [this.#folder, this.#modules, String(this.#port)];
    const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), script, ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    const [said] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [
      { readonly port?: number } | number | null,
    ];
    if (typeof said !== 'object' || said?.port === undefined) throw new Error('a server ended too early');
    this.#port = said.port;
  }

  async close(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
