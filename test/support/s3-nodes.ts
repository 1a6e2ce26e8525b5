import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { S3ClientConfig } from '@aws-sdk/client-s3';
import type { Random } from '../../bench/lib/random.ts';
import type { S3StoreOptions } from '../../stores/s3.ts';
import { gate } from './gate.ts';

/** What a node's store is opened with: a plain value, sent to another process. */
export interface NodeSettings
  extends Required<Pick<S3StoreOptions, 'bucket' | 'prefix' | 'partSize' | 'spillMs'>> {
  readonly client: Pick<S3ClientConfig, 'forcePathStyle'> & {
    readonly endpoint: string;
    readonly region: string;
    readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  };
  readonly provider: { readonly minPart: number };
}

/** One entry into a handler. */
export interface NodeEntry {
  readonly id: string;
  /** That of the operation. */
  readonly name: string;
  readonly attempt: number;
  readonly at: Node;
}

const script = fileURLToPath(new URL('./s3-node.ts', import.meta.url));
const tsx = import.meta.resolve('tsx');

export class Node {
  readonly child: ChildProcess;
  readonly #ended: Promise<unknown>;
  port = 0;
  isKilled = false;

  private constructor(child: ChildProcess) {
    this.child = child;
    // What it has said last comes before the second, and not before the first.
    this.#ended = Promise.all([once(child, 'exit'), once(child, 'disconnect')]);
  }

  static async start(
    settings: NodeSettings,
    onEntered: (entered: Omit<NodeEntry, 'at'>, at: Node) => void,
  ): Promise<Node> {
    const child = spawn(process.execPath, ['--import', tsx, script, JSON.stringify(settings)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
    });
    const node = new Node(child);
    const listening = gate();
    child.on('message', (message: { readonly port?: number; readonly entered?: Omit<NodeEntry, 'at'> }) => {
      if (message.entered !== undefined) onEntered(message.entered, node);
      if (message.port === undefined) return;
      node.port = message.port;
      listening.open();
    });
    await Promise.race([listening.opened, node.#ended]);
    if (node.port === 0) throw new Error('a node ended before it listened');
    return node;
  }

  async kill(): Promise<void> {
    this.isKilled = true;
    this.child.kill('SIGKILL');
    await this.#ended;
  }
}

/** Server processes over one bucket, each of which may be killed at any time and then comes back as another. */
export class S3Nodes {
  readonly entries: NodeEntry[] = [];
  kills = 0;
  readonly #settings: NodeSettings;
  readonly #live: Node[] = [];
  readonly #starting = new Set<Promise<void>>();
  #isClosed = false;
  #onEntered: (() => void)[] = [];

  private constructor(settings: NodeSettings) {
    this.#settings = settings;
  }

  static async open(settings: NodeSettings, count: number): Promise<S3Nodes> {
    const nodes = new S3Nodes(settings);
    for (let i = 0; i < count; i++) nodes.#start();
    try {
      await Promise.all(nodes.#starting);
    } catch (error) {
      await nodes.close();
      throw error;
    }
    return nodes;
  }

  /** Any but this one, as soon as there is another. */
  async other(than: Node | undefined, random: Random): Promise<Node> {
    for (;;) {
      const [first, ...rest] = this.#live.filter((node) => node !== than);
      if (first !== undefined) return random.pick([first, ...rest]);
      if (this.#starting.size === 0) throw new Error('there is no other node');
      await Promise.race(this.#starting);
    }
  }

  /** kill -9. Resolves when it is dead; another takes its place when it has started. */
  async kill(node: Node): Promise<void> {
    const at = this.#live.indexOf(node);
    if (at === -1 || this.#isClosed) return;
    this.#live.splice(at, 1);
    this.kills++;
    this.#start();
    await node.kill();
  }

  /** Resolves when a handler is entered for which this holds, as it may have been already. */
  async entered(which: (entry: NodeEntry) => boolean): Promise<NodeEntry> {
    for (;;) {
      const entry = this.entries.find(which);
      if (entry !== undefined) return entry;
      await new Promise<void>((resolve) => this.#onEntered.push(resolve));
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#starting);
    await Promise.all(this.#live.splice(0).map((node) => node.kill()));
  }

  #start(): void {
    const onEntered = (entered: Omit<NodeEntry, 'at'>, at: Node): void => {
      this.entries.push({ ...entered, at });
      for (const wake of this.#onEntered.splice(0)) wake();
    };
    const starting = Node.start(this.#settings, onEntered)
      .then((node) => void this.#live.push(node))
      .finally(() => this.#starting.delete(starting));
    starting.catch(() => undefined); // whoever waits for it is told
    this.#starting.add(starting);
  }
}
