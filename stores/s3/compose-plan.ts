import { UploadError } from '../../src/errors.ts';
import { type PartLimits, type PartPlan, planParts, rangeOfPart } from './plan.ts';

// What an object is put together from: which bytes of the sources are copied inside the bucket, and which have to pass
// through here because alone they are too small for a part. A function of sizes only, asked one step at a time, so that
// it also answers while a source whose size nobody knows is still being read.

const GiB = 1024 ** 3;

/** A source whose size is known. `copies` where it is an object that the provider can copy from. */
export interface ComposeSource {
  readonly size: number;
  readonly copies: boolean;
}

/** The bytes `[start, end)` of source number `source`. */
export interface Segment {
  readonly source: number;
  readonly start: number;
  readonly end: number;
}

export type ComposePart =
  /** One copy inside the bucket. */
  | { readonly kind: 'copy'; readonly segment: Segment }
  /** Read here and sent on, one behind the other. */
  | { readonly kind: 'bytes'; readonly segments: readonly Segment[] };

export interface ComposeRules {
  readonly limits: PartLimits;
  /** How large the parts are that are read here: sizes grow with the number. */
  readonly plan: PartPlan;
}

/** How far the object is: which part comes next, and how many bytes for it are here. */
export interface Position {
  readonly number: number;
  readonly pending: number;
}

/** Where the next byte is taken from. */
export interface Rest extends ComposeSource {
  readonly at: number;
  /** Whether nothing comes behind this source. */
  readonly isLast: boolean;
}

export type Step =
  /** What is here becomes a part. */
  | { readonly kind: 'flush' }
  /** The source's bytes up to `end` are copied, or read. */
  | { readonly kind: 'copy' | 'read'; readonly end: number };

/**
 * The rules for the parts that are read here: none is larger than `memory` bytes. `total` is the object's size where it
 * is known. Throws `invalid_argument` for a part size that the provider or the memory does not allow.
 */
export const composeRules = (
  total: number | undefined,
  partSize: number,
  limits: PartLimits,
  memory = limits.maxPart,
): ComposeRules => {
  const plan = planParts(limits.equalParts ? total : undefined, partSize, limits);
  const maxPart = Math.min(plan.maxPart, memory);
  if (plan.size > maxPart) {
    const facts = { expected: plan.size, actual: memory };
    throw new UploadError('invalid_argument', 'the memory budget is less than a part', facts);
  }
  return { limits, plan: { ...plan, maxPart } };
};

/** What to do next. Throws `too_large` where the object would have more parts than it can. */
export const stepOf = (rules: ComposeRules, { number, pending }: Position, rest: Rest): Step => {
  const { limits, plan } = rules;
  const { at, size, copies, isLast } = rest;
  const left = size - at;
  const room = partSizeOf(plan, number) - pending;
  if (room <= 0) return { kind: 'flush' };
  const least = limits.equalParts ? plan.size : limits.minPart;
  // The last part may be small; but S3 copies no range of an object that is smaller than a part, and one small object
  // alone is cheaper read.
  const copiesEnd = isLast && number + pending > 1 && (at === 0 || size > limits.minPart);
  const canCopy = copies && (left >= least || copiesEnd);
  if (canCopy && pending === 0) return { kind: 'copy', end: at + copySize(rules, number, left) };
  // What can be copied is read only as far as what is before it needs to be a part; and what is too small for that is
  // not divided, so that it helps to fill the part with what comes behind it.
  const isWanted = copies && (left >= least || left > room);
  if ((canCopy || isWanted) && pending >= least) return { kind: 'flush' };
  return { kind: 'read', end: at + Math.min(left, isWanted ? least - pending : room) };
};

/** Of a part that is read here. Throws `too_large` past the last one. */
export const partSizeOf = (plan: PartPlan, number: number): number => {
  if (number > plan.maxParts) {
    const facts = { expected: plan.maxParts, actual: number };
    throw new UploadError('too_large', 'more parts than an object can have', facts);
  }
  const { start, end } = rangeOfPart(plan, number);
  return end - start;
};

/** In nearly equal pieces: of at most 1 GiB, so that several are copied at once, or larger where the number is short. */
const copySize = ({ limits, plan }: ComposeRules, number: number, left: number): number => {
  if (limits.equalParts) return Math.min(left, plan.size);
  const fewest = Math.ceil((2 * left) / (limits.maxParts - number + 1));
  const most = Math.min(Math.max(GiB, fewest), limits.maxPart);
  return Math.ceil(left / Math.ceil(left / most));
};

/** Whether nothing comes behind source number `index`: undefined is a size that nobody knows. */
export const isLastOf = (sizes: readonly (number | undefined)[], index: number): boolean =>
  sizes.slice(index + 1).every((size) => size === 0);

/**
 * All parts, in order, of sources whose sizes are known. Of what could be copied at most `minPart` bytes are read for
 * each boundary between two sources (a whole part where all must be of one size), and a last source that is no larger.
 *
 * Throws `too_large` when it would take more parts or bytes than an object can have.
 */
export const planCompose = (
  sources: readonly ComposeSource[],
  partSize: number,
  limits: PartLimits,
  memory?: number,
): readonly ComposePart[] => {
  let total = 0;
  for (const { size } of sources) total += size;
  assertFits(total, limits);
  return planWith(composeRules(total, partSize, limits, memory), sources);
};

/** … by rules that are fixed. */
export const planWith = (rules: ComposeRules, sources: readonly ComposeSource[]): readonly ComposePart[] => {
  const last = sources.findLastIndex(({ size }) => size > 0);
  const parts: ComposePart[] = [];
  let segments: Segment[] = [];
  let pending = 0;
  sources.forEach(({ size, copies }, source) => {
    for (let at = 0; at < size; ) {
      const position = { number: parts.length + 1, pending };
      const step = stepOf(rules, position, { at, size, copies, isLast: source === last });
      if (step.kind === 'flush') {
        parts.push({ kind: 'bytes', segments });
        [segments, pending] = [[], 0];
        continue;
      }
      const segment = { source, start: at, end: step.end };
      at = step.end;
      if (step.kind === 'copy') parts.push({ kind: 'copy', segment });
      else {
        segments.push(segment);
        pending += segment.end - segment.start;
      }
    }
  });
  if (pending > 0) {
    partSizeOf(rules.plan, parts.length + 1);
    parts.push({ kind: 'bytes', segments });
  }
  return parts;
};

/** Throws `too_large` for more bytes than an object can have. */
export const assertFits = (total: number, { maxObject }: PartLimits): void => {
  if (total <= maxObject) return;
  throw new UploadError('too_large', 'longer than an object can be', { expected: maxObject, actual: total });
};
