import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { storeError, UploadError } from '../../src/errors.ts';
import type { Bucket, ListedPart, MultipartUpload } from './bucket.ts';
import { assertFits, type ComposeRules, type Position, partSizeOf } from './compose-plan.ts';
import { isNoUpload } from './failures.ts';
import type { ObjectFields } from './fields.ts';
import type { PartPlan } from './plan.ts';

/** How far an object is on its way into the bucket. Sizes in bytes. */
export interface PutProgress {
  /**
   * `reading`: no part has been sent yet. `sending`: parts are under way. `completing`: all are there, and the object is
   * being made. `done`, `aborted`, `failed`: the end.
   */
  readonly state: 'reading' | 'sending' | 'completing' | 'done' | 'aborted' | 'failed';
  /** Taken from the sources, in whichever way. Never falls. */
  readonly read: number;
  /** Acknowledged by the bucket. Never falls. */
  readonly stored: number;
  /** How many parts these are. */
  readonly parts: number;
}

/** An object that is there. */
export interface PutResult {
  readonly key: string;
  /** In bytes. */
  readonly size: number;
  /** With its quotes, as S3 gives it. */
  readonly etag: string;
}

export type SentPart = Pick<ListedPart, 'number' | 'etag'> & { readonly size: number };

export interface SenderSetting {
  readonly bucket: Bucket;
  readonly key: string;
  readonly rules: ComposeRules;
  readonly concurrency: number;
  /** In bytes, of all parts that are here at once, with the one that is being filled. */
  readonly memoryBudget: number;
  readonly fields: ObjectFields | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: PutProgress) => void) | undefined;
  /** Whether parts stay when it fails, to go on with them later. */
  readonly keeps: boolean;
  /** What is there already. */
  readonly begun: { readonly upload: MultipartUpload; readonly parts: readonly SentPart[] } | undefined;
}

/** How often an upload is ended, until its parts are really gone. */
const mostAborts = 5;

/**
 * One object on its way, part by part: several under way at once, bounded memory, and an end that leaves either the
 * object, or nothing, or what it takes to go on.
 */
export class PartSender {
  readonly #setting: SenderSetting;
  #rules: ComposeRules;
  /** Nothing more is read. */
  readonly #halted = new AbortController();
  /** … nor sent. */
  readonly #cancelled = new AbortController();
  readonly #parts = new Map<number, SentPart>();
  readonly #underway = new Set<Promise<void>>();
  #upload: MultipartUpload | undefined;
  #state: PutProgress['state'] = 'reading';
  #number: number;
  #buffer: Uint8Array | undefined;
  #pending = 0;
  #held = 0;
  #read = 0;
  #stored = 0;
  #failure: { readonly error: unknown } | undefined;
  #abort: { readonly reason: unknown } | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #removing: Promise<void> | undefined;

  constructor(setting: SenderSetting) {
    this.#setting = setting;
    this.#rules = setting.rules;
    this.#upload = setting.begun?.upload;
    for (const part of setting.begun?.parts ?? []) {
      this.#parts.set(part.number, part);
      this.#read += part.size;
    }
    this.#stored = this.#read;
    this.#number = this.#parts.size + 1;
    for (const { signal } of [this.#halted, this.#cancelled]) setMaxListeners(0, signal);
  }

  /** Aborted as soon as the sources are of no more use. */
  get halted(): AbortSignal {
    return this.#halted.signal;
  }

  get upload(): MultipartUpload | undefined {
    return this.#state === 'done' ? undefined : this.#upload;
  }

  get plan(): PartPlan {
    return this.#rules.plan;
  }

  get position(): Position {
    return { number: this.#number, pending: this.#pending };
  }

  /** The parts that are there without a gap from the first. */
  get parts(): readonly SentPart[] {
    const parts: SentPart[] = [];
    for (let part = this.#parts.get(1); part !== undefined; part = this.#parts.get(part.number + 1)) {
      parts.push(part);
    }
    return parts;
  }

  /** Other rules than those it was made with; before any byte. */
  use(rules: ComposeRules): void {
    this.#rules = rules;
  }

  /** `work` hands over all bytes, in order. Once. */
  run(work: () => Promise<void>): Promise<PutResult> {
    const running = Promise.resolve().then(() => this.#run(work));
    this.#running = running.catch(() => undefined);
    return running;
  }

  /** Ends it, and resolves when nothing is left. Too late while the object is being made, and afterwards. */
  async abort(reason?: unknown): Promise<void> {
    this.#abort ??= { reason };
    if (this.#state !== 'completing') {
      this.#halted.abort();
      this.#cancelled.abort();
    }
    await this.#running;
    if (this.#state === 'done' || this.#state === 'aborted') return;
    this.#removing ??= this.#remove().finally(() => {
      this.#removing = undefined;
    });
    await this.#removing;
    this.#tell('aborted');
  }

  /** Throws when it is to end. */
  assertGoing(): void {
    if (this.#abort !== undefined) throw new Error('aborted');
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Copies the bytes; resolves when there is room for more. */
  async append(bytes: Uint8Array): Promise<void> {
    for (let rest = bytes; rest.byteLength > 0; ) {
      this.assertGoing();
      const buffer = this.#buffer ?? (await this.#allocate());
      const taken = rest.subarray(0, buffer.byteLength - this.#pending);
      buffer.set(taken, this.#pending);
      this.#pending += taken.byteLength;
      this.#add(taken.byteLength);
      rest = rest.subarray(taken.byteLength);
      // One part alone is better put as a whole, so the first waits until there is more.
      const isFull = this.#pending === buffer.byteLength;
      if (isFull && (this.#upload !== undefined || rest.byteLength > 0)) await this.flush();
    }
  }

  /** What has been appended becomes a part. */
  async flush(): Promise<void> {
    const buffer = this.#buffer;
    if (buffer === undefined) return;
    const body = buffer.subarray(0, this.#pending);
    this.#buffer = undefined;
    this.#pending = 0;
    await this.#send(body.byteLength, buffer.byteLength, (upload, number) =>
      this.#setting.bucket.uploadPart(upload, number, body, this.#cancelled.signal),
    );
  }

  /** A part whose bytes do not come here. */
  async copy(
    size: number,
    copy: (upload: MultipartUpload, number: number, signal: AbortSignal) => Promise<string>,
  ): Promise<void> {
    this.assertGoing();
    this.#add(size);
    await this.#send(size, 0, (upload, number) => copy(upload, number, this.#cancelled.signal));
  }

  async #run(work: () => Promise<void>): Promise<PutResult> {
    const { signal, key, keeps } = this.#setting;
    const onAbort = (): void => void this.abort(signal?.reason).catch(() => undefined); // `result` says it
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      if (signal?.aborted === true) onAbort();
      this.#tell('reading');
      this.assertGoing();
      await work();
      const etag = await this.#finish();
      this.#tell('done');
      return { key, size: this.#read, etag };
    } catch (error) {
      this.#fail(error);
      if (!keeps) this.#cancelled.abort();
      await Promise.all(this.#underway);
      if (this.#abort !== undefined) throw await this.#aborted(this.#abort.reason);
      const failure = storeError(this.#failure?.error);
      if (!keeps) await this.#remove().catch(() => undefined); // the failure is what is to be told
      this.#tell('failed');
      throw failure;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#buffer = undefined;
      this.#halted.abort();
    }
  }

  async #aborted(cause: unknown): Promise<UploadError> {
    try {
      await this.#remove();
    } catch (error) {
      this.#tell('failed');
      const message = 'the upload was aborted, but its parts could not be removed';
      return new UploadError('store_failed', message, { cause: error });
    }
    this.#tell('aborted');
    return new UploadError('interrupted', 'the upload was aborted', { offset: this.#stored, cause });
  }

  /** A part whose request was cancelled may still arrive, and an upload that has one is not gone. */
  async #remove(): Promise<void> {
    const { bucket } = this.#setting;
    const upload = this.#upload;
    if (upload === undefined) return;
    for (let aborts = 1; ; aborts++) {
      await bucket.abort(upload);
      if ((await bucket.parts(upload)) === undefined) break;
      if (aborts === mostAborts) throw new Error('the multipart upload does not end');
    }
    this.#upload = undefined;
  }

  async #finish(): Promise<string> {
    const { bucket, key, fields } = this.#setting;
    this.assertGoing();
    const body = this.#buffer?.subarray(0, this.#pending) ?? new Uint8Array();
    if (this.#number > 1 && this.#pending > 0) await this.flush();
    while (this.#underway.size > 0) await this.#next();
    this.assertGoing();
    // Whoever is told that the object is being made may still say no: after that it is too late.
    this.#tell('completing', () => this.assertGoing());
    if (this.#number > 1) return this.#complete();
    const etag = await bucket.put(key, body, fields);
    this.#stored += body.byteLength;
    // One that was begun and has no part cannot be completed. The object is there, whatever becomes of it.
    await this.#remove().catch(() => undefined);
    return etag;
  }

  async #complete(): Promise<string> {
    const { bucket, key } = this.#setting;
    const upload = this.#upload as MultipartUpload;
    const { parts } = this;
    try {
      return await bucket.complete(upload, parts);
    } catch (error) {
      // A completion that was repeated because its answer was lost finds no upload, but an object.
      if (!isNoUpload(error)) throw error;
      const etag = etagOf(parts);
      if (etag !== undefined && (await bucket.pin(key))?.etag === etag) return etag;
      throw noUpload(key, error);
    }
  }

  async #allocate(): Promise<Uint8Array> {
    const { memoryBudget } = this.#setting;
    const size = partSizeOf(this.plan, this.#number);
    while (this.#held > 0 && this.#held + size > memoryBudget) await this.#next();
    this.#held += size;
    this.#buffer = Buffer.allocUnsafeSlow(size);
    return this.#buffer;
  }

  async #send(
    size: number,
    memory: number,
    send: (upload: MultipartUpload, number: number) => Promise<string>,
  ): Promise<void> {
    const { concurrency, bucket, key, fields } = this.#setting;
    const number = this.#number;
    partSizeOf(this.plan, number);
    this.#number++;
    // Not cancelled: a multipart upload whose id nobody has learnt could not be removed.
    this.#upload ??= { key, uploadId: await bucket.begin(key, fields) };
    const upload = this.#upload;
    while (this.#underway.size >= concurrency) await this.#next();
    this.assertGoing();
    const sending = send(upload, number)
      .then((etag) => {
        this.#parts.set(number, { number, etag, size });
        this.#stored += size;
        this.#tell('sending');
      })
      .catch((error: unknown) => this.#fail(isNoUpload(error) ? noUpload(key, error) : error))
      .finally(() => {
        this.#held -= memory;
        this.#underway.delete(sending);
      });
    this.#underway.add(sending);
    this.#tell('sending');
  }

  /** When the next part has ended. */
  async #next(): Promise<void> {
    this.assertGoing();
    await Promise.race(this.#underway);
    this.assertGoing();
  }

  #add(bytes: number): void {
    assertFits(this.#read + bytes, this.#rules.limits);
    this.#read += bytes;
  }

  /** The parts that are under way may still arrive. */
  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#halted.abort();
  }

  #tell(state: PutProgress['state'], then?: () => void): void {
    const { onProgress } = this.#setting;
    this.#state = state === 'completing' ? this.#state : state;
    try {
      onProgress?.({ state, read: this.#read, stored: this.#stored, parts: this.#parts.size });
    } catch (error) {
      // At the end there is nothing left to fail.
      if (state === 'done' || state === 'aborted' || state === 'failed') return;
      this.#fail(
        new UploadError('handler_failed', 'onProgress has thrown', { id: this.#setting.key, cause: error }),
      );
    }
    then?.();
    this.#state = state;
  }
}

export const noUpload = (key: string, cause?: unknown): UploadError =>
  new UploadError('gone', 'the multipart upload is no more: it was completed, aborted or has expired', {
    id: key,
    cause,
  });

/** What S3 gives an object that these parts were put together to; undefined where their ETags are no MD5 (KMS). */
const etagOf = (parts: readonly SentPart[]): string | undefined => {
  const sum = createHash('md5');
  for (const { etag } of parts) {
    const [, hex] = /^"?([0-9a-f]{32})"?$/.exec(etag) ?? [];
    if (hex === undefined) return undefined;
    sum.update(hex, 'hex');
  }
  return `"${sum.digest('hex')}-${parts.length}"`;
};
