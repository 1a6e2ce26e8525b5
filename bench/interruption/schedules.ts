import { type CutSchedule, everyBytes, randomBytes, randomTime, uncut } from '../lib/cut-schedules.ts';
import { Line } from '../lib/line.ts';

const MiB = 2 ** 20;

export type ScheduleKey = 'uncut' | 'fin' | 'rst' | 'time' | 'mixed' | 'line-uncut' | 'line';

/** Those that cut. */
export const cuttingKeys: readonly ScheduleKey[] = ['fin', 'rst', 'time', 'mixed', 'line'];

/** The one to hold it against: the same without cuts. */
export const uncutOf = (key: ScheduleKey): ScheduleKey => (key === 'line' ? 'line-uncut' : 'uncut');

/** Those to measure for these, each before what is held against it. */
export const withUncut = (cutting: readonly ScheduleKey[]): ScheduleKey[] =>
  [...new Set(cutting.map(uncutOf))].flatMap((base) => [
    base,
    ...cutting.filter((key) => uncutOf(key) === base),
  ]);

/** How densely connections are cut. */
export interface Density {
  readonly everyBytes: number;
  /** Where time counts, the mean. */
  readonly everyMs: number;
  /** Of `line` and `line-uncut`: what all connections share. */
  readonly lineBytesPerSecond: number;
}

export const scheduleOf = (key: ScheduleKey, { everyBytes: bytes, everyMs }: Density): CutSchedule => {
  switch (key) {
    case 'uncut':
    case 'line-uncut':
      return uncut;
    case 'fin':
      return everyBytes(bytes, 'fin');
    case 'rst':
      return everyBytes(bytes, 'rst');
    case 'time':
      return randomTime(everyMs, 'rst', 'fin');
    case 'mixed':
      return randomBytes(bytes, 'rst', 'fin', 'stall');
    case 'line':
      return everyBytes(bytes, 'rst', 'fin');
  }
};

/** The line that a trial under it goes over, if it is not the machine's own. */
export const lineOf = (key: ScheduleKey, { lineBytesPerSecond }: Density): Line | undefined =>
  key === 'line' || key === 'line-uncut' ? new Line(lineBytesPerSecond) : undefined;

/** What the report says of it. */
export const titleOf = (key: ScheduleKey, density: Density): string => {
  const size = `${density.everyBytes / MiB} MiB`;
  const line = `a line of ${((density.lineBytesPerSecond * 8) / 1e6).toFixed(0)} Mbit/s`;
  return {
    uncut: 'uncut',
    fin: `fin: each connection ends after ${size}`,
    rst: `rst: each connection is reset after ${size}`,
    time: `time: each is reset or ends at an age of ${density.everyMs} ms in the mean, exponentially distributed`,
    mixed: `mixed: each is reset, ends or stands still after ${size} in the mean, exponentially distributed`,
    'line-uncut': `uncut, over ${line}`,
    line: `line: each is reset or ends after ${size}, over ${line}`,
  }[key];
};
