import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A response as it stood on the wire. */
export interface RawResponse {
  /** `HTTP/1.1` */
  readonly version: string;
  readonly status: number;
  readonly reason: string;
  /** By lower-case name; repeated fields are joined with `, `. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Status line and fields as received. */
  readonly head: string;
  readonly body: Buffer;
}

interface Waiter {
  resolve(response: RawResponse): void;
  reject(error: Error): void;
}

/** Responses of one sort, in order of arrival, for whoever asks before or after they come. */
class Inbox {
  readonly all: RawResponse[] = [];
  #taken = 0;
  #closed: Error | undefined;
  readonly #waiters: Waiter[] = [];

  put(response: RawResponse): void {
    this.all.push(response);
    const waiter = this.#waiters.shift();
    if (waiter === undefined) return;
    this.#taken++;
    waiter.resolve(response);
  }

  next(): Promise<RawResponse> {
    const ready = this.all[this.#taken];
    if (ready !== undefined) {
      this.#taken++;
      return Promise.resolve(ready);
    }
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  close(error: Error): void {
    this.#closed = error;
    for (const { reject } of this.#waiters.splice(0)) reject(error);
  }
}

const clients = new Set<RawClient>();

/** Ends what tests left open. */
export const closeClients = (): void => {
  for (const client of clients) client.reset();
};

/** One connection, in full control of what is written when, and of how it ends. */
export class RawClient {
  readonly socket: Socket;
  /** Resolves when the connection has ended in one way or another. */
  readonly closed: Promise<void>;
  /** Set for an answer to HEAD: it has no body whatever its fields say. */
  bodiless = false;
  readonly #interim = new Inbox();
  readonly #final = new Inbox();
  #received: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    clients.add(this);
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      while (this.#take(false));
    });
    let cause: Error | undefined;
    socket.on('error', (error) => {
      cause = error;
    });
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#take(true);
        clients.delete(this);
        const error = new Error('the connection closed before a response', { cause });
        this.#interim.close(error);
        this.#final.close(error);
        resolve();
      });
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1' });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** The interim (1xx) responses so far. */
  get interim(): readonly RawResponse[] {
    return this.#interim.all;
  }

  /** Resolves when the kernel has the bytes. */
  write(data: string | Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.write(data, (error) => (error == null ? resolve() : reject(error)));
    });
  }

  /** One byte to a write, and a turn of the event loop after each, so that the server reads them one by one. */
  async writeByByte(data: Uint8Array): Promise<void> {
    for (let i = 0; i < data.byteLength; i++) {
      await this.write(data.subarray(i, i + 1));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** The next final response. Rejects when the connection closes without one. */
  response(): Promise<RawResponse> {
    return this.#final.next();
  }

  /** The next 1xx response. Rejects when the connection closes without one. */
  nextInterim(): Promise<RawResponse> {
    return this.#interim.next();
  }

  /** Cuts the connection with RST. */
  reset(): void {
    if (this.socket.destroyed) return;
    this.socket.resetAndDestroy();
  }

  /** Cuts the connection with FIN: nothing more will be sent. */
  finish(): void {
    this.socket.end();
  }

  async close(): Promise<void> {
    this.socket.destroy();
    await this.closed;
  }

  /** Takes one response off what was received; says whether there was a whole one. */
  #take(ended: boolean): boolean {
    const headEnd = this.#received.indexOf('\r\n\r\n');
    if (headEnd === -1) return false;
    const head = this.#received.toString('latin1', 0, headEnd);
    const [statusLine = '', ...lines] = head.split('\r\n');
    const match = /^(HTTP\/1\.[01]) (\d{3}) ?(.*)$/.exec(statusLine);
    if (match === null) throw new Error(`not a status line: ${statusLine}`);
    const [, version = '', code = '', reason = ''] = match;
    const status = Number(code);
    const headers = readFields(lines);
    const rest = this.#received.subarray(headEnd + 4);
    const content =
      status < 200 || status === 204 || status === 304 || this.bodiless
        ? { body: Buffer.alloc(0), used: 0 }
        : readBody(rest, headers, ended);
    if (content === undefined) return false;
    this.#received = rest.subarray(content.used);
    const response = { version, status, reason, headers, head, body: content.body };
    (status < 200 ? this.#interim : this.#final).put(response);
    return true;
  }
}

const readFields = (lines: readonly string[]): Record<string, string | undefined> => {
  const fields: Record<string, string | undefined> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1) throw new Error(`not a field: ${line}`);
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    fields[name] = fields[name] === undefined ? value : `${fields[name]}, ${value}`;
  }
  return fields;
};

/** Undefined while there is more to come. */
const readBody = (
  bytes: Buffer,
  headers: Readonly<Record<string, string | undefined>>,
  ended: boolean,
): { body: Buffer; used: number } | undefined => {
  if (headers['transfer-encoding'] === 'chunked') return readChunks(bytes);
  const length = headers['content-length'];
  if (length === undefined) return ended ? { body: bytes, used: bytes.byteLength } : undefined;
  if (bytes.byteLength < Number(length)) return undefined;
  return { body: bytes.subarray(0, Number(length)), used: Number(length) };
};

const readChunks = (bytes: Buffer): { body: Buffer; used: number } | undefined => {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd === -1) return undefined;
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    const next = lineEnd + 2 + size + 2;
    if (bytes.byteLength < next) return undefined;
    if (size === 0) return { body: Buffer.concat(parts), used: next };
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = next;
  }
};
