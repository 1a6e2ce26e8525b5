import type { StoreCapabilities } from '../../src/store.ts';
import { KiB } from './content.ts';
import type { Stage } from './stage.ts';
import type { StoreWorld } from './world.ts';

export type Capability = 'sparse' | 'readOpen' | 'multiProcess' | 'persistent' | 'link';

/** What a scenario cannot do without: of the store, or of its world. */
export type Need = Capability | 'intercept' | 'cutPower';

/** One thing that is proven. */
export interface Scenario {
  /** What is proven, as a sentence that is true of every correct store. */
  readonly name: string;
  readonly needs?: readonly Need[];
  /**
   * The longest content it makes, in bytes.
   * @default 16384 (16 KiB)
   */
  readonly bytes?: number;
  /** Afterwards every upload is compared with what it must be, byte by byte: see `Stage.verify`. */
  readonly run: (stage: Stage) => Promise<void>;
}

/** Why a scenario means nothing for a store in its world; undefined when it does. */
export const reasonToSkip = (
  { needs = [], bytes = 16 * KiB }: Scenario,
  supports: StoreCapabilities,
  world: StoreWorld,
): string | undefined => {
  for (const need of needs) {
    if (need === 'intercept' || need === 'cutPower') {
      if (world[need] === undefined) return `the world has no ${need}`;
    } else if (!supports[need]) return `not supported: ${need}`;
  }
  return bytes > supports.maxLength ? `not supported: a content of ${bytes} bytes` : undefined;
};
