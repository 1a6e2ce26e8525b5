import type { CutMeans } from './cutting-proxy.ts';
import type { Random } from './random.ts';

/** When one connection is cut, by what it has sent or by its age, and how. */
export type ConnectionCut = { readonly means: CutMeans } & (
  | { readonly afterBytes: number }
  | { readonly afterMs: number }
);

/** Asked once for each new connection; undefined leaves it alone. */
export type CutSchedule = (random: Random) => ConnectionCut | undefined;

type Means = readonly [CutMeans, ...CutMeans[]];

/** Exponentially distributed: how long one has lived says nothing about how long it will live on. */
const exponential = (random: Random, mean: number): number =>
  // In (0, 1]: the logarithm of 0 would be a connection that lives for ever.
  -mean * Math.log((random.uint32() + 1) / 2 ** 32);

export const uncut: CutSchedule = () => undefined;

/** After each connection's first `bytes`, heads included. */
export const everyBytes =
  (bytes: number, ...means: Means): CutSchedule =>
  (random) => ({ means: random.pick(means), afterBytes: bytes });

/** After so many bytes in the mean, exponentially distributed; never before the first. */
export const randomBytes =
  (meanBytes: number, ...means: Means): CutSchedule =>
  (random) => ({
    means: random.pick(means),
    afterBytes: Math.max(1, Math.round(exponential(random, meanBytes))),
  });

/** At an age of so many milliseconds in the mean, exponentially distributed. */
export const randomTime =
  (meanMs: number, ...means: Means): CutSchedule =>
  (random) => ({ means: random.pick(means), afterMs: exponential(random, meanMs) });
