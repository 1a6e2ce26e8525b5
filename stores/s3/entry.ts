import type { UploadRecord } from '../../src/store.ts';
import type { PartPlan } from './plan.ts';

// One version of a record as an object: a line of JSON, and behind it the content, if that came with the upload. The
// key says which version it is, and there is one object of a key: to make it is the compare-and-set.

export interface Entry {
  readonly record: UploadRecord;
  /** When it was made, in milliseconds since the epoch. */
  readonly at: number;
  /** No other entry has it. */
  readonly by: string;
  /** That of the first version, which no other upload has. */
  readonly life: string;
  /** The multipart upload the content goes into, and how it is cut into parts. */
  readonly multipart?: { readonly uploadId: string; readonly plan: PartPlan };
  /** Where in the first version's object the content begins that came with the upload. */
  readonly inline?: number;
}

const lineBreak = 10;

/** `inline` of the entry is that of what is returned. */
export const encodeEntry = (
  entry: Omit<Entry, 'inline'>,
  content: readonly Uint8Array[] | undefined,
): Uint8Array => {
  if (content === undefined) return Buffer.from(`${JSON.stringify(entry)}\n`);
  // The offset is part of the text whose length it is.
  const sizeWith = (inline: number): number => Buffer.byteLength(JSON.stringify({ ...entry, inline })) + 1;
  let inline = sizeWith(0);
  while (sizeWith(inline) !== inline) inline = sizeWith(inline);
  return Buffer.concat([Buffer.from(`${JSON.stringify({ ...entry, inline })}\n`), ...content]);
};

/** Undefined while the line has not come to its end. */
export const decodeEntry = (bytes: Uint8Array): Entry | undefined => {
  const end = bytes.indexOf(lineBreak);
  if (end === -1) return undefined;
  return JSON.parse(Buffer.from(bytes.subarray(0, end)).toString()) as Entry;
};
