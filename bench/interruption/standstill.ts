/** `[from, to]`, in milliseconds of one clock. */
export type Span = readonly [from: number, to: number];

/**
 * The milliseconds during which everybody who was at work stood still. While one of them moved the machine was busy,
 * so that time can't be taken off for those who did not.
 */
export const standstillMs = (activities: readonly Span[], stalls: readonly Span[]): number => {
  const events = [
    ...activities.flatMap(([from, to]) => [
      { at: from, active: 1, still: 0 },
      { at: to, active: -1, still: 0 },
    ]),
    ...stalls.flatMap(([from, to]) => [
      { at: from, active: 0, still: 1 },
      { at: to, active: 0, still: -1 },
    ]),
  ].sort((a, b) => a.at - b.at);
  let total = 0;
  let active = 0;
  let still = 0;
  let since = 0;
  for (const event of events) {
    if (active > 0 && still === active) total += event.at - since;
    active += event.active;
    still += event.still;
    since = event.at;
  }
  return total;
};
