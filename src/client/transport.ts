import type { Range } from '../intervals.ts';
import type { ByteSource } from './content.ts';

/** By lower-case name. Those named here never stand twice. */
export interface ResponseHeaders {
  readonly date?: string | undefined;
  readonly etag?: string | undefined;
  readonly location?: string | undefined;
  readonly range?: string | undefined;
  readonly 'content-length'?: string | undefined;
  readonly 'content-range'?: string | undefined;
  readonly 'content-type'?: string | undefined;
  readonly 'retry-after'?: string | undefined;
  readonly [name: string]: string | string[] | undefined;
}

export interface HttpResponse {
  readonly status: number;
  readonly statusText: string;
  readonly headers: ResponseHeaders;
  /** `String(body)` is its text. */
  readonly body: Uint8Array;
  /** Where it came from, when the platform has followed a redirect on its own. */
  readonly url?: string | undefined;
}

export type RequestHeaders = Readonly<Record<string, string | number>>;

export interface TransportRequest {
  readonly url: URL;
  readonly method: string;
  readonly headers: RequestHeaders;
  /** Which bytes to send; none when undefined. */
  readonly body?: ({ readonly source: ByteSource } & Range) | undefined;
  readonly signal: AbortSignal;
  /** In milliseconds: how long nothing may move. */
  readonly stallTimeoutMs: number;
  /** The headers of each 103. What it throws ends the request with exactly that. */
  readonly onCheckpoint: (headers: ResponseHeaders) => void;
  /** `[start, end)` has been handed to the network. What it throws ends the request with exactly that. */
  readonly onSent: (start: number, end: number) => void;
}

/** Sends one request; knows nothing of uploads. */
export interface Transport {
  /** Whether it can show a 103. */
  readonly showsCheckpoints: boolean;
  /**
   * Rejects with an `Interruption` when no whole answer came, with the signal's reason when aborted, and with
   * what the source or a callback threw.
   */
  send(request: TransportRequest): Promise<HttpResponse>;
  /** Lets go of connections that wait for a next request; it can be used again. */
  release(): void;
}
