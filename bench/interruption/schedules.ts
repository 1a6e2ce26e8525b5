import { type CutSchedule, everyBytes, randomBytes, randomTime, uncut } from '../lib/cut-schedules.ts';

const MiB = 2 ** 20;

export type ScheduleKey = 'uncut' | 'fin' | 'rst' | 'time' | 'mixed';

/** Those that cut. */
export const cuttingKeys: readonly ScheduleKey[] = ['fin', 'rst', 'time', 'mixed'];

/** How densely connections are cut. */
export interface Density {
  readonly everyBytes: number;
  /** Where time counts, the mean. */
  readonly everyMs: number;
}

export const scheduleOf = (key: ScheduleKey, { everyBytes: bytes, everyMs }: Density): CutSchedule => {
  switch (key) {
    case 'uncut':
      return uncut;
    case 'fin':
      return everyBytes(bytes, 'fin');
    case 'rst':
      return everyBytes(bytes, 'rst');
    case 'time':
      return randomTime(everyMs, 'rst', 'fin');
    case 'mixed':
      return randomBytes(bytes, 'rst', 'fin', 'stall');
  }
};

/** What the report says of it. */
export const titleOf = (key: ScheduleKey, { everyBytes: bytes, everyMs }: Density): string => {
  const size = `${bytes / MiB} MiB`;
  return {
    uncut: 'uncut',
    fin: `fin: each connection ends after ${size}`,
    rst: `rst: each connection is reset after ${size}`,
    time: `time: each is reset or ends at an age of ${everyMs} ms in the mean, exponentially distributed`,
    mixed: `mixed: each is reset, ends or stands still after ${size} in the mean, exponentially distributed`,
  }[key];
};
