import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Random } from '../../bench/lib/random.ts';
import { gate } from './gate.ts';
import { RawClient, type RawResponse } from './raw-client.ts';

// Many clients complete one upload at the same moment, at several processes that share its store.

/** What the handler does on its first attempt (racing-server.ts). */
export type How = 'answer' | 'refuse' | 'throw' | 'fail' | 'hang';

/** One entry into a handler. */
export interface Entered {
  readonly id: string;
  readonly attempt: number;
}

/** What came of a race. */
export interface Outcome {
  /** What was not as it must be; nothing, as a rule. */
  readonly wrong: readonly string[];
  /** Clients that were told to come back at least once. */
  readonly waited: number;
  /** Clients whose connection was ended without an answer: a newer request took over, or the process died. */
  readonly cut: number;
}

const script = fileURLToPath(new URL('./racing-server.ts', import.meta.url));
const tsx = import.meta.resolve('tsx');
const length = 100_000;

class RacingServer {
  readonly child: ChildProcess;
  port = 0;

  private constructor(child: ChildProcess) {
    this.child = child;
  }

  static async start(args: readonly string[], onEntered: (entered: Entered) => void): Promise<RacingServer> {
    const child = spawn(process.execPath, ['--import', tsx, script, ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const server = new RacingServer(child);
    const listening = gate();
    child.on('message', (message: { readonly port?: number; readonly entered?: Entered }) => {
      if (message.entered !== undefined) onEntered(message.entered);
      if (message.port !== undefined) server.port = message.port;
      if (message.port !== undefined) listening.open();
    });
    await Promise.race([listening.opened, once(child, 'exit')]);
    if (server.port === 0) throw new Error('a server ended before it listened');
    return server;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }
}

/** Processes over one store, for one race after another. */
export class RaceTrack {
  readonly #args: readonly string[];
  readonly #servers: RacingServer[] = [];
  #entered: { readonly at: RacingServer | undefined; readonly entry: Entered }[] = [];
  #onEntered: () => void = () => undefined;

  private constructor(args: readonly string[]) {
    this.#args = args;
  }

  static async open(store: string, directory: string, processes: number): Promise<RaceTrack> {
    const track = new RaceTrack([store, directory]);
    try {
      await Promise.all(Array.from({ length: processes }, () => track.#start()));
    } catch (error) {
      await track.close();
      throw error;
    }
    return track;
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => server.stop()));
  }

  /**
   * All bytes but the last are stored; then `clients` send the last byte, query, or repeat the whole body, all in
   * one moment. Each goes on as the protocol says until it has a final answer.
   */
  async run(how: How, random: Random, clients = 50): Promise<Outcome> {
    this.#entered = [];
    const content = Buffer.alloc(length);
    random.fill(content);
    const target = await this.#prepare(how, content);
    const racers = await Promise.all(
      Array.from({ length: clients }, () => Racer.ready(this.#pick(random), target, content, random)),
    );
    const killed = how === 'hang' ? this.#killWhoeverEntered() : undefined;
    for (const racer of racers) racer.go();
    const finals = await Promise.all(racers.map((racer) => racer.finish(() => this.#pick(random).port)));
    await killed;
    const outcome = {
      wrong: this.#judge(how, content, finals),
      waited: racers.filter(({ waits }) => waits > 0).length,
      cut: racers.filter(({ wasCut }) => wasCut).length,
    };
    if (how === 'hang') await this.#start();
    return outcome;
  }

  #judge(how: How, content: Buffer, finals: readonly RawResponse[]): string[] {
    const wrong: string[] = [];
    const attempts = this.#entered.map(({ entry }) => entry.attempt);
    const expected = how === 'answer' || how === 'refuse' ? [1] : [1, 2];
    if (attempts.join() !== expected.join()) wrong.push(`the handler was entered for attempts ${attempts}`);
    if (new Set(this.#entered.map(({ entry }) => entry.id)).size !== 1) wrong.push('for several uploads');
    const bodies = new Set(finals.map(({ body }) => body.toString()));
    if (bodies.size !== 1) wrong.push(`${bodies.size} different answers: ${[...bodies].join(' ')}`);
    const status = how === 'refuse' ? 422 : 201;
    if (finals.some((final) => final.status !== status)) wrong.push('a final answer of another status');
    const answer = JSON.parse([...bodies][0] ?? '{}') as { attempt?: number; sha256?: string };
    if (answer.attempt !== expected.length) wrong.push(`the answer is that of attempt ${answer.attempt}`);
    const sum = createHash('sha256').update(content).digest('hex');
    if (answer.sha256 !== sum) wrong.push(`the handler read ${answer.sha256}, not ${sum}`);
    return wrong;
  }

  /** The session to complete. */
  async #prepare(how: How, content: Buffer): Promise<string> {
    const [server] = this.#servers;
    const port = server?.port ?? 0;
    const begun = await ask(port, head(`/race?how=${how}`, `bytes */${length}`));
    const { location } = begun.headers;
    if (location === undefined) throw new Error(`no handshake: ${begun.head}`);
    const range = `bytes 0-${length - 2}/${length}`;
    const stored = await ask(port, head(location, range, length - 1), content.subarray(0, -1));
    if (stored.headers.range !== `bytes=0-${length - 2}`) throw new Error(`not stored: ${stored.head}`);
    return location;
  }

  #pick(random: Random): RacingServer {
    return random.pick(this.#servers as [RacingServer, ...RacingServer[]]);
  }

  async #start(): Promise<void> {
    const server: RacingServer = await RacingServer.start(this.#args, (entry) => {
      this.#entered.push({ at: server, entry });
      this.#onEntered();
    });
    this.#servers.push(server);
  }

  /** kill -9 inside the handler: nobody finds that process any more. */
  async #killWhoeverEntered(): Promise<void> {
    const entered = gate();
    this.#onEntered = entered.open;
    if (this.#entered.length === 0) await entered.opened;
    const victim = this.#entered[0]?.at;
    if (victim === undefined) throw new Error('nobody entered the handler');
    this.#servers.splice(this.#servers.indexOf(victim), 1);
    await victim.stop();
  }
}

/** One client. */
class Racer {
  /** How often it was told to come back. */
  waits = 0;
  wasCut = false;
  readonly #client: RawClient;
  readonly #target: string;
  readonly #last: Uint8Array;

  private constructor(client: RawClient, target: string, last: Uint8Array) {
    this.#client = client;
    this.#target = target;
    this.#last = last;
  }

  /** Connected, and with all of its request sent but the last byte. */
  static async ready(
    { port }: RacingServer,
    target: string,
    content: Buffer,
    random: Random,
  ): Promise<Racer> {
    const request = random.pick([
      [head(target, `bytes ${length - 1}-${length - 1}/${length}`, 1), content.subarray(-1)],
      [head(target, `bytes */${length}`)],
      [head(target, `bytes 0-${length - 1}/${length}`, length), content],
    ] as [Uint8Array[], ...Uint8Array[][]]);
    const bytes = Buffer.concat(request);
    const client = await RawClient.connect(port);
    await client.write(bytes.subarray(0, -1)).catch(() => undefined); // superseded already: its answer tells
    return new Racer(client, target, bytes.subarray(-1));
  }

  go(): void {
    this.#client.write(this.#last).catch(() => undefined); // as before
  }

  /** The final answer. Of the content nothing is sent again. */
  async finish(port: () => number): Promise<RawResponse> {
    let answer = await this.#client.response().catch(() => undefined);
    this.#client.reset();
    for (let tries = 0; ; tries++) {
      if (tries > 200) throw new Error('a client never got its answer');
      if (answer === undefined) this.wasCut = true;
      else if (answer.status === 503) {
        this.waits++;
        await sleep(Number(answer.headers['retry-after']) * 1000);
      } else if (answer.status !== 308 && answer.status !== 500) return answer;
      answer = await ask(port(), head(this.#target, `bytes */${length}`)).catch(() => undefined);
    }
  }
}

const head = (target: string, range: string, bytes = 0): Buffer =>
  Buffer.from(
    `POST ${target} HTTP/1.1\r\nHost: localhost\r\nContent-Range: ${range}\r\nContent-Length: ${bytes}\r\n\r\n`,
  );

/** One request on a connection of its own. Rejects when that ends without an answer. */
const ask = async (port: number, ...request: readonly Uint8Array[]): Promise<RawResponse> => {
  const client = await RawClient.connect(port);
  try {
    await client.write(Buffer.concat(request)).catch(() => undefined); // the answer tells
    return await client.response();
  } finally {
    client.reset();
  }
};
