import type { Range } from '../intervals.ts';

/**
 * `Range` as a 308 or 103 carries it: what the server has stored. The proposal's examples write it bare
 * (`0-42`); Google's clients insist on the unit (`bytes=0-42`).
 */
export type RangeForm = 'bytes' | 'bare';

/**
 * Ranges are half-open here and inclusive on the wire. Undefined when nothing is stored: then there is no
 * header.
 */
export const printRange = (ranges: readonly Range[], form: RangeForm): string | undefined => {
  if (ranges.length === 0) return undefined;
  const list = ranges.map(({ start, end }) => `${start}-${end - 1}`).join(',');
  return form === 'bytes' ? `bytes=${list}` : list;
};

/**
 * What a client reads from a 308: with `bytes=`, `bytes ` or bare. The last position is mandatory, so a range
 * without it makes the whole value unreadable (undefined), as does one that ends before it starts.
 */
export const parseRange = (value: string): Range[] | undefined => {
  const list = value.trim().replace(/^bytes[ \t]*[ \t=][ \t]*/i, '');
  const ranges: Range[] = [];
  for (const item of list.split(',')) {
    const match = /^\s*(\d{1,16})-(\d{1,16})\s*$/.exec(item);
    if (match === null) return undefined;
    const start = Number(match[1]);
    const end = Number(match[2]) + 1;
    if (!Number.isSafeInteger(end) || end <= start) return undefined;
    ranges.push({ start, end });
  }
  return ranges;
};
