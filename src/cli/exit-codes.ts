/** What a script may tell from the end of the program. */
export const exitCodes = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

export const exitCodesHelp = `Exit codes: 0 done, 1 failed, 2 not a command that can be run,
130 interrupted (what has arrived is kept; the same command goes on).
`;
