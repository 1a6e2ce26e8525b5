// HTTP-date (RFC 9110 section 5.6.7): whole seconds, always GMT. A recipient takes all three forms; a sender writes the
// first.
//
//     Sun, 06 Nov 1994 08:49:37 GMT     IMF-fixdate
//     Sunday, 06-Nov-94 08:49:37 GMT    RFC 850
//     Sun Nov  6 08:49:37 1994          asctime

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const month = `(${months.join('|')})`;
const time = '(\\d\\d):(\\d\\d):(\\d\\d)';
const short = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)';
const long = '(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day';
const fixdate = new RegExp(`^${short}, (\\d\\d) ${month} (\\d{4}) ${time} GMT$`);
const rfc850 = new RegExp(`^${long}, (\\d\\d)-${month}-(\\d\\d) ${time} GMT$`);
const asctime = new RegExp(`^${short} ${month} ([ \\d]\\d) ${time} (\\d{4})$`);

/** The last millisecond a four-digit year can name. */
const last = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** Whether `ms` can be written as an HTTP-date at all. */
export const isHttpDate = (ms: number): boolean => ms >= 0 && ms <= last;

/** Milliseconds since the epoch; undefined for what is no date. `now` tells which century a two-digit year is of. */
export const parseHttpDate = (text: string, now = Date.now()): number | undefined => {
  const one = fixdate.exec(text);
  if (one !== null) return compose(one[3], one[2], one[1], one.slice(4));
  const two = rfc850.exec(text);
  if (two !== null) return compose(fullYear(Number(two[3]), now), two[2], two[1], two.slice(4));
  const three = asctime.exec(text);
  return three === null ? undefined : compose(three[6], three[1], three[2], three.slice(3, 6));
};

/** Drops what is below a second. */
export const printHttpDate = (ms: number): string => new Date(ms).toUTCString();

/** A year that seems to be more than 50 years ahead is the most recent past one with these digits. */
const fullYear = (digits: number, now: number): number => {
  const current = new Date(now).getUTCFullYear();
  const year = current - (current % 100) + digits;
  return year > current + 50 ? year - 100 : year;
};

const compose = (
  year: string | number | undefined,
  monthName: string | undefined,
  day: string | undefined,
  clock: readonly string[],
): number | undefined => {
  const [hours = 0, minutes = 0, seconds = 0] = clock.map(Number);
  const date = new Date(0);
  date.setUTCFullYear(Number(year), months.indexOf(monthName ?? ''), Number(day));
  // A 31st of February would have become a day in March; the leap second of the grammar becomes the next minute.
  if (date.getUTCDate() !== Number(day) || hours > 23 || minutes > 59 || seconds > 60) return undefined;
  return date.setUTCHours(hours, minutes, seconds);
};
