/** How much one request may bring, in bytes, by origin: what 413s have taught in this process. */
export const learnedLimits = new Map<string, number>();
