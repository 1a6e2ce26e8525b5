import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { UploadError } from '../errors.ts';
import { printContentRange } from '../headers/content-range.ts';
import { parseRange } from '../headers/range.ts';
import { IntervalSet, type Range } from '../intervals.ts';
import type { Settings } from './options.ts';

/**
 * What the next request is for. `handshake` asks a shared URL for an identity, `query` asks a known upload
 * for its state, `whole` is an ordinary request with the whole body, `range` brings the first bytes that are
 * missing.
 */
export type Step = { readonly kind: 'handshake' | 'query' | 'whole' } | ({ readonly kind: 'range' } & Range);

/** What the client knows of one upload: where it lives, what it is called and what the server holds of it. */
export class Operation {
  readonly total: number;
  readonly #settings: Settings;
  readonly #origin: string;
  #url: URL;
  #etag: string | undefined;
  /** Undefined while it has to be asked for. */
  #stored: IntervalSet | undefined;
  #committed = 0;
  /** The upload may exist: from now on it is resumed, never started. */
  #begun = false;

  constructor(url: URL, total: number, settings: Settings) {
    this.total = total;
    this.#settings = settings;
    this.#origin = url.origin;
    this.#url = url;
  }

  /** Where the next request goes. */
  get url(): URL {
    return this.#url;
  }

  /** The most bytes the server ever said it holds; never falls, though what it holds may. */
  get committed(): number {
    return this.#committed;
  }

  /** The server holds all bytes and still has no answer. */
  get waitsForAnswer(): boolean {
    return this.total > 0 && this.#stored?.covers(0, this.total) === true;
  }

  next(): Step {
    if (!this.#begun) return { kind: this.#settings.handshake ? 'handshake' : 'whole' };
    if (this.#stored === undefined) return { kind: 'query' };
    // No Content-Range can name the empty range.
    if (this.total === 0) return { kind: 'whole' };
    const [gap] = this.#stored.missing(0, this.total);
    return gap === undefined ? { kind: 'query' } : { kind: 'range', ...gap };
  }

  headers(step: Step): OutgoingHttpHeaders {
    const { headers, checkpoints } = this.#settings;
    const withBody = step.kind === 'whole' || step.kind === 'range';
    const out: OutgoingHttpHeaders = {};
    for (const [name, value] of Object.entries(headers)) {
      if (!withBody && name.startsWith('content-')) continue;
      if (credentials.has(name) && this.#url.origin !== this.#origin) continue;
      out[name] = value;
    }
    if (checkpoints && withBody)
      out.prefer = out.prefer === undefined ? 'checkpoint' : `${out.prefer}, checkpoint`;
    if (this.#etag !== undefined) out['if-match'] = this.#etag;
    if (step.kind === 'range') {
      out['content-range'] = printContentRange({ ...step, length: this.total });
      out['content-length'] = step.end - step.start;
    } else if (step.kind === 'whole') {
      out['content-length'] = this.total;
    } else {
      out['content-range'] = printContentRange({ kind: 'query', length: this.total });
      out['content-length'] = 0;
    }
    return out;
  }

  /**
   * Takes a 308 to a request that went to `sentTo`: its Range replaces whatever was known, none means nothing
   * is stored. Returns whether the server has more than ever before.
   */
  learn(headers: IncomingHttpHeaders, sentTo: URL): boolean {
    return this.#learn(headers, sentTo, headers.range ?? '');
  }

  /**
   * Takes a 103; returns whether it told the state. One without Range (an early hint is a 103 too) only says
   * where the upload lives and what it is called.
   */
  learnCheckpoint(headers: IncomingHttpHeaders, sentTo: URL): { told: boolean; progress: boolean } {
    const told = headers.range !== undefined;
    return { told, progress: this.#learn(headers, sentTo, headers.range) };
  }

  /**
   * The state is no longer known: after a cut the server has something between the last report and all that
   * was sent.
   */
  forget(): void {
    this.#stored = undefined;
  }

  /** A request that may have started the upload was on its way. */
  begin(): void {
    this.#begun = true;
  }

  finish(): void {
    this.#committed = this.total;
  }

  #learn(headers: IncomingHttpHeaders, sentTo: URL, range: string | undefined): boolean {
    const { etag, location } = headers;
    if (location !== undefined) this.#url = this.#resolve(location, sentTo);
    if (etag !== undefined) this.#etag = etag;
    if (range === undefined) {
      if (location !== undefined || etag !== undefined) this.#begun = true;
      return false;
    }
    this.#begun = true;
    const stored = readRange(range, this.total);
    this.#stored = stored;
    if (stored.size <= this.#committed) return false;
    this.#committed = stored.size;
    return true;
  }

  #resolve(location: string, sentTo: URL): URL {
    const url = URL.canParse(location, sentTo.href) ? new URL(location, sentTo) : undefined;
    const secure = url?.protocol === 'https:';
    if (url === undefined || !(secure || (url.protocol === 'http:' && sentTo.protocol === 'http:'))) {
      throw new UploadError('unexpected_response', 'the server sent a Location that cannot be followed', {
        expected: sentTo.protocol === 'https:' ? 'an https URL' : 'an http URL',
        actual: location,
      });
    }
    return url;
  }
}

/** Not for an origin the application has not named. */
const credentials = new Set(['authorization', 'cookie', 'proxy-authorization']);

const readRange = (value: string, total: number): IntervalSet => {
  const ranges = value === '' ? [] : parseRange(value);
  const stored = ranges && IntervalSet.from(ranges);
  if (stored === undefined || stored.end > total) {
    throw new UploadError(
      'unexpected_response',
      'the server sent a Range that cannot be true of this upload',
      {
        expected: `within ${total} bytes`,
        actual: value,
      },
    );
  }
  return stored;
};
