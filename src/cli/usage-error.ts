import { systemCode } from '../errors.ts';

/** The command line is not one that can be run. */
export class UsageError extends Error {}

/** What is wrong with the command line, in one line; undefined for any other error. */
export const usageProblem = (error: unknown): string | undefined => {
  if (error instanceof UsageError) return error.message;
  if (!(error instanceof Error) || systemCode(error)?.startsWith('ERR_PARSE_ARGS') !== true) return undefined;
  // What follows the first sentence is advice for rarer cases.
  return error.message.split(/\.? To specify|\n/)[0] ?? error.message;
};
