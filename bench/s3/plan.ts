import type { Bucket } from './bucket.ts';

/** Where a trial is run. */
export interface Place {
  readonly bucket: Bucket;
  /** Empty, and its own. */
  readonly directory: string;
}

/** Runs one trial in an empty bucket and a fresh directory. */
export type RunTrial = <T>(measure: (place: Place) => Promise<T>) => Promise<T>;

interface Named {
  readonly name: string;
}

/** All trials of all variants, and the figures of each under its variant's name. */
export const interleaved = async <V extends Named, T extends object>(
  what: string,
  variants: readonly V[],
  trials: number,
  measure: (variant: V) => Promise<T>,
): Promise<(T & { readonly trial: number; readonly variant: string })[]> => {
  const raw: (T & { readonly trial: number; readonly variant: string })[] = [];
  // Round-robin: whatever slows the machine down for a minute then slows every variant down alike.
  for (let trial = 1; trial <= trials; trial++) {
    for (const variant of variants) {
      process.stderr.write(`s3: ${what}, trial ${trial}/${trials}, ${variant.name}\n`);
      try {
        raw.push({ trial, variant: variant.name, ...(await measure(variant)) });
      } catch (error) {
        throw new Error(`${variant.name}: no figure`, { cause: error });
      }
    }
  }
  return raw;
};
