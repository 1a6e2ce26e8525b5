import { exitCodes } from './exit-codes.ts';

/** The person, or who started the program, wants it to end. */
export class Interrupted extends Error {
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
    this.signal = signal;
  }
}

/** npm passes on a Ctrl-C that the terminal has sent to us too: two within so long are one. */
const togetherMs = 300;
const signals = ['SIGINT', 'SIGTERM'] as const;

/** The first signal aborts the work, with an `Interrupted`; the second ends the process where it stands. */
export const interruptible = async <T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
  const abort = new AbortController();
  let firstAt = 0;
  const stop = (signal: NodeJS.Signals): void => {
    if (!abort.signal.aborted) {
      firstAt = performance.now();
      abort.abort(new Interrupted(signal));
    } else if (performance.now() - firstAt > togetherMs) {
      process.exit(exitCodes.interrupted);
    }
  };
  for (const signal of signals) process.on(signal, stop);
  try {
    return await work(abort.signal);
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
};
