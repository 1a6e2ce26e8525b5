import { createHash } from 'node:crypto';
import http, { type IncomingHttpHeaders } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../bench/lib/random.ts';
import { exchange, type HttpResponse } from '../../src/client/exchange.ts';
import { Interruption } from '../../src/client/failure.ts';
import { memorySource } from '../../src/client/source.ts';
import { printContentRange } from '../../src/headers/content-range.ts';
import { parseRange } from '../../src/headers/range.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { Node, NodeEntry, S3Nodes } from './s3-nodes.ts';

/** What happens to a request on its way. */
type Fate = 'none' | 'cut' | 'kill' | 'kill another';

interface Answer {
  readonly id: string;
  readonly attempt: number;
  readonly size: number;
  readonly sha256: string;
}

const mostRequests = 300;
/** What is left of a gap is sent as a whole once it is smaller. */
const leastPiece = 64 * 1024;
const onPurpose = new Error('cut on purpose');

/** A client that never asks the same node twice in a row, and sends only what the last answer did not name. */
export class Wanderer {
  readonly name: string;
  readonly content: Uint8Array;
  /** What was not as it must be; nothing, as a rule. */
  readonly wrong: string[] = [];
  requests = 0;
  answer: Answer | undefined;
  readonly #nodes: S3Nodes;
  readonly #random: Random;
  readonly #hangs: boolean;
  /** Every byte that any 103 or 308 of any node ever named. */
  readonly #acknowledged = new IntervalSet();
  #stored = new IntervalSet();
  #last: Node | undefined;
  #mostFaults: number;

  constructor(nodes: S3Nodes, name: string, content: Uint8Array, random: Random, hangs = false) {
    this.name = name;
    this.content = content;
    this.#nodes = nodes;
    this.#random = random;
    this.#hangs = hangs;
    this.#mostFaults = 1 + random.below(3);
  }

  /** Goes on until this much is stored. */
  async upTo(bytes: number): Promise<void> {
    await this.#query('none');
    while (this.#stored.size < bytes) await this.#advance(bytes);
  }

  /** To the final answer, which every node has to give again. */
  async toTheEnd(): Promise<void> {
    let final = await this.#query(this.#fate());
    const isHung = (entry: NodeEntry): boolean => entry.name === this.name && entry.attempt === 1;
    const killed = this.#hangs && this.#nodes.entered(isHung).then(({ at }) => this.#nodes.kill(at));
    while (final?.status !== 201) final = await this.#advance();
    // A process may have been killed between its claim and the handler: then nobody has hung.
    if (this.#nodes.entries.some(isHung)) await killed;
    this.answer = JSON.parse(final.body.toString()) as Answer;
    const { size, sha256 } = this.answer;
    const sum = createHash('sha256').update(this.content).digest('hex');
    if (size !== this.content.byteLength || sha256 !== sum) this.#wrong(`sent ${sum}, answered ${sha256}`);
    for (let i = 0; i < 3; i++) {
      const again = await this.#query('none');
      if (again?.body.equals(final.body) !== true) this.#wrong('another answer than before');
    }
    this.#judgeEntries();
  }

  /** Once per attempt; and a later attempt only where the process of the one before was killed. */
  #judgeEntries(): void {
    const entries = this.#nodes.entries.filter(({ name }) => name === this.name);
    const attempts = entries.map(({ attempt }) => attempt);
    if (new Set(attempts).size !== attempts.length) this.#wrong(`entered twice: attempts ${attempts}`);
    for (const { attempt, at } of entries) {
      if (attempt < Math.max(...attempts) && !at.isKilled)
        this.#wrong(`attempts ${attempts}, and none was killed in ${attempt}`);
    }
    if (attempts.at(-1) !== this.answer?.attempt) this.#wrong(`attempts ${attempts}, answered by another`);
    if (this.#hangs && this.answer?.attempt === 1) this.#wrong('an answer of a process that was killed');
  }

  async #advance(limit = this.content.byteLength): Promise<HttpResponse | undefined> {
    const [gap] = this.#stored.missing(0, limit);
    if (gap === undefined) return this.#query('none', 100);
    const range = this.#choose(gap);
    const answered = await this.#send(range, this.#fate());
    if (answered?.status === 201 || answered?.status === 308) return this.#judge(answered);
    return this.#query('none');
  }

  /** All of it, the first of it, or what is behind a hole. */
  #choose({ start, end }: Range): Range {
    if (end - start < leastPiece) return { start, end };
    const [a, b] = [start + this.#random.below(end - start), start + this.#random.below(end - start)];
    const pieces: readonly [Range, ...Range[]] = [
      { start, end },
      { start, end: Math.max(a, b) + 1 },
      { start: Math.min(a, b), end: Math.max(a, b) + 1 },
    ];
    return this.#random.pick(pieces);
  }

  #fate(): Fate {
    if (this.#mostFaults === 0) return 'none';
    const fate = this.#random.pick<Fate>(['none', 'cut', 'kill', 'kill another']);
    if (fate !== 'none') this.#mostFaults--;
    return fate;
  }

  /** Until somebody answers it. */
  async #query(fate: Fate, delayMs = 0): Promise<HttpResponse | undefined> {
    if (delayMs > 0) await sleep(delayMs);
    for (let now = fate; ; now = 'none') {
      const answered = await this.#send(undefined, now);
      if (answered?.status === 201 || answered?.status === 308) return this.#judge(answered);
      await sleep(100); // as long as no handler has ended there is nobody to say so
    }
  }

  /** Undefined when there was no answer, or none that tells. */
  async #send(range: Range | undefined, fate: Fate): Promise<HttpResponse | undefined> {
    if (++this.requests > mostRequests) throw new Error(`${this.name} does not come to an end`);
    const node = await this.#nodes.other(this.#last, this.#random);
    this.#last = node;
    const length = this.content.byteLength;
    const field = printContentRange(
      range === undefined ? { kind: 'query', length } : { kind: 'range', ...range, length },
    );
    const { start, end } = range ?? { start: 0, end: 0 };
    const strikeAt = start + this.#random.below(end - start + 1);
    // While an upload is made, or its handler runs, there is no offset to strike at.
    const delayMs = this.#random.pick(range === undefined ? [0, 40, 80, 120] : [0, 0, 5, 20, 60]);
    const cut = new AbortController();
    let struck: Promise<void> | undefined;
    const strike = async (): Promise<void> => {
      if (delayMs > 0) await sleep(delayMs);
      if (fate === 'cut') cut.abort(onPurpose);
      if (fate === 'kill') await this.#nodes.kill(node);
      if (fate === 'kill another') await this.#nodes.kill(await this.#nodes.other(node, this.#random));
    };
    if (fate !== 'none' && range === undefined) struck = strike();
    const request = exchange({
      url: new URL(`/upload/${this.name}${this.#hangs ? '?how=hang' : ''}`, `http://127.0.0.1:${node.port}`),
      method: 'PUT',
      headers: { 'Content-Range': field, 'Content-Length': end - start, Prefer: 'checkpoint' },
      agent: new http.Agent(),
      signal: cut.signal,
      stallTimeoutMs: 60_000,
      body: range && { source: memorySource(this.content), ...range },
      onCheckpoint: (headers) => this.#acknowledged.addAll(readRange(headers)),
      onSent: (_, sent) => {
        if (fate !== 'none' && sent >= strikeAt) struck ??= strike();
      },
    });
    const response = await request.catch((error: unknown) => {
      if (error !== onPurpose && !(error instanceof Interruption)) throw error;
      return undefined;
    });
    await struck;
    if (response !== undefined && ![201, 308, 503].includes(response.status))
      throw new Error(`${this.name}: ${response.status} ${response.body}`);
    return response;
  }

  /** Takes in what a 308 says. */
  #judge(response: HttpResponse): HttpResponse {
    if (response.status !== 308) return response;
    this.#stored = IntervalSet.from(readRange(response.headers));
    for (const { start, end } of this.#acknowledged.ranges()) {
      if (!this.#stored.covers(start, end))
        this.#wrong(`acknowledged ${start}-${end - 1}, then only ${response.headers.range ?? 'nothing'}`);
    }
    this.#acknowledged.addAll(this.#stored.ranges());
    return response;
  }

  #wrong(what: string): void {
    this.wrong.push(`${this.name}: ${what}`);
  }
}

const readRange = (headers: IncomingHttpHeaders): Range[] => {
  if (headers.range === undefined) return [];
  const ranges = parseRange(headers.range);
  if (ranges === undefined) throw new Error(`unreadable Range: ${headers.range}`);
  return ranges;
};
