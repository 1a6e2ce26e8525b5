import { UsageError } from './usage-error.ts';

// Readers of option values: each throws a `UsageError` that names the option.

export const oneOf = <T extends string>(name: string, value: string, allowed: readonly T[]): T => {
  const found = allowed.find((item) => item === value);
  if (found === undefined) throw new UsageError(`--${name} must be one of: ${allowed.join(', ')}`);
  return found;
};

export const wholeNumber = (name: string, value: string, least: number, most: number): number => {
  const number = Number(value);
  if (!/^\d{1,15}$/.test(value) || number < least || number > most)
    throw new UsageError(`--${name} must be ${least} to ${most}`);
  return number;
};

const units: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** Bytes: `1000`, `64K`, `100M`, `2G`. */
export const byteCount = (name: string, value: string): number => {
  const [, digits = '', unit = ''] = /^(\d{1,12})([KMG]?)$/i.exec(value) ?? [];
  const bytes = Number(digits) * (units[unit.toUpperCase()] ?? 1);
  if (bytes < 1) throw new UsageError(`--${name} must be a number of bytes, as in 1000000, 64K or 100M`);
  return bytes;
};

/** `Name: value`, each. */
export const headerFields = (fields: readonly string[]): Record<string, string> => {
  const headers: Record<string, string> = {};
  for (const field of fields) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/.exec(field) ?? [];
    if (name === undefined || value === undefined) throw new UsageError("--header must be 'Name: value'");
    headers[name.toLowerCase()] = value;
  }
  return headers;
};

/** An address of a server, which a person may well have mistyped. */
export const httpUrl = (text: string): URL => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new UsageError(`not a URL: ${text} (it has to begin with http:// or https://)`);
  return url;
};
