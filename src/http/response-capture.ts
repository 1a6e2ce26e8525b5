import { type OutgoingHttpHeaders, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { type AnswerHead, beside } from './answer.ts';
import { headParts, setHead } from './header-pairs.ts';
import { printHead } from './informational.ts';
import { encodeResponse } from './stored-response.ts';

/** What the handler answered, once it has ended its response. */
export interface CapturedResponse {
  readonly status: number;
  /** As it is stored. */
  readonly stored: string;
}

type Callback = (error?: Error | null) => void;
type Chunk = string | Uint8Array;

/** Up to here a body is sent as text: then Node makes one write of head and body, which costs half of two. */
const oneWriteBytes = 16 * 1024;

/** How a connection says that its client has gone, or is about to. */
const endings = ['end', 'error', 'close'] as const;

/** Where a captured response keeps its capture. */
const capture = Symbol('capture');

type Captured = ServerResponse & { [capture]: ResponseCapture; __onFinished?: Partial<Watched> | null };

/** What the package `on-finished`, which is in Express and Koa, has of a response: those it is to tell of its end. */
interface Watched {
  readonly queue: ((error: null, res: ServerResponse) => void)[];
}

/** The methods of a response that are ours while the handler writes, by the names they hide. */
type Method = 'writeHead' | 'write' | 'end' | 'flushHeaders' | 'destroy' | 'emit';

/**
 * Stands between a handler and the wire, on the response object itself, because middleware passes on the
 * object it was given. What the handler writes is held until it is stored (`send`), or until it is more than
 * `limit` bytes: then it flows, and only its end is held. The handler is not told that the client went away:
 * its work is for the upload, and the answer waits for whoever asks next.
 */
export class ResponseCapture implements Watched {
  /** Rejects when the handler destroys the response. */
  readonly ended: Promise<CapturedResponse>;

  readonly res: ServerResponse;
  /** Of the request: a response that waits for its turn has none yet, and a request that was destroyed none more. */
  readonly #socket: Socket;
  readonly #limit: number;
  /** Headers that were there before the handler: other middleware's, which every answer should have. */
  readonly #before: OutgoingHttpHeaders;
  /** Methods that other middleware has put in the place of Node's. */
  readonly #own = new Map<Method, unknown>();
  readonly #resolve: (captured: CapturedResponse) => void;
  readonly #reject: (error: Error) => void;
  readonly #callbacks: Callback[] = [];
  /** What Node has noted on the response since the client went away. */
  #gone: { destroyed: boolean; _closed: boolean; socket: unknown } | undefined;
  /** It would ask the socket, and end the file or stream that a handler answers with: here it finds itself at work. */
  readonly queue: Watched['queue'] = [];
  /** Another connection's response, which gets what is too long to be stored when the handler's own is gone. */
  #beside: ServerResponse | undefined;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #headWritten = false;
  #isEnded = false;
  #flowing = false;
  /** The client is gone, or has been told to come back: nothing goes to the wire any more. */
  #offWire: boolean;

  /** `hasClient` is false where the handler runs for nobody: a retry at start. */
  constructor(res: ServerResponse, limit: number, hasClient: boolean) {
    this.res = res;
    this.#socket = res.req.socket;
    this.#limit = limit;
    this.#offWire = !hasClient || res.destroyed || this.#socket.destroyed;
    this.#before = { ...res.getHeaders() };
    let resolve: (captured: CapturedResponse) => void = () => undefined;
    let reject: (error: Error) => void = () => undefined;
    this.ended = new Promise((yes, no) => {
      resolve = yes;
      reject = no;
    });
    this.#resolve = resolve;
    this.#reject = reject;
    this.#hide();
  }

  /** Whether the handler has ended it. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Called when the client goes away while the handler is at work. */
  onGone: () => void = () => undefined;

  /** The client that is there now, should the handler's own have gone. */
  attach(res: ServerResponse): void {
    if (!this.#offWire || this.#flowing) return;
    this.#beside = res;
    for (const event of ['drain', 'close']) res.on(event, () => this.res.emit('drain'));
  }

  /**
   * Lets the handler's response go to the client, who may have gone. `hold` delays its end: there is a body that
   * has to be read first.
   */
  send(hold?: (end: () => void) => void): void {
    this.#show();
    if (this.#isGone()) {
      if (this.#flowing) this.#beside?.end();
      for (const callback of this.#callbacks) callback();
      this.res.emit('finish');
      this.res.emit('close');
      this.#chunks = [];
      return;
    }
    // Not given to `end`: that of other middleware may know no callback.
    for (const callback of this.#callbacks) this.res.once('finish', () => callback());
    if (hold !== undefined) {
      this.res.shouldKeepAlive = false;
      if (!this.#flowing) this.#writeWithLength();
      hold(() => this.res.end());
    } else if (this.#flowing) this.res.end();
    else if (this.#bytes > 0 && this.#bytes <= oneWriteBytes && !this.#own.has('end')) {
      this.res.end(Buffer.concat(this.#chunks).toString('latin1'), 'latin1');
    } else this.res.end(Buffer.concat(this.#chunks)); // head and body at once: Node then knows the length
    this.#chunks = [];
  }

  /** All there is, with its length: so the client need not wait for the end of the connection. */
  #writeWithLength(): void {
    const { res } = this;
    const isFramed = res.hasHeader('content-length') || res.hasHeader('transfer-encoding');
    const hasBody = res.statusCode !== 204 && res.statusCode !== 304;
    if (!isFramed && hasBody && !this.#own.has('end')) res.setHeader('Content-Length', this.#bytes);
    res.flushHeaders();
    if (this.#bytes > 0) res.write(Buffer.concat(this.#chunks));
  }

  /**
   * Sends this instead of what the handler wrote, if that is still possible; otherwise the response visibly
   * breaks off. `hold` is that of `send`.
   */
  replace(head: AnswerHead, hold?: (end: () => void) => void): void {
    this.#show();
    if (this.#isGone()) return;
    if (this.#flowing) {
      this.res.destroy();
      return;
    }
    for (const name of this.res.getHeaderNames()) this.res.removeHeader(name);
    for (const [name, value] of Object.entries(this.#before))
      if (value !== undefined) this.res.setHeader(name, value);
    if (hold !== undefined) this.res.shouldKeepAlive = false;
    this.res.writeHead(head.status, head.reason, { ...head.headers });
    if (hold === undefined) this.res.end(head.body);
    else {
      this.res.flushHeaders();
      if (head.body !== undefined) this.res.write(head.body);
      hold(() => this.res.end());
    }
  }

  /**
   * Answers the client while the handler goes on. The response object stays the handler's, so the answer is
   * written to the socket beside it, and the connection ends with it. `hold` is that of `send`.
   */
  answerBeside(head: AnswerHead, hold: (end: () => void) => void = (end) => end()): void {
    const { socket } = this.res;
    if (this.#offWire || this.#flowing || this.#isEnded) return;
    if (beside in this.res) {
      this.#offWire = true;
      (this.res[beside] as (head: AnswerHead) => void)({
        ...head,
        headers: { ...this.#before, ...head.headers },
      });
      return;
    }
    if (socket === null) return;
    this.#offWire = true;
    const headers = { ...this.#before, ...head.headers, Connection: 'close' };
    socket.write(printHead({ ...head, headers }), 'latin1');
    if (head.body !== undefined) socket.write(head.body);
    hold(() => socket.destroySoon()); // not `end`: a client that leaves its side open would keep the socket
  }

  // One set of functions for all responses, found through the response: a set of closures for each would be a
  // tenth of all that a small upload allocates.
  static readonly #methods: Readonly<Record<Method, (this: Captured, ...args: never[]) => unknown>> = {
    writeHead(status: number, ...rest: unknown[]) {
      return this[capture].#writeHead(status, rest);
    },
    write(chunk: Chunk, ...rest: unknown[]) {
      return this[capture].#write(chunk, rest);
    },
    end(...rest: unknown[]) {
      return this[capture].#end(rest);
    },
    flushHeaders() {
      this[capture].#headWritten = true;
    },
    destroy(error?: Error) {
      this[capture].#reject(error ?? new Error('the handler destroyed its response'));
      return this;
    },
    emit(event: string | symbol, ...args: unknown[]) {
      return this[capture].#emit(event, args);
    },
  };

  /** … and the facts: that the client went away is none that a handler should see. */
  static readonly #facts: PropertyDescriptorMap & ThisType<Captured> = {
    headersSent: {
      configurable: true,
      get() {
        return this[capture].#headWritten;
      },
    },
    writableEnded: {
      configurable: true,
      get() {
        return this[capture].#isEnded;
      },
    },
    closed: { configurable: true, get: () => false },
  };

  #hide(): void {
    const res = this.res as Captured;
    res[capture] = this;
    if (res.__onFinished?.queue) this.queue.push(...res.__onFinished.queue.splice(0));
    res.__onFinished = this;
    for (const name of names(ResponseCapture.#methods)) {
      if (Object.hasOwn(res, name)) this.#own.set(name, res[name]);
    }
    Object.assign(res, ResponseCapture.#methods);
    Object.defineProperties(res, ResponseCapture.#facts);
    // Before Node's own listeners, which note it on the response. From the first of these on, nothing can be sent.
    for (const event of endings) this.#socket.prependListener(event, this.#hideGone);
    if (res.destroyed || !this.#socket.readable) this.#hideGone();
  }

  /** The connection is about to be noted as closed. These are Node's plain properties, and stay so until then. */
  readonly #hideGone = (): void => {
    if (this.#gone !== undefined) return;
    const gone = { destroyed: this.res.destroyed, _closed: false, socket: this.res.socket };
    this.#gone = gone;
    const { socket } = gone;
    for (const [name, get] of [
      ['destroyed', () => false],
      ['_closed', () => false],
      // As before a response has its turn; a socket that is closed would say that nobody listens.
      ['socket', () => (socket?.writable === true ? socket : null)],
    ] as const) {
      const set = (value: unknown): void => {
        Object.assign(gone, { [name]: value });
      };
      Object.defineProperty(this.res, name, {
        get,
        set,
        configurable: true,
        enumerable: true,
      });
    }
    this.onGone();
    // Closed from here: so an error handler does that comes too late to answer. Then nobody will end the response.
    const isOurs = this.#socket.destroyed && !this.#socket.readableEnded && this.#socket.errored === null;
    if (isOurs && this.#headWritten && !this.#isEnded) {
      this.#reject(new Error('the connection was closed after the response had begun'));
    }
  };

  #isGone(): boolean {
    return this.#offWire || this.res.destroyed || this.res.socket?.writable === false;
  }

  /** In the order in which they came, backwards: so the response stays the fast object it was. */
  #show(): void {
    for (const event of endings) this.#socket.off(event, this.#hideGone);
    Reflect.deleteProperty(this.res, '_send');
    for (const name of Object.keys(ResponseCapture.#facts).reverse()) Reflect.deleteProperty(this.res, name);
    for (const name of names(ResponseCapture.#methods).reverse()) this.#showOne(name);
    Reflect.deleteProperty(this.res, '__onFinished');
    Reflect.deleteProperty(this.res, capture);
    for (const [name, value] of Object.entries(this.#gone ?? {})) {
      Object.defineProperty(this.res, name, { value, writable: true, configurable: true, enumerable: true });
    }
    this.#tellWatchers();
  }

  #tellWatchers(): void {
    if (this.queue.length === 0) return;
    const tell = (): void => {
      for (const watcher of this.queue.splice(0)) watcher(null, this.res);
    };
    if (this.#isGone()) tell();
    else this.res.once('finish', tell).once('close', tell);
  }

  #showOne(name: Method): void {
    if (this.#own.has(name)) Object.assign(this.res, { [name]: this.#own.get(name) });
    else Reflect.deleteProperty(this.res, name);
  }

  #writeHead(status: number, rest: unknown[]): ServerResponse {
    const { res } = this;
    assertStatus(status, headParts(rest)[0]);
    setHead(res, status, rest);
    this.#headWritten = true;
    return res;
  }

  #write(chunk: Chunk, rest: unknown[]): boolean {
    const callback = rest.find((item): item is Callback => typeof item === 'function');
    const encoding = typeof rest[0] === 'string' ? (rest[0] as BufferEncoding) : undefined;
    this.#headWritten = true;
    if (this.#flowing) return this.#flow(chunk, encoding, callback);
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk);
    this.#chunks.push(bytes);
    this.#bytes += bytes.byteLength;
    if (this.#bytes > this.#limit) return this.#startFlow(callback);
    if (callback !== undefined) queueMicrotask(callback);
    return true;
  }

  /** Too long to be stored: the client gets it as it comes. */
  #startFlow(callback: Callback | undefined): boolean {
    this.#flowing = true;
    const held = Buffer.concat(this.#chunks);
    this.#chunks = [];
    if (!this.#offWire) {
      this.#showOne('writeHead');
      this.res.writeHead(this.res.statusCode);
    } else this.#beside?.writeHead(this.res.statusCode, this.#ownHeaders());
    return this.#flow(held, undefined, callback);
  }

  #flow(chunk: Chunk, encoding: BufferEncoding | undefined, callback: Callback | undefined): boolean {
    if (this.#offWire && this.#beside?.writable === true) {
      return this.#beside.write(chunk, encoding ?? 'utf8', callback);
    }
    if (this.#offWire) {
      if (callback !== undefined) queueMicrotask(callback);
      return true;
    }
    const write = this.#original('write') as ServerResponse['write'];
    return write.call(this.res, chunk, encoding ?? 'utf8', callback);
  }

  #end(rest: unknown[]): ServerResponse {
    if (this.#isEnded) return this.res;
    assertStatus(this.res.statusCode, this.res.statusMessage);
    const [chunk] = rest;
    if (typeof chunk === 'string' || chunk instanceof Uint8Array)
      this.#write(chunk, rest.slice(1).filter(isString));
    const callback = rest.find((item): item is Callback => typeof item === 'function');
    if (callback !== undefined) this.#callbacks.push(callback);
    this.#isEnded = true;
    this.#headWritten = true;
    const { statusCode, statusMessage } = this.res;
    const body = this.#flowing ? undefined : Buffer.concat(this.#chunks);
    const reason = statusMessage || STATUS_CODES[statusCode] || '';
    const stored = encodeResponse(statusCode, reason, this.#ownHeaders(), body);
    this.#resolve({ status: statusCode, stored });
    return this.res;
  }

  /** What the handler has set: what was there before it, other middleware sets for every answer. */
  #ownHeaders(): OutgoingHttpHeaders {
    const headers = this.res.getHeaders();
    for (const [name, value] of Object.entries(this.#before)) {
      if (String(headers[name]) === String(value)) delete headers[name];
    }
    return headers;
  }

  /** What a hidden method hides. */
  #original(name: Method): unknown {
    return this.#own.get(name) ?? Object.getPrototypeOf(this.res)[name];
  }

  #emit(event: string | symbol, args: unknown[]): boolean {
    const emit = this.#original('emit') as ServerResponse['emit'];
    if (event !== 'close') return emit.call(this.res, event, ...args);
    this.#offWire = true;
    // What other middleware still has is taken as well: it would wait for its client, and the handler for it.
    Object.assign(this.res, { _send: () => true });
    queueMicrotask(() => this.res.emit('drain')); // a handler may be waiting for a client that has gone
    return true;
  }
}

/**
 * What Node throws when a head goes out is thrown when it is made, so that it is the handler's own failure.
 */
const assertStatus = (status: number, reason: string | undefined): void => {
  if (!Number.isInteger(status) || status < 100 || status > 999) {
    throw new RangeError(`not a status code: ${status}`);
  }
  if (/[^\t\x20-\x7e\x80-\xff]/.test(reason ?? '')) throw new TypeError('not a reason phrase');
};

const names = <K extends string>(record: Readonly<Record<K, unknown>>): K[] => Object.keys(record) as K[];

const isString = (value: unknown): value is string => typeof value === 'string';
