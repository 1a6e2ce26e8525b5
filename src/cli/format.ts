export { formatBytes } from '../format-bytes.ts';

/** `0:19`, `1:02:03`; `-:--` where it can't be told. */
export const formatDuration = (durationMs: number): string => {
  if (!Number.isFinite(durationMs)) return '-:--';
  const seconds = Math.ceil(durationMs / 1000);
  const two = (number: number): string => String(number).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${two(seconds % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
};

const ages: readonly (readonly [string, number])[] = [
  ['d', 24 * 60 * 60_000],
  ['h', 60 * 60_000],
  ['min', 60_000],
];

/** The largest unit that fits: `12 s`, `5 min`, `3 h`, `9 d`. */
export const formatAge = (ageMs: number): string => {
  for (const [unit, unitMs] of ages) if (ageMs >= unitMs) return `${Math.floor(ageMs / unitMs)} ${unit}`;
  return `${Math.max(0, Math.floor(ageMs / 1000))} s`;
};

/** What others have written may be shown: it can neither steer a terminal nor turn the text around it. */
export const printable = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '');

/** How many columns of a terminal it takes, as well as can be told without a table of all characters. */
export const displayWidth = (text: string): number => {
  let width = 0;
  for (const char of text) {
    if (/\p{M}|\p{Cf}/u.test(char)) continue;
    width += /[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Hang}\p{Emoji_Presentation}\uff01-\uff60]/u.test(char)
      ? 2
      : 1;
  }
  return width;
};

/** In at most so many columns, with `…` for what does not fit. */
export const shortened = (text: string, columns: number): string => {
  if (displayWidth(text) <= columns) return text;
  let out = '';
  for (const char of text) {
    if (displayWidth(out + char) > columns - 1) break;
    out += char;
  }
  return columns < 1 ? '' : `${out}…`;
};
