import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { S3Double } from './s3/double.ts';

/** What a process serves from: a plain value. */
export interface CrashSettings {
  readonly client: S3Double['clientConfig'];
  readonly bucket: string;
  readonly partSize: number;
  readonly provider: { readonly minPart: number };
}

/** One entry into a handler. */
export interface Entered {
  readonly id: string;
  readonly attempt: number;
}

interface Message {
  readonly ready?: boolean;
  readonly port?: number;
  readonly entered?: Entered;
}

const script = fileURLToPath(new URL('./s3-crash-node.ts', import.meta.url));
const tsx = import.meta.resolve('tsx');

/** A server process, which serves one bucket after another until it is killed. */
export class CrashNode {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #ready: Promise<unknown>;
  #onEntered: (entered: Entered) => void = () => undefined;
  #onPort: (port: number) => void = () => undefined;
  #isDead = false;

  constructor() {
    const child = spawn(process.execPath, ['--import', tsx, script], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
    });
    this.#child = child;
    this.#ready = once(child, 'message');
    // What it has said last comes before the second, and not before the first.
    this.#ended = Promise.all([once(child, 'exit'), once(child, 'disconnect')]).then(() => {
      this.#isDead = true;
    });
    child.on('message', ({ port, entered }: Message) => {
      if (entered !== undefined) this.#onEntered(entered);
      if (port !== undefined) this.#onPort(port);
    });
  }

  /** Resolves with the port. */
  async serve(settings: CrashSettings, onEntered: (entered: Entered) => void): Promise<number> {
    this.#onEntered = onEntered;
    const listening = new Promise<number>((resolve) => {
      this.#onPort = resolve;
    });
    await Promise.race([this.#ready, this.#ended]);
    if (!this.#isDead) this.#child.send({ serve: settings });
    const port = await Promise.race([listening, this.#ended]);
    if (typeof port !== 'number') throw new Error('a node ended before it listened');
    return port;
  }

  /** kill -9. Resolves when it is dead, and all it has said was heard. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

/** Processes that were started before they are needed: to start one takes longer than most uploads here. */
export class NodePool {
  readonly #spares: number;
  readonly #idle: CrashNode[] = [];
  readonly #all = new Set<CrashNode>();

  constructor(spares: number) {
    this.#spares = spares;
    this.#fill();
  }

  take(): CrashNode {
    const node = this.#idle.shift() ?? this.#start();
    this.#fill();
    return node;
  }

  /** It has nothing more to do. Killed where what it does is not known. */
  async giveBack(node: CrashNode, isKnown: boolean): Promise<void> {
    if (isKnown) this.#idle.unshift(node);
    else await this.kill(node);
  }

  async kill(node: CrashNode): Promise<void> {
    await node.kill();
    this.#all.delete(node);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map((node) => this.kill(node)));
  }

  #fill(): void {
    while (this.#idle.length < this.#spares) this.#idle.push(this.#start());
  }

  #start(): CrashNode {
    const node = new CrashNode();
    this.#all.add(node);
    return node;
  }
}
