import { expect } from 'vitest';
import type { Request as RequestParts } from '../support/requests.ts';
import type { Answer, Cut, Line, Sending } from './line.ts';
import type { Message } from './message.ts';

// What clients do on their way to an answer.

/** A cell of the table, as its client sees it. */
export interface Cell {
  /** To the application that is up now. */
  readonly line: Line;
  readonly message: Message;
  /** In [0, 1), the same ones in every run. */
  readonly random: () => number;
  /** Stops the application with all that it is connected to, and starts another over the same store. */
  restart(): Promise<void>;
}

/** An answer, and the way to ask for it again. */
export interface Outcome {
  readonly answer: Answer;
  again(): Promise<Answer>;
}

/** What curl says of a body, whatever it is: the application is to go by what the first request has said. */
const anyType = 'application/x-www-form-urlencoded';

/** One upload by its session URL. */
class Session {
  readonly #cell: Cell;
  readonly #target: string;

  private constructor(cell: Cell, target: string) {
    this.#cell = cell;
    this.#target = target;
  }

  static async open(cell: Cell, length: number | '*' = cell.message.body.byteLength): Promise<Session> {
    const reply = await cell.line.ask({ headers: { 'Content-Range': `bytes */${length}` } });
    expect(reply.status).toBe(308);
    return new Session(cell, reply.headers.location ?? 'no location was given');
  }

  readonly query = (): Promise<Answer> => {
    const { line, message } = this.#cell;
    const headers = { 'Content-Range': `bytes */${message.body.byteLength}` };
    return line.ask({ target: this.#target, headers });
  };

  /** How much is stored, of an upload that has no answer yet. */
  async stored(): Promise<number> {
    const { status, headers } = await this.query();
    expect(status).toBe(308);
    const { range } = headers;
    if (range === undefined) return 0;
    const [, end] = /^bytes=0-(\d+)$/.exec(range) ?? [];
    return Number(end) + 1;
  }

  /** So much, or more: the connection before may still have been delivering. */
  untilStored(at: number): Promise<void> {
    return expect.poll(() => this.stored(), { interval: 2, timeout: 10_000 }).toBeGreaterThanOrEqual(at);
  }

  #from(at: number): RequestParts {
    const { type, body } = this.#cell.message;
    const headers = {
      'Content-Type': at === 0 ? type : anyType,
      'Content-Range': `bytes ${at}-${body.byteLength - 1}/${body.byteLength}`,
    };
    return { target: this.#target, headers };
  }

  /** Sends the rest from here. */
  sendFrom(at: number): Promise<Answer> {
    const { line, message } = this.#cell;
    return line.ask({ ...this.#from(at), body: message.body.subarray(at) });
  }

  /** Begins to send the rest, and gets as far as `end`. */
  async begin(at: number, end: number): Promise<Sending> {
    const { line, message } = this.#cell;
    const sending = await line.begin(this.#from(at), message.body.byteLength - at);
    if (end > at) await sending.write(message.body.subarray(at, end));
    return sending;
  }

  /** … and is cut off there. Says how much is stored for certain. */
  async beginAndCut(at: number, end: number, how: Cut): Promise<number> {
    const { message } = this.#cell;
    // A reset takes with it what the server has not read: half of this it will have.
    const certain = how === 'RST' ? at + Math.floor((end - at) / 2) : at;
    const sending = await this.begin(at, certain);
    if (certain > at) await this.untilStored(certain);
    await sending.write(message.body.subarray(certain, end));
    sending.cut(how);
    return certain;
  }

  async outcome(at: number): Promise<Outcome> {
    return { answer: await this.sendFrom(at), again: this.query };
  }

  /** Sends a part without a word on how long the whole is. */
  async sendPart(start: number, end: number): Promise<void> {
    const { line, message } = this.#cell;
    const headers = {
      'Content-Type': start === 0 ? message.type : anyType,
      'Content-Range': `bytes ${start}-${end - 1}/*`,
    };
    const body = message.body.subarray(start, end);
    const { status } = await line.ask({ target: this.#target, headers, body });
    expect(status).toBe(308);
  }
}

/** Where the connections of one upload will break, in order. */
const offsets = ({ message, random }: Cell, count: number): number[] => {
  const found = new Set<number>();
  while (found.size < count) found.add(1 + Math.floor(random() * (message.body.byteLength - 1)));
  return [...found].sort((a, b) => a - b);
};

/** Is cut off so many times, and each time asks where to go on. Resolves with what is stored in the end. */
const cutTimes = async (cell: Cell, session: Session, ends: readonly number[]): Promise<number> => {
  let at = 0;
  for (const end of ends) {
    const certain = await session.beginAndCut(at, end, cell.random() < 0.5 ? 'RST' : 'FIN');
    at = await session.stored();
    expect(at).toBeGreaterThanOrEqual(certain);
    expect(at).toBeLessThanOrEqual(end);
  }
  return at;
};

/** A client that has never heard of resuming. It can ask again only where its URL names the upload. */
const plainPost = async ({ line, message: { type, body } }: Cell, target: string): Promise<Outcome> => {
  const answer = await line.ask({ target, headers: { 'Content-Type': type }, body });
  const headers = { 'Content-Range': `bytes */${body.byteLength}` };
  return { answer, again: () => line.ask({ target, headers }) };
};

export const schedules = {
  'plain POST': (cell) => plainPost(cell, '/upload'),
  'plain POST to a name': (cell) => plainPost(cell, '/upload?name=film'),
  session: async (cell) => (await Session.open(cell)).outcome(0),
  'cut 10 times': async (cell) => {
    const session = await Session.open(cell);
    return session.outcome(await cutTimes(cell, session, offsets(cell, 10)));
  },
  // In hold mode the route is entered for a request without a body, in stream mode it answers one.
  'length last': async (cell) => {
    const session = await Session.open(cell, '*');
    const [middle = 1] = offsets(cell, 1);
    await session.sendPart(0, middle);
    await session.sendPart(middle, cell.message.body.byteLength);
    return { answer: await session.query(), again: session.query };
  },
  restart: async (cell) => {
    const session = await Session.open(cell);
    const ends = offsets(cell, 3);
    const at = await cutTimes(cell, session, ends.slice(0, 2));
    const [, , end = at] = ends;
    await session.begin(at, end);
    await session.untilStored(end);
    await cell.restart();
    expect(await session.stored()).toBe(end);
    return session.outcome(end);
  },
} satisfies Record<string, (cell: Cell) => Promise<Outcome>>;

export type Schedule = keyof typeof schedules;
