import type { Readable } from 'node:stream';
import { UploadError } from '../../src/errors.ts';
import type { Bucket, ListedPart } from './bucket.ts';
import { type ComposeRules, composeRules } from './compose-plan.ts';
import type { ObjectFields } from './fields.ts';
import { encodeMetadata } from './metadata.ts';
import { noUpload, PartSender, type PutProgress, type PutResult, type SentPart } from './part-sender.ts';
import { type PartLimits, type PartPlan, rangeOfPart } from './plan.ts';
import { bytesOf, type StreamSource } from './stream-source.ts';

const MiB = 1024 * 1024;

export const defaultConcurrency = 4;

/** Of `putStream` and `compose`. Sizes in bytes. */
export interface PutOptions {
  /**
   * Requests for parts under way at once.
   * @default 4
   */
  readonly concurrency?: number;
  /**
   * Of the first parts. They grow with their number, so that 10,000 of them reach further: up to the memory budget.
   * @default that of the store, 8388608 (8 MiB) if it has none
   */
  readonly partSize?: number;
  /**
   * Most that is held of all parts together, with the one that is being read; so also the size of the largest part.
   * 64 MiB reach objects of 490 GiB, 640 MiB those of 5 TiB; what comes after is `too_large`.
   * @default 67108864 (64 MiB), or two parts where these are larger
   */
  readonly memoryBudget?: number;
  /** Ends it, and removes what was stored. */
  readonly signal?: AbortSignal;
  /** Called at each change. What it throws fails the upload (`handler_failed`). */
  readonly onProgress?: (progress: PutProgress) => void;
  /** What the object is made with: `ContentType`, `Metadata` (any Unicode text), `ACL`, `StorageClass`, … */
  readonly object?: ObjectFields;
}

/** What it takes to go on with a stream that broke off: a plain value, which may be sent to another process as JSON. */
export interface PutState {
  readonly key: string;
  readonly uploadId: string;
  readonly plan: PartPlan;
  /** The whole parts that are there, without a gap from the first. */
  readonly parts: readonly Pick<ListedPart, 'number' | 'etag'>[];
  /** Where the source is to go on, in bytes. */
  readonly offset: number;
}

export interface PutStreamOptions extends PutOptions {
  /**
   * Goes on from there: the source begins at `state.offset`. Part sizes are those of the state, and `object` is to be
   * what it was at first. With an upload or parts that are no more it is `gone`, before the source is read.
   */
  readonly state?: PutState;
}

/** A stream on its way into an object. */
export interface PutStream {
  /**
   * Resolves when the object is there. Rejects with an `UploadError`:
   *
   * - `interrupted`: it was aborted, and nothing is left, or the source failed (`cause`);
   * - `gone`: the multipart upload, or a part of it, is no more; there is nothing to go on from;
   * - `store_failed`: the bucket failed for longer than the client's retries (`cause`);
   * - `handler_failed`: `onProgress` has thrown (`cause`);
   * - `too_large`: more than fits;
   * - `invalid_argument`: an option is not usable, or metadata is longer than 2048 bytes (2 KB).
   *
   * Unless it was aborted, the parts stay for `state()`. Whoever does not want to go on calls `abort()`: what nobody
   * ends is paid for for ever.
   */
  readonly result: Promise<PutResult>;
  /** Undefined while there is nothing to go on from, and when there is no more. May be asked at any time. */
  state(): PutState | undefined;
  /**
   * Ends it and resolves when nothing is left of it, also after a failure. An object that is there by then stays: it is
   * too late from `completing` on. Rejects with the bucket's error; then it can be called again.
   */
  abort(): Promise<void>;
}

/** Of the store. */
export interface PutSetting {
  readonly bucket: Bucket;
  readonly limits: PartLimits;
  readonly partSize: number;
  /** Rejects when the bucket cannot be used. */
  readonly ready: () => Promise<void>;
}

export const putStream = (
  setting: PutSetting,
  key: string,
  source: Readable,
  options: PutStreamOptions = {},
): PutStream => {
  const { bucket } = setting;
  const { state } = options;
  const stream = bytesOf(source);
  let sender: PartSender;
  try {
    const { rules, ...checked } = checkedOptions(setting, options, undefined, state?.plan);
    const begun = state && begunAs(key, state);
    sender = new PartSender({ bucket, key, rules, ...checked, keeps: true, begun });
  } catch (error) {
    stream.stop();
    return { result: quiet(Promise.reject(error)), state: () => state, abort: async () => undefined };
  }
  sender.halted.addEventListener('abort', () => stream.stop());
  const result = sender.run(() => send(setting, sender, stream, state));
  return { result: quiet(result), state: () => stateOf(key, state, sender), abort: () => sender.abort() };
};

const send = async (
  { bucket, ready }: PutSetting,
  sender: PartSender,
  stream: StreamSource,
  state: PutState | undefined,
): Promise<void> => {
  await ready();
  if (state !== undefined) await assertThere(bucket, state);
  await stream.each((chunk) => sender.append(chunk));
};

/** Whoever waits for it is told; a state may be all that is wanted. */
export const quiet = <T>(result: Promise<T>): Promise<T> => {
  result.catch(() => undefined);
  return result;
};

/** With all defaults. Throws `invalid_argument` for what is not usable. */
export const checkedOptions = (
  { limits, partSize: ownPartSize }: PutSetting,
  options: PutOptions,
  total: number | undefined,
  plan?: PartPlan,
): {
  readonly rules: ComposeRules;
  readonly concurrency: number;
  readonly memoryBudget: number;
  readonly fields: ObjectFields | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: PutOptions['onProgress'];
} => {
  const {
    concurrency = defaultConcurrency,
    partSize = ownPartSize,
    object: fields,
    signal,
    onProgress,
  } = options;
  const memoryBudget = options.memoryBudget ?? Math.max(64 * MiB, 2 * partSize, plan?.maxPart ?? 0);
  for (const [name, value] of Object.entries({ concurrency, memoryBudget })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new UploadError('invalid_argument', `${name} is no whole number above 0`, { actual: value });
  }
  if (plan !== undefined && plan.maxPart > memoryBudget) {
    const facts = { expected: plan.maxPart, actual: memoryBudget };
    throw new UploadError('invalid_argument', 'the memory budget is less than that of the state', facts);
  }
  encodeMetadata(fields?.Metadata ?? {}); // throws what is wrong with it
  const rules = plan === undefined ? composeRules(total, partSize, limits, memoryBudget) : { limits, plan };
  return { rules, concurrency, memoryBudget, fields, signal, onProgress };
};

const sizeOf = (plan: PartPlan, number: number): number => {
  const { start, end } = rangeOfPart(plan, number);
  return end - start;
};

const begunAs = (key: string, { plan, parts, offset, uploadId, ...state }: PutState) => {
  const sent = parts.map(({ number, etag }): SentPart => ({ number, etag, size: sizeOf(plan, number) }));
  const end = sent.reduce((sum, { size }) => sum + size, 0);
  const hasGap = sent.some(({ number }, i) => number !== i + 1);
  if (state.key !== key || hasGap || end !== offset) {
    throw new UploadError('invalid_argument', 'no state of an upload to this key', {
      id: key,
      actual: state.key,
    });
  }
  return { upload: { key, uploadId }, parts: sent };
};

/** Before any byte of the source is read. */
const assertThere = async (bucket: Bucket, { key, uploadId, plan, parts }: PutState): Promise<void> => {
  const listed = await bucket.parts({ key, uploadId });
  if (listed === undefined) throw noUpload(key);
  const there = new Map(listed.map((part) => [part.number, part]));
  for (const { number, etag } of parts) {
    const part = there.get(number);
    if (part?.etag === etag && part.size === sizeOf(plan, number)) continue;
    const { start } = rangeOfPart(plan, number);
    throw new UploadError('gone', 'a part that the state names is no more', { id: key, offset: start });
  }
};

const stateOf = (
  key: string,
  given: PutState | undefined,
  { upload, parts: sent, plan }: PartSender,
): PutState | undefined => {
  if (upload === undefined) return undefined;
  // The last part of all may be shorter than planned: what goes on from there could not make it longer.
  const whole = sent.filter(({ number, size }) => size === sizeOf(plan, number));
  const offset = whole.reduce((sum, { size }) => sum + size, 0);
  const parts = whole.map(({ number, etag }) => ({ number, etag }));
  return { key, uploadId: upload.uploadId, plan: given?.plan ?? plan, parts, offset };
};
