import { type Case, inTurn } from '../lib/trials.ts';
import type { Bucket } from './bucket.ts';

/** Where a trial is run. */
export interface Place {
  readonly bucket: Bucket;
  /** Empty, and its own. */
  readonly directory: string;
}

/** Runs one trial in an empty bucket and a fresh directory. */
export type RunTrial = <T>(measure: (place: Place) => Promise<T>) => Promise<T>;

/** All trials of all variants, and the figures of each under its variant's name. */
export const interleaved = <V extends Case, T extends object>(
  what: string,
  variants: readonly V[],
  trials: number,
  measure: (variant: V) => Promise<T>,
): Promise<(T & { readonly trial: number; readonly variant: string })[]> =>
  inTurn(`s3: ${what}`, variants, trials, async (variant) => ({
    variant: variant.name,
    ...(await measure(variant)),
  }));
