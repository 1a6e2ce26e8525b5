import { crc32 } from 'node:zlib';
import type { UploadRecord } from '../../src/store.ts';

// A record on disk: a log, to which whoever wants to replace version N appends an entry for version N + 1. The
// first of those counts, whoever else appended one too; so appending is the compare-and-set. An entry is a line
// of text with a line break on either side, so that one that was torn spoils neither the one before nor the next:
//
//     \n record/1 CRC32 VERSION NAME {"at": …, "set": {…}, "drop": […]} \n
//
// CRC32   of all behind it, in hexadecimal
// NAME    no other entry has it: it begins with who made it
// at      when it was made, in milliseconds since the epoch
// set     the fields that differ from the version before; in the first entry all
// drop    the names of those that went
//
// A log may begin at any version: what came before was cut off. Lines that are no whole entry mean nothing.

/** One version of a record. */
export interface RecordVersion {
  readonly record: UploadRecord;
  readonly version: number;
  readonly at: number;
  readonly name: string;
}

interface Entry {
  readonly version: number;
  readonly name: string;
  readonly at: number;
  readonly set: Partial<UploadRecord>;
  readonly drop?: readonly string[];
}

/** The bytes to append for `next`, after `previous` or, as the first entry of a log, after nothing. */
export const encodeEntry = (next: RecordVersion, previous?: UploadRecord): Buffer => {
  const { record, version, name, at } = next;
  const json = JSON.stringify({ at, ...difference(previous, record) });
  const text = `${version} ${name} ${json}`;
  return Buffer.from(`\nrecord/1 ${crc32(text).toString(16)} ${text}\n`);
};

export interface Replayed {
  /** The version in force; `unreadable` when an entry is missing that others are built on. */
  readonly current: RecordVersion | 'unreadable' | undefined;
  /** The names of all versions that were in force on the way. */
  readonly names: readonly string[];
  /** Where the last whole entry ends, from the start of the bytes. */
  readonly end: number;
}

/** Goes on from `current` through more of its log. */
export const replay = (bytes: Buffer, current?: RecordVersion): Replayed => {
  const names: string[] = [];
  let last = current;
  let end = 0;
  for (let at = 0; ; ) {
    const stop = bytes.indexOf(10, at);
    if (stop === -1) return { current: last, names, end };
    const entry = decodeEntry(bytes.toString('utf8', at, stop));
    at = stop + 1;
    if (entry === undefined) continue;
    end = at;
    const wanted = last === undefined ? entry.version : last.version + 1;
    const isBuiltOnNothing = last === undefined && entry.set.id === undefined;
    if (entry.version > wanted || isBuiltOnNothing) return { current: 'unreadable', names, end };
    if (entry.version < wanted) continue; // too late
    last = apply(entry, last?.record);
    names.push(entry.name);
  }
};

/** Undefined when the line is not a whole entry. */
const decodeEntry = (line: string): Entry | undefined => {
  const match = /^record\/1 ([0-9a-f]{1,8}) (([1-9]\d{0,14}) (\S+) (\{.*\}))$/s.exec(line);
  if (match === null) return undefined;
  const [, sum, text = '', version, name = '', json = ''] = match;
  if (crc32(text).toString(16) !== sum) return undefined;
  return { version: Number(version), name, ...(JSON.parse(json) as Pick<Entry, 'at' | 'set' | 'drop'>) };
};

const apply = (
  { version, name, at, set, drop = [] }: Entry,
  previous: UploadRecord | undefined,
): RecordVersion => {
  const fields: Record<string, unknown> = { ...previous, ...set };
  for (const field of drop) delete fields[field];
  return { record: fields as unknown as UploadRecord, version, name, at };
};

const difference = (
  previous: UploadRecord | undefined,
  record: UploadRecord,
): Pick<Entry, 'set' | 'drop'> => {
  if (previous === undefined) return { set: record };
  const before = new Map<string, unknown>(Object.entries(previous));
  const set: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(record)) {
    if (value === undefined) continue;
    if (!isSame(value, before.get(field))) set[field] = value;
    before.delete(field);
  }
  const drop = [...before.keys()];
  return drop.length === 0 ? { set } : { set, drop };
};

const isSame = (a: unknown, b: unknown): boolean =>
  a === b || (typeof a === 'object' && JSON.stringify(a) === JSON.stringify(b));
