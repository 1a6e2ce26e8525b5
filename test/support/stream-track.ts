import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../bench/lib/random.ts';
import { parseRange } from '../../src/headers/range.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import { fsStore } from '../../stores/fs.ts';
import { sqliteStore } from '../../stores/sqlite.ts';
import { RawClient, type RawResponse } from './raw-client.ts';
import { type Answer, type Entered, StreamServer, type StreamStore } from './streaming.ts';

// Uploads at two processes that stream over one store: clients are cut, processes are killed, and each upload ends with
// the one answer of a handler that has read exactly what was sent.

const processes = 2;
const chunkBytes = 48 * 1024;
const mostBytes = 3 * 1024 * 1024;

export interface Tally {
  uploads: number;
  equal: number;
  cuts: number;
  kills: number;
  /** Uploads by the attempt that answered them. */
  readonly attempts: Map<number, number>;
}

/** Two processes over one store; whoever is killed is followed by another. */
export class StreamTrack {
  readonly tally: Tally = { uploads: 0, equal: 0, cuts: 0, kills: 0, attempts: new Map() };
  readonly #store: StreamStore;
  readonly #directory: string;
  /** All there ever were. */
  readonly #servers: StreamServer[] = [];
  #slots: Promise<StreamServer>[] = [];

  private constructor(store: StreamStore, directory: string) {
    this.#store = store;
    this.#directory = directory;
  }

  static async open(store: StreamStore, directory: string): Promise<StreamTrack> {
    const track = new StreamTrack(store, directory);
    track.#slots = Array.from({ length: processes }, () => track.#start());
    await Promise.all(track.#slots).catch(async (error: unknown) => {
      await track.close();
      throw error;
    });
    return track;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#slots);
    await Promise.all(this.#servers.map((server) => server.kill()));
  }

  /** One upload to its end; resolves with what was wrong. */
  async run(random: Random): Promise<readonly string[]> {
    const upload = new Upload(this, random);
    this.tally.uploads++;
    const { answer, faults } = await upload.toTheEnd();
    this.tally.attempts.set(answer.attempt, (this.tally.attempts.get(answer.attempt) ?? 0) + 1);
    const wrong = [...faults, ...this.#judge(answer)];
    if (wrong.length === 0) this.tally.equal++;
    return wrong;
  }

  /** Once it is closed: uploads that are not answered, though their clients are. */
  async unanswered(): Promise<readonly string[]> {
    const directory = this.#directory;
    const store = this.#store === 'fs' ? fsStore(directory) : sqliteStore({ directory });
    const found: string[] = [];
    for await (const id of store.list()) {
      const stored = await store.load(id);
      // One without bytes is a handshake whose answer was lost: its client has made another.
      if (stored === undefined || (stored.record.attempt === 0 && stored.received.length === 0)) continue;
      if (stored.record.state !== 'finished') found.push(`${id} is ${stored.record.state}`);
    }
    await store.close();
    return found;
  }

  /** What the processes have had to report themselves. */
  get failures(): readonly string[] {
    return this.#servers.flatMap((server) => server.failures);
  }

  /** Any of them; one that is being started is waited for. */
  pick(random: Random): Promise<StreamServer> {
    return this.#slots[random.below(processes)] as Promise<StreamServer>;
  }

  /** kill -9 of one. Nobody waits for that, and for the next but who picks it. */
  kill(random: Random): void {
    const slot = random.below(processes);
    const killing = this.#slots[slot]?.then((server) => {
      this.tally.kills++;
      return server.kill();
    });
    const next = (killing ?? Promise.resolve()).then(() => this.#start());
    next.catch(() => undefined); // told to who picks it
    this.#slots[slot] = next;
  }

  async #start(): Promise<StreamServer> {
    const server = await StreamServer.start(this.#store, this.#directory);
    this.#servers.push(server);
    return server;
  }

  /** The handler is entered once; again only where the process of the time before was killed. */
  #judge({ id, attempt }: Answer): string[] {
    const entries: { readonly at: StreamServer; readonly entered: Entered }[] = this.#servers
      .flatMap((at) => at.entered.map((entered) => ({ at, entered })))
      .filter(({ entered }) => entered.id === id)
      .sort((one, two) => one.entered.attempt - two.entered.attempt);
    const wrong: string[] = [];
    const attempts = entries.map(({ entered }) => entered.attempt);
    if (new Set(attempts).size !== attempts.length) wrong.push(`entered twice for one attempt: ${attempts}`);
    if (attempts.at(-1) !== attempt) wrong.push(`entered for ${attempts}, answered by ${attempt}`);
    for (const { at, entered } of entries.slice(0, -1)) {
      if (!at.wasKilled)
        wrong.push(`attempt ${entered.attempt} was followed by another, and its process lives`);
    }
    return wrong;
  }
}

/** One client, to its final answer. */
class Upload {
  readonly #track: StreamTrack;
  readonly #random: Random;
  readonly #content: Buffer;
  readonly #faults: string[] = [];
  /** Every byte any 308 ever named. */
  readonly #acknowledged = new IntervalSet();
  readonly #paceMs: number;
  /** Whether it states the length only with its last byte. */
  readonly #isLate: boolean;
  #target: string;
  #cuts: number;
  #kills: number;

  constructor(track: StreamTrack, random: Random) {
    this.#track = track;
    this.#random = random;
    this.#content = Buffer.alloc(1 + random.below(random.pick([1000, 200_000, mostBytes, mostBytes])));
    random.fill(this.#content);
    this.#paceMs = random.pick([0, 0, 1, 5]);
    this.#isLate = random.below(4) === 0;
    this.#cuts = random.below(4);
    this.#kills = random.pick([0, 0, 1, 2]);
    this.#target = `/upload?pace=${random.pick([0, 0, 1, 10])}`;
  }

  async toTheEnd(): Promise<{ readonly answer: Answer; readonly faults: readonly string[] }> {
    let final: RawResponse | undefined;
    for (let turns = 0; final === undefined; turns++) {
      if (turns > 500) throw new Error('an upload does not come to an end');
      final = await this.#advance();
    }
    const { body } = final;
    for (let i = 0; i < processes; i++) {
      const again = await this.#ask(`bytes */${this.#content.byteLength}`);
      if (again !== undefined && !again.body.equals(body))
        this.#faults.push('the answer was not given again');
    }
    const answer = JSON.parse(body.toString()) as Answer;
    const sum = createHash('sha256').update(this.#content).digest('hex');
    if (answer.size !== this.#content.byteLength || answer.sha256 !== sum) {
      this.#faults.push(
        `sent ${this.#content.byteLength} bytes, ${sum}; read ${answer.size}, ${answer.sha256}`,
      );
    }
    return { answer, faults: this.#faults };
  }

  /** A query, or where that says that bytes are missing, some of them too. */
  async #advance(): Promise<RawResponse | undefined> {
    const asked = await this.#ask(`bytes */${this.#isLate ? '*' : this.#content.byteLength}`);
    if (asked?.status !== 308) return this.#final(asked);
    const { location } = asked.headers;
    if (location !== undefined) this.#target = location;
    const range = this.#choose(this.#learn(asked));
    return range.start === range.end ? undefined : this.#final(await this.#send(range));
  }

  /** Undefined: it is to be asked again. */
  async #final(response: RawResponse | undefined): Promise<RawResponse | undefined> {
    if (response?.status === 201) return response;
    if (response?.status === 308) this.#learn(response);
    else if (response?.status === 503)
      await sleep(20); // sooner than it was asked to come
    else if (response !== undefined) throw new Error(`answered ${response.head}\n${response.body}`);
    return undefined;
  }

  /** What is stored; all that ever was is. */
  #learn({ headers: { range } }: RawResponse): IntervalSet {
    const stored = IntervalSet.from((range === undefined ? [] : parseRange(range)) ?? []);
    for (const { start, end } of this.#acknowledged.ranges()) {
      if (!stored.covers(start, end))
        this.#faults.push(`${start}-${end - 1} was stored, then ${range ?? 'nothing'}`);
    }
    this.#acknowledged.addAll(stored.ranges());
    return stored;
  }

  /** The earliest gap or a piece of it; now and then bytes beyond its start, which leaves a hole. */
  #choose(stored: IntervalSet): Range {
    const { byteLength: length } = this.#content;
    const gap = stored.missing(0, length)[0] ?? { start: length, end: length };
    const size = gap.end - gap.start;
    if (size < 2) return this.#isLate && size === 0 ? { start: length - 1, end: length } : gap;
    const start = gap.start + (this.#random.below(5) === 0 ? this.#random.below(size) : 0);
    const end = this.#random.below(3) === 0 ? start + 1 + this.#random.below(gap.end - start) : gap.end;
    return { start, end };
  }

  /** Sends these bytes, or is cut in the middle of them. Undefined where there is no answer. */
  async #send({ start, end }: Range): Promise<RawResponse | undefined> {
    const { byteLength: length } = this.#content;
    const stated = this.#isLate && end < length ? '*' : length;
    const client = await this.#connect(`bytes ${start}-${end - 1}/${stated}`, end - start);
    const isCut = this.#cuts > 0 && this.#random.below(2) === 0;
    const kills = this.#kills > 0 && this.#random.below(2) === 0;
    if (isCut) this.#cuts--;
    if (kills) this.#kills--;
    const last = isCut ? start + this.#random.below(end - start) : end;
    const killAt = kills ? start + this.#random.below(end - start) : end;
    let isKilled = false;
    try {
      for (let at = start; at < end; at += chunkBytes) {
        if (at >= killAt && !isKilled) {
          isKilled = true;
          this.#track.kill(this.#random);
        }
        const to = Math.min(at + chunkBytes, last);
        await client?.write(this.#content.subarray(at, to));
        if (isCut && to === last) {
          this.#track.tally.cuts++;
          return undefined;
        }
        if (this.#paceMs > 0) await sleep(this.#paceMs);
      }
      return await client?.response();
    } catch {
      return undefined; // superseded, or the process is no more: whoever is asked next says what is stored
    } finally {
      client?.reset();
    }
  }

  async #ask(range: string): Promise<RawResponse | undefined> {
    const client = await this.#connect(range, 0);
    const response = await client?.response().catch(() => undefined);
    client?.reset();
    return response;
  }

  /** With the head of a request sent. Undefined where nobody is there. */
  async #connect(range: string, bytes: number): Promise<RawClient | undefined> {
    const { port } = await this.#track.pick(this.#random);
    const client = await RawClient.connect(port).catch(() => undefined);
    const head = [`POST ${this.#target} HTTP/1.1`, 'Host: localhost', `Content-Range: ${range}`];
    await client?.write(`${head.join('\r\n')}\r\nContent-Length: ${bytes}\r\n\r\n`).catch(() => undefined);
    return client;
  }
}
