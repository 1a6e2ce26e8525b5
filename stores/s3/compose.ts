import type { Bucket } from './bucket.ts';
import { assertFits, type ComposeRules, isLastOf, planWith, stepOf } from './compose-plan.ts';
import { changed, type OpenSource, openSource, type Source } from './compose-source.ts';
import { Permits } from './memory.ts';
import { PartSender, type PutResult } from './part-sender.ts';
import { checkedOptions, defaultConcurrency, type PutOptions, type PutSetting, quiet } from './put-stream.ts';
import { bytesOf, isStream } from './stream-source.ts';

/** An object on its way, put together from others. */
export interface Composition {
  /**
   * Resolves when the object is there. Rejects with an `UploadError`, and then nothing is left:
   *
   * - `interrupted`: it was aborted, or a source could not be read (`cause`);
   * - `not_found`: an object or a file is not there;
   * - `gone`: an object or a file has changed since it was looked at;
   * - `store_failed`: the bucket failed for longer than the client's retries (`cause`);
   * - `handler_failed`: `onProgress` has thrown (`cause`);
   * - `too_large`: more bytes or parts than an object can have;
   * - `invalid_argument`: an option or a source is not usable, or metadata is longer than 2048 bytes (2 KB).
   */
  readonly result: Promise<PutResult>;
  /** Ends it, and resolves when nothing is left of it. It is too late from `completing` on. */
  abort(): Promise<void>;
}

export const compose = (
  setting: PutSetting,
  key: string,
  sources: readonly Source[],
  options: PutOptions = {},
): Composition => {
  const { bucket } = setting;
  // One may fail long before its turn, and that is told when it comes.
  const streams = sources.filter(isStream).map(bytesOf);
  const stop = (): void => {
    for (const stream of streams) stream.stop();
  };
  let sender: PartSender;
  try {
    const checked = checkedOptions(setting, options, undefined);
    sender = new PartSender({ bucket, key, ...checked, keeps: false, begun: undefined });
  } catch (error) {
    stop();
    return { result: quiet(Promise.reject(error)), abort: async () => undefined };
  }
  sender.halted.addEventListener('abort', stop);
  const result = sender.run(() => append(setting, sender, sources, options));
  return { result: quiet(result), abort: () => sender.abort() };
};

const append = async (
  setting: PutSetting,
  sender: PartSender,
  sources: readonly Source[],
  options: PutOptions,
): Promise<void> => {
  const { bucket, limits } = setting;
  await setting.ready();
  const permits = new Permits(options.concurrency ?? defaultConcurrency);
  const looked = sources.map((source) =>
    permits.run(() => {
      sender.assertGoing();
      return openSource(bucket, limits, source);
    }),
  );
  const opened = await Promise.all(looked);
  const rules = rulesFor(setting, opened, options);
  sender.use(rules);
  const sizes = opened.map(({ size }) => size);
  for (const [index, source] of opened.entries()) {
    if (source.kind === 'stream') await source.each((chunk) => sender.append(chunk));
    else await appendKnown(bucket, sender, rules, source, isLastOf(sizes, index));
  }
};

/** Says before any byte moves what cannot be. */
const rulesFor = (setting: PutSetting, sources: readonly OpenSource[], options: PutOptions): ComposeRules => {
  const { limits } = setting;
  let known = 0;
  for (const { size = 0 } of sources) known += size;
  assertFits(known, limits);
  const isKnown = sources.every(({ size }) => size !== undefined);
  const { rules } = checkedOptions(setting, options, isKnown ? known : undefined);
  if (isKnown) {
    planWith(
      rules,
      sources.map((source) => ({ size: source.size ?? 0, copies: objectOf(source) !== undefined })),
    );
  }
  return rules;
};

const objectOf = (source: OpenSource) => (source.kind === 'known' ? source.object : undefined);

const appendKnown = async (
  bucket: Bucket,
  sender: PartSender,
  rules: ComposeRules,
  source: Extract<OpenSource, { kind: 'known' }>,
  isLast: boolean,
): Promise<void> => {
  const { size, object } = source;
  for (let at = 0; at < size; ) {
    sender.assertGoing();
    const step = stepOf(rules, sender.position, { at, size, copies: object !== undefined, isLast });
    if (step.kind === 'flush') {
      await sender.flush();
      continue;
    }
    const { end } = step;
    if (step.kind === 'copy' && object !== undefined) {
      const range = { start: object.start + at, end: object.start + end };
      await sender.copy(end - at, (upload, number, signal) =>
        bucket.copyPart(upload, number, { ...object, ...range }, signal).catch((error: unknown) => {
          throw changed(object, error);
        }),
      );
    } else await source.read(at, end, sender.halted, (chunk) => sender.append(chunk));
    at = end;
  }
};
