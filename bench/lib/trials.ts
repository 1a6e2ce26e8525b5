import { settle } from './scratch.ts';

/** What is measured in turn with others. */
export interface Case {
  /** Says which of them a line or a failure is about. */
  readonly name: string;
}

/**
 * All trials of all cases, each in turn, so that whatever slows the machine down for a minute slows all of them down
 * alike. Resolves with the rows of every trial, in order; `what` says on the way where it is. Rejects when a
 * trial fails: a median of those that did not would be worth nothing.
 */
export const inTurn = async <C extends Case, Row extends object>(
  what: string,
  cases: readonly C[],
  trials: number,
  measure: (one: C) => Promise<Row | readonly Row[]>,
): Promise<(Row & { readonly trial: number })[]> => {
  const raw: (Row & { readonly trial: number })[] = [];
  for (let trial = 1; trial <= trials; trial++) {
    for (const one of cases) {
      const where = `${what}, trial ${trial}/${trials}, ${one.name}`;
      process.stderr.write(`${where}\n`);
      try {
        for (const row of [await measure(one)].flat() as Row[]) raw.push({ trial, ...row });
      } catch (error) {
        throw new Error(`${where}: no figure`, { cause: error });
      }
      await settle();
    }
  }
  return raw;
};
