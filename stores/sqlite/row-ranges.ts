import { UploadError } from '../../src/errors.ts';
import type { Range } from '../../src/intervals.ts';
import type { RangeIndex } from '../files/writer.ts';
import { addRanges, type Change } from './statements.ts';

export interface RowRangesOptions {
  readonly id: string;
  /** The name of the content file. */
  readonly file: string;
  /** Resolves with the number of rows the first step touched. */
  commit(change: Change): Promise<number>;
  /** Makes the name of the content file safe. */
  syncName(): Promise<void>;
  /** Whether the upload has its answer, so that no range needs to be known any more. */
  isFinished(): boolean;
}

/** The received ranges of one upload as rows of the index. */
export class RowRanges implements RangeIndex {
  readonly #options: RowRangesOptions;
  #isNamed = false;

  constructor(options: RowRangesOptions) {
    this.#options = options;
  }

  async append(ranges: readonly Range[]): Promise<void> {
    if (!this.#isNamed) await this.#options.syncName();
    this.#isNamed = true;
    const touched = await this.#options.commit(addRanges(this.#options, ranges, Date.now()));
    if (touched === 0 && !this.#options.isFinished()) {
      throw new UploadError('gone', 'the upload was removed', { id: this.#options.id });
    }
  }

  async close(): Promise<void> {}
}
