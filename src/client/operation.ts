import { UploadError } from '../errors.ts';
import { printContentRange } from '../headers/content-range.ts';
import { parseRange } from '../headers/range.ts';
import { IntervalSet, type Range } from '../intervals.ts';
import type { Source } from './content.ts';
import type { HeaderRecord, Settings } from './options.ts';
import { ReplaySource } from './replay.ts';
import type { SavedUpload } from './saved.ts';
import type { RequestHeaders, ResponseHeaders } from './transport.ts';

/**
 * What the next request is for. `handshake` asks a shared URL for an identity, `query` asks a known upload
 * for its state, `whole` is an ordinary request with the whole body, `range` brings some of the bytes that
 * are missing.
 */
export type Step = { readonly kind: 'handshake' | 'query' | 'whole' } | ({ readonly kind: 'range' } & Range);

/** Not worth a request of its own while others could bring it along. */
const leastPart = 256 * 1024;
/** Where 413 stops the halving: a server that refuses so little means the upload. */
export const leastLimit = 16 * 1024;

/** What the client knows of one upload: where it lives, what it is called and what the server holds of it. */
export class Operation {
  readonly #settings: Settings;
  readonly #source: Source | ReplaySource;
  readonly #origin: string;
  #url: URL;
  #located = false;
  #etag: string | undefined;
  /** As far as it is known. */
  #stored = new IntervalSet();
  /** What the server holds has to be asked for. */
  #unsure = false;
  #committed = 0;
  /** It has been answered as only a server does that knows about resuming. */
  #isUnderstood = false;
  /** It was not: all goes in one request. */
  #isPlain = false;
  /** The upload may exist: from now on it is resumed, never started. */
  #begun = false;
  #limit: number;
  /** The requests under way. */
  readonly #flying = new Set<Step>();
  /** Those that never had another beside them are told by their answers what has become of the whole. */
  readonly #accompanied = new WeakSet<Step>();

  constructor(url: URL, source: Source | ReplaySource, settings: Settings) {
    this.#settings = settings;
    this.#source = source;
    this.#origin = url.origin;
    this.#url = url;
    this.#limit = settings.maxRequestBytes;
    const { state } = settings;
    if (state === undefined) return;
    if (state.location !== undefined) {
      this.#url = this.#resolve(state.location, url);
      this.#located = true;
    }
    this.#etag = state.etag;
    this.#limit = Math.min(this.#limit, state.maxRequestBytes ?? Number.POSITIVE_INFINITY);
    this.#isUnderstood =
      state.understood === true || state.location !== undefined || state.etag !== undefined;
    this.#begun = state.begun;
    this.#unsure = true;
  }

  /** Where the next request goes. */
  get url(): URL {
    return this.#url;
  }

  /** In bytes; undefined while a stream has not ended. */
  get total(): number | undefined {
    return this.#source.length;
  }

  /** The most bytes the server ever said it holds; never falls, though what it holds may. */
  get committed(): number {
    return this.#committed;
  }

  /** What the server holds, as far as it is known. */
  get stored(): readonly Range[] {
    return this.#stored.ranges();
  }

  /** The most bytes that one request may bring. */
  get limit(): number {
    return this.#limit;
  }

  /** The server has this upload, as far as can be told, under a name that is this one's alone. */
  get isNamed(): boolean {
    return this.#begun && (this.#located || this.#etag !== undefined || !this.#settings.handshake);
  }

  /** The server holds all bytes and still has no answer. */
  get waitsForAnswer(): boolean {
    const { total } = this;
    return total !== undefined && total > 0 && !this.#unsure && this.#stored.covers(0, total);
  }

  /** Every byte is either known to be stored or in a request under way. */
  get allUnderWay(): boolean {
    const { total } = this;
    return total !== undefined && !this.#unsure && this.#claimed().covers(0, total);
  }

  holds({ start, end }: Range): boolean {
    return this.#stored.runEnd(start) > start || this.#stored.nextStored(start) < end;
  }

  /** What else can be asked for or sent now; undefined while that depends on what is under way, or on the source. */
  next(): Step | undefined {
    const alone = this.#flying.size === 0;
    if (!this.#begun) return alone ? this.#first() : undefined;
    if (this.#unsure) return this.#isAsking() ? undefined : { kind: 'query' };
    const { total } = this;
    // No Content-Range can name the empty range.
    if (total === 0) return alone ? { kind: 'whole' } : undefined;
    const range = this.#nextRange();
    if (range !== undefined) return { kind: 'range', ...range };
    return alone && this.waitsForAnswer ? { kind: 'query' } : undefined;
  }

  start(step: Step): void {
    this.#flying.add(step);
    if (this.#flying.size > 1) for (const each of this.#flying) this.#accompanied.add(each);
    if (step.kind === 'range' && this.#source instanceof ReplaySource) this.#source.taken();
  }

  end(step: Step): void {
    this.#flying.delete(step);
  }

  headers(step: Step, given: HeaderRecord, showsCheckpoints: boolean): RequestHeaders {
    const { checkpoints, metadata } = this.#settings;
    const withBody = step.kind === 'whole' || step.kind === 'range';
    const length = this.total;
    const out: Record<string, string | number> = {};
    if (metadata !== undefined && !this.#begun) out['upload-metadata'] = metadata;
    for (const [name, value] of Object.entries(given)) {
      if (!withBody && name.startsWith('content-')) continue;
      if (credentials.has(name) && this.#url.origin !== this.#origin) continue;
      out[name] = value;
    }
    if (checkpoints && showsCheckpoints && withBody)
      out.prefer = out.prefer === undefined ? 'checkpoint' : `${out.prefer}, checkpoint`;
    if (this.#etag !== undefined) out['if-match'] = this.#etag;
    if (step.kind === 'range') {
      out['content-range'] = printContentRange({ ...step, length });
      out['content-length'] = step.end - step.start;
    } else if (step.kind === 'whole') {
      out['content-length'] = length ?? 0;
    } else {
      out['content-range'] = printContentRange({ kind: 'query', length });
      out['content-length'] = 0;
    }
    return out;
  }

  /** Of the request that gives the upload up. */
  cancelHeaders(given: HeaderRecord): RequestHeaders {
    const { prefer: _, ...headers } = this.headers({ kind: 'query' }, given, false);
    const { 'content-range': __, ...out } = headers;
    return out;
  }

  /**
   * Takes a 308 to a request that went to `sentTo`: its Range replaces whatever was known, none means nothing
   * is stored; beside other requests it only adds to that. Returns whether the server has more than ever before.
   */
  learn(step: Step, headers: ResponseHeaders, sentTo: URL): boolean {
    return this.#learn(step, headers, sentTo, headers.range ?? '');
  }

  /**
   * Takes a 103; returns whether it told the state. One without Range (an early hint is a 103 too) only says
   * where the upload lives and what it is called.
   */
  learnCheckpoint(step: Step, headers: ResponseHeaders, sentTo: URL): { told: boolean; progress: boolean } {
    const told = headers.range !== undefined;
    return { told, progress: this.#learn(step, headers, sentTo, headers.range) };
  }

  /**
   * The state is no longer known: after a cut the server has something between the last report and all that
   * was sent.
   */
  forget(): void {
    this.#unsure = true;
  }

  /** A request that may have started the upload was on its way. */
  begin(): void {
    this.#begun = true;
  }

  /**
   * Whether an answer that says success can mean the whole. Where nothing tells that the server resumes it was taken for
   * what it looks like: a request with these bytes alone.
   */
  isWholeWith(step: Step): boolean {
    const { total } = this;
    if (step.kind === 'whole' || total === 0) return true;
    if (step.kind === 'handshake') return false;
    return this.#isUnderstood || (step.kind === 'range' && step.start === 0 && step.end === total);
  }

  /** Takes a "not now": one that says beside it what is stored is of a server that resumes. */
  learnPatience({ range }: ResponseHeaders): void {
    if (range !== undefined) this.#isUnderstood = true;
  }

  /** All in one request, as where nobody resumes; returns false where that can't be. */
  beginAnew(): boolean {
    const { total } = this;
    const base = this.#source instanceof ReplaySource ? this.#source.base : 0;
    if (total === undefined || total > this.#limit || base > 0) return false;
    this.#begun = false;
    this.#unsure = false;
    this.#isPlain = true;
    return true;
  }

  /** A request of so many bytes was too large; returns false when smaller ones make no sense. */
  halve(bytes: number): boolean {
    if (bytes <= leastLimit) return false;
    this.#limit = Math.min(this.#limit, Math.max(leastLimit, Math.ceil(bytes / 2)));
    return true;
  }

  finish(): void {
    this.#committed = Math.max(this.#committed, this.total ?? 0);
  }

  save(url: URL, fingerprint: string | undefined): SavedUpload {
    const { total } = this;
    return {
      version: 1,
      url: url.href,
      ...(this.#located && { location: this.#url.href }),
      ...(this.#etag !== undefined && { etag: this.#etag }),
      ...(total !== undefined && { length: total }),
      ...(fingerprint !== undefined && { fingerprint }),
      ...(Number.isFinite(this.#limit) && { maxRequestBytes: this.#limit }),
      begun: this.#begun,
      ...(this.#isUnderstood && { understood: true }),
    };
  }

  #first(): Step | undefined {
    if (this.#settings.handshake) return { kind: 'handshake' };
    const { total } = this;
    if (this.#isParallel() && total !== 0 && !this.#isPlain) return { kind: 'query' };
    if (total !== undefined && total <= this.#limit && !(this.#source instanceof ReplaySource))
      return { kind: 'whole' };
    if (total === 0) return { kind: 'whole' };
    const range = this.#nextRange();
    return range === undefined ? undefined : { kind: 'range', ...range };
  }

  #isParallel(): boolean {
    return this.#settings.parallel > 1;
  }

  #isAsking(): boolean {
    for (const { kind } of this.#flying) if (kind === 'query' || kind === 'handshake') return true;
    return false;
  }

  /** What is stored or on its way. */
  #claimed(): IntervalSet {
    const claimed = this.#stored.clone();
    for (const step of this.#flying) {
      if (step.kind === 'range') claimed.add(step.start, step.end);
      else if (step.kind === 'whole') claimed.add(0, this.total ?? 0);
    }
    return claimed;
  }

  #nextRange(): Range | undefined {
    const source = this.#source;
    const isStream = source instanceof ReplaySource;
    const missing = this.#claimed().missing(0, isStream ? source.end : source.length);
    const [gap] = missing;
    if (gap === undefined) return undefined;
    const { parallel } = this.#settings;
    let most = Math.min(this.#limit, gap.end - gap.start);
    if (isStream) {
      // While one part is being sent, the next is read.
      const part = Math.min(this.#limit, Math.ceil(source.capacity / (parallel + 1)));
      if (most < part && !source.isDue) return undefined;
      most = Math.min(most, part);
    } else if (parallel > 1) {
      // Large ones first, and smaller ones towards the end, so that all connections have work until then.
      let left = 0;
      for (const { start, end } of missing) left += end - start;
      const least = Math.max(leastPart, Math.ceil(source.length / 32));
      most = Math.min(most, Math.max(least, Math.ceil(left / parallel)));
    }
    return { start: gap.start, end: gap.start + most };
  }

  #learn(step: Step, headers: ResponseHeaders, sentTo: URL, range: string | undefined): boolean {
    const { etag, location } = headers;
    if (location !== undefined) {
      this.#url = this.#resolve(location, sentTo);
      this.#located = true;
    }
    if (etag !== undefined) this.#etag = etag;
    if (range === undefined) {
      if (location !== undefined || etag !== undefined) this.#begun = true;
      return false;
    }
    this.#begun = true;
    this.#isUnderstood = true;
    const stored = readRange(range, this.total);
    // Answers of several connections may arrive in another order than they were given in.
    const isPartial = this.#accompanied.has(step);
    if (isPartial) stored.addAll(this.#stored.ranges());
    if (!isPartial || step.kind === 'query') this.#unsure = false;
    this.#stored = stored;
    if (this.#source instanceof ReplaySource) this.#source.release(stored.runEnd(0));
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

const readRange = (value: string, total: number | undefined): IntervalSet => {
  const ranges = value === '' ? [] : parseRange(value);
  const stored = ranges && IntervalSet.from(ranges);
  if (stored === undefined || stored.end > (total ?? Number.POSITIVE_INFINITY)) {
    throw new UploadError(
      'unexpected_response',
      'the server sent a Range that cannot be true of this upload',
      {
        expected: total === undefined ? 'ranges' : `within ${total} bytes`,
        actual: value,
      },
    );
  }
  return stored;
};
