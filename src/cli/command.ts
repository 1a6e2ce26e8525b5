import type { Streams } from './output.ts';

/** One of the things the program does. */
export interface Command {
  /** One line, for the program's own help. */
  readonly summary: string;
  /** What follows its name: `[options] FILE… URL`. */
  readonly operands: string;
  /** Without its first line, which follows from `operands`. */
  readonly help: string;
  /** Resolves with the exit code. Rejects with whatever went wrong. */
  run(args: string[], streams: Streams): Promise<number>;
}
