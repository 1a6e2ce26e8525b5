import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { UploadRecord } from '../../src/store.ts';

// A record on disk, one file for each version of it: a line of text, then JSON.
//
//     resumable-http record 1 LENGTH CRC32 \n      LENGTH of the JSON in bytes, CRC-32 in hexadecimal
//     {"record": …, "at": …, "lineage": […]}
//
// `at` is when this version was made, in milliseconds since the epoch. `lineage` names this version and those
// it came from, the newest last, by random text: so it can be told whether a version that is gone was ever in
// force.
//
// Bytes after LENGTH are room reserved for a longer record and mean nothing.

export interface RecordFile {
  readonly record: UploadRecord;
  readonly at: number;
  readonly lineage: readonly string[];
}

/** Enough for whoever was away during so many versions; a longer lineage loses its oldest names. */
const lineageLength = 64;

/** The next version after `previous`, or a first one. Its name begins with who made it. */
export const nextRecord = (
  record: UploadRecord,
  previous: RecordFile | undefined,
  author: string,
): RecordFile => ({
  record,
  at: Date.now(),
  lineage: [
    ...(previous?.lineage ?? []).slice(1 - lineageLength),
    author + randomBytes(9).toString('base64url'),
  ],
});

/** Whether `version` is `later` itself or one it came from. */
export const isAncestor = (version: RecordFile, later: RecordFile): boolean => {
  const name = version.lineage.at(-1);
  return name !== undefined && later.lineage.includes(name);
};

export const encodeRecord = (file: RecordFile): Buffer => {
  const json = Buffer.from(JSON.stringify(file));
  const line = `resumable-http record 1 ${json.byteLength} ${crc32(json).toString(16)}\n`;
  return Buffer.concat([Buffer.from(line, 'latin1'), json]);
};

/** Undefined when the file is not whole. */
export const decodeRecord = (bytes: Buffer): RecordFile | undefined => {
  const newline = bytes.indexOf(10);
  const line = bytes.toString('latin1', 0, Math.max(newline, 0));
  const match = /^resumable-http record 1 (\d{1,15}) ([0-9a-f]{1,8})$/.exec(line);
  if (match === null) return undefined;
  const json = bytes.subarray(newline + 1, newline + 1 + Number(match[1]));
  if (json.byteLength !== Number(match[1]) || crc32(json).toString(16) !== match[2]) return undefined;
  return JSON.parse(json.toString('utf8')) as RecordFile;
};
