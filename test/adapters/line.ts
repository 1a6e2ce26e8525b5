import { ask, open, type Request as RequestParts } from '../support/requests.ts';

// The two ways to an application: a socket, and a call.

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
}

/** How a client goes away: with a reset, or by saying that nothing more will come. */
export type Cut = 'RST' | 'FIN';

/** A request whose body is on its way. */
export interface Sending {
  write(bytes: Uint8Array): Promise<void>;
  cut(how: Cut): void;
}

export interface Line {
  ask(request: RequestParts): Promise<Answer>;
  /** A request whose body is announced with this length, and goes on as the client likes. */
  begin(request: RequestParts, length: number): Promise<Sending>;
}

export const socketLine = (port: number): Line => ({
  ask: (request) => ask({ port }, request),
  async begin(request, length) {
    const client = await open({ port }, { ...request, length });
    return {
      write: (bytes) => client.write(bytes),
      cut: (how) => (how === 'RST' ? client.reset() : client.finish()),
    };
  },
});

/** `uploads` as a server would call it: with the head of a request, and a body that may break off. */
export const fetchLine = (uploads: (request: Request) => Promise<Response>): Line => {
  const call = (parts: RequestParts, length: number, init: RequestInit): Promise<Response> => {
    const { target = '/upload', method = 'POST', headers } = parts;
    const request = new Request(new URL(target, 'http://example.com'), {
      method,
      headers: { ...headers, 'Content-Length': String(length) },
      duplex: 'half',
      ...init,
    } as RequestInit);
    return uploads(request);
  };
  return {
    async ask(parts) {
      const { body } = parts;
      const response = await call(
        parts,
        body?.length ?? 0,
        body === undefined ? {} : { body: body as string },
      );
      return {
        status: response.status,
        headers: Object.fromEntries(response.headers),
        body: Buffer.from(await response.arrayBuffer()),
      };
    },
    async begin(parts, length) {
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const gone = new AbortController();
      const body = writable.getWriter();
      void call(parts, length, { body: readable as unknown as string, signal: gone.signal });
      return {
        write: (bytes) => body.write(bytes),
        cut: (how) => (how === 'RST' ? gone.abort() : void body.abort(new Error('the client has gone'))),
      };
    },
  };
};
