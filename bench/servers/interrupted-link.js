// One client's connection through a network that fails: made when it is needed, given up when it is cut or stands
// still, and made again.
import { connect } from 'node:net';
import { contentOf } from './content.js';
import { readResponse } from './response.js';
import { head } from './sending.js';

/** Slices of a body that the system has not yet taken, at most. */
const inFlight = 4;

/** The exchange did not end with a whole answer. */
export class Interrupted extends Error {}

/** The run is over; nobody wants the upload to go on. */
export class Stopped extends Error {}

/** What all links of a run have seen together. Times are `performance.now()`. */
export const newFacts = () => ({
  requests: 0,
  queries: 0,
  answersAsked: 0,
  interruptions: 0,
  /** Of bodies, that the system has taken: some of it never got as far as the cut. */
  sentBytes: 0,
  /** Links at work and, of those, the times at which one stood still: `[from, to]`. */
  activities: [],
  stalls: [],
  errors: 0,
  problems: [],
});

const problemsKept = 5;

export class Link {
  #socket;
  #settings;
  #since = performance.now();

  /** `port`, `facts`, `signal`; `stallMs` without progress of a body, `answerMs` without an answer: then it is given up. */
  constructor(settings) {
    this.#settings = settings;
  }

  get facts() {
    return this.#settings.facts;
  }

  /**
   * One exchange. `body`: `{ number, start, end }`, that part of that content. Rejects with `Interrupted` when the
   * connection is gone or stands still, and with `Stopped` when the run is over.
   */
  async exchange({ method, target, fields, body, text = '', onInterim }) {
    const { facts, signal, stallMs, answerMs } = this.#settings;
    if (signal.aborted) throw new Stopped();
    facts.requests++;
    const socket = this.#connected();
    let progress = performance.now();
    let stalled = false;
    const timer = setTimeout(
      () => {
        stalled = true;
        socket.destroy();
      },
      body === undefined ? answerMs : stallMs,
    );
    const onProgress = () => {
      progress = performance.now();
      timer.refresh();
    };
    const onSent = (bytes) => {
      facts.sentBytes += bytes;
      onProgress();
    };
    const stop = () => socket.destroy();
    signal.addEventListener('abort', stop, { once: true });
    socket.on('data', onProgress);
    const answered = readResponse(socket, { bodiless: method === 'HEAD', onInterim });
    socket.write(
      head(method, target, { ...fields, 'Content-Length': body ? body.end - body.start : text.length }),
    );
    if (text !== '') socket.write(text);
    const isSent = body === undefined ? () => true : send(socket, body, onSent);
    try {
      const answer = await answered;
      // With half a body on it, it can't carry another request.
      if (!isSent()) this.#drop();
      return answer;
    } catch (cause) {
      this.#drop();
      if (signal.aborted) throw new Stopped();
      if (stalled) facts.stalls.push([progress, performance.now()]);
      facts.interruptions++;
      throw new Interrupted('no whole answer', { cause });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      socket.off('data', onProgress);
    }
  }

  /** An answer that the protocol does not provide for: counted, and the first few kept. */
  note(answer, what) {
    const { facts } = this;
    facts.errors++;
    if (facts.problems.length < problemsKept) {
      facts.problems.push(`${what}: ${answer.status} ${answer.body.slice(0, 200)}`);
    }
  }

  close() {
    this.#drop();
    this.facts.activities.push([this.#since, performance.now()]);
  }

  #connected() {
    if (this.#socket?.writable) return this.#socket;
    this.#drop();
    this.#socket = connect({ port: this.#settings.port, host: '127.0.0.1', noDelay: true });
    // Between two exchanges nobody else listens, and whoever comes next sees that it is gone.
    this.#socket.on('error', () => {});
    return this.#socket;
  }

  #drop() {
    this.#socket?.destroy();
    this.#socket = undefined;
  }
}

/** Each slice that the system has taken lets the next one follow. Returns whether all of them were taken. */
const send = (socket, { number, start, end }, onSent) => {
  const slices = contentOf(number, start, end);
  let underWay = 0;
  let done = false;
  const next = () => {
    const { value } = slices.next();
    if (value === undefined) {
      done = true;
      return;
    }
    underWay++;
    socket.write(value, (error) => {
      underWay--;
      // A failed socket reports itself where the answer is read; one that was given up calls this without an error.
      if (error || socket.destroyed) return;
      onSent(value.length);
      next();
    });
  };
  for (let i = 0; i < inFlight; i++) next();
  return () => done && underWay === 0;
};
