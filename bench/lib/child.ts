import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const live = new Set<ChildProcess>();
let interrupted = false;

// Interrupted: end what was started. Whoever waits for one of them then fails, and cleans up on its way out.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    interrupted = true;
    for (const child of live) child.kill('SIGKILL');
  });
}

/** A process of plain `node` that is asked one thing at a time over IPC. */
export class Child {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #exited: Promise<never>;

  /** `env` is added to this process's own environment. */
  constructor(script: URL, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    if (interrupted) throw new Error('interrupted');
    this.#name = script.pathname.split('/').at(-1) ?? script.pathname;
    // NODE_OPTIONS could carry a loader, an inspector or a heap limit into the figures.
    const { NODE_OPTIONS: _, ...inherited } = process.env;
    this.#child = spawn(process.execPath, [script.pathname, ...args], {
      env: { ...inherited, ...env },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    live.add(this.#child);
    this.#exited = new Promise((_resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('exit', (code, signal) => {
        live.delete(this.#child);
        reject(new Error(`${this.#name} ended early (${signal ?? `exit code ${code}`})`));
      });
    });
    this.#exited.catch(() => {}); // it also ends when nobody waits for it
  }

  /** The port the process says it listens on. */
  async port(timeoutMs: number): Promise<number> {
    const line = await this.#within(timeoutMs, 'listening', (signal) =>
      once(createInterface({ input: this.#child.stdout! }), 'line', { signal }),
    );
    const port = Number(/^listening (\d+)$/.exec(String(line[0]))?.[1]);
    if (Number.isNaN(port)) throw new Error(`${this.#name} said ${JSON.stringify(line[0])}`);
    return port;
  }

  /** Sends a message and resolves with the next one that comes back. */
  async ask(message: Record<string, unknown>, timeoutMs: number): Promise<unknown> {
    const what = `answering ${Object.keys(message).join()}`;
    const [answer] = await this.#within(timeoutMs, what, (signal) => {
      const reply = once(this.#child, 'message', { signal });
      this.#child.send(message);
      return reply;
    });
    return answer;
  }

  /** Ends the process and waits until it is gone. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await this.#exited.catch(() => {});
  }

  async #within<T>(timeoutMs: number, what: string, start: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    const started = start(abort.signal);
    started.catch(() => {});
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new Error(`${this.#name}: ${what} took over ${timeoutMs} ms`)),
        timeoutMs,
      );
    });
    try {
      return await Promise.race([started, this.#exited, timeout]);
    } finally {
      clearTimeout(timer);
      abort.abort();
    }
  }
}
