import type { ServerResponse } from 'node:http';

/** Sets what `writeHead` was given, without writing the head. */
export const setHead = (res: ServerResponse, status: number, rest: readonly unknown[]): void => {
  const [reason, headers] = headParts(rest);
  res.statusCode = status;
  if (reason !== undefined) res.statusMessage = reason;
  const seen = new Set<string>();
  for (const [name, value] of headerPairs(headers)) {
    if (seen.has(name.toLowerCase())) res.appendHeader(name, value);
    else res.setHeader(name, value);
    seen.add(name.toLowerCase());
  }
};

/** The reason, which may be left out, and the fields that `writeHead` takes behind the status. */
export const headParts = (rest: readonly unknown[]): [reason: string | undefined, headers: unknown] =>
  typeof rest[0] === 'string' ? [rest[0], rest[1]] : [undefined, rest[0] ?? rest[1]];

/** The three forms `writeHead` takes: an object, a flat list, a list of pairs. */
const headerPairs = (headers: unknown): [string, string | string[]][] => {
  if (headers === undefined || headers === null) return [];
  const text = (value: unknown): string | string[] =>
    Array.isArray(value) ? value.map(String) : String(value);
  if (!Array.isArray(headers)) {
    return Object.entries(headers)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, text(value)]);
  }
  if (Array.isArray(headers[0])) return headers.map(([name, value]) => [String(name), text(value)]);
  const pairs: [string, string | string[]][] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) pairs.push([String(headers[i]), text(headers[i + 1])]);
  return pairs;
};
