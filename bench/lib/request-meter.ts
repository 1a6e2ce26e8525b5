/** Part of a request's body, as it passes. */
export interface BodyPart {
  /** Whose request it is: the first word of its `X-Track` header; undefined without one. */
  readonly track: string | undefined;
  /** Where the part belongs in the upload, half-open: the second word of `X-Track` says where the body begins. */
  readonly start: number;
  readonly end: number;
  /** Whether the server itself had asked for the body to begin there, which the third word says: `asked`. */
  readonly asked: boolean;
}

/**
 * Tells heads from bodies in what a client sends over one connection, so that bytes of files can be counted apart
 * from what it takes to send them. Knows HTTP/1.1 requests with Content-Length, or without a body; of a chunked one
 * it throws.
 */
export class RequestMeter {
  requests = 0;
  headBytes = 0;
  bodyBytes = 0;
  /** Of the newest request whose head is complete. */
  track: string | undefined;

  readonly #onBody: (part: BodyPart) => void;
  #head = '';
  #left = 0;
  #offset = 0;
  #asked = false;

  constructor(onBody: (part: BodyPart) => void = () => {}) {
    this.#onBody = onBody;
  }

  /** Whether the body of a request is on its way. */
  get inBody(): boolean {
    return this.#left > 0;
  }

  /** To be told of all that is sent, in order. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      at += this.#left > 0 ? this.#body(chunk.length - at) : this.#readHead(chunk.subarray(at));
    }
  }

  #body(bytes: number): number {
    const taken = Math.min(bytes, this.#left);
    const start = this.#offset;
    this.#left -= taken;
    this.#offset += taken;
    this.bodyBytes += taken;
    this.#onBody({ track: this.track, start, end: start + taken, asked: this.#asked });
    return taken;
  }

  /** Returns how many of these bytes belong to the head. */
  #readHead(bytes: Uint8Array): number {
    const before = this.#head.length;
    // A body may be behind it, of which no string is wanted.
    const text = this.#head + Buffer.from(bytes.subarray(0, maxHeadBytes)).toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) {
      if (text.length >= maxHeadBytes) throw new Error(`a head of more than ${maxHeadBytes} bytes`);
      this.#head = text;
      this.headBytes += text.length - before;
      return text.length - before;
    }
    this.#begin(text.slice(0, end));
    this.#head = '';
    this.headBytes += end + 4 - before;
    return end + 4 - before;
  }

  #begin(head: string): void {
    if (/^transfer-encoding:/im.test(head)) throw new Error('a chunked request cannot be metered');
    const [, track, offset, asked] = /^x-track: (\S+) (\d+)( asked)?\r?$/im.exec(head) ?? [];
    this.requests++;
    this.track = track;
    this.#offset = Number(offset ?? 0);
    this.#asked = asked !== undefined;
    this.#left = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  }
}

const maxHeadBytes = 16 * 1024;
