import { UploadError } from '../../src/errors.ts';
import type { UploadRecord } from '../../src/store.ts';

// Everything that changes the index. A change is a list of steps, carried out in one transaction: the first
// says, by the rows it touched, whether there is anything to change, and if not the others are left out.

export type Value = string | number | bigint | Uint8Array | null;

export interface Step {
  /** Its index in `statements`. */
  readonly statement: number;
  readonly values: readonly Value[];
}

export type Change = readonly Step[];

const keyOf = '(SELECT key FROM uploads WHERE id = ?)';

const texts = {
  insertUpload: `
    INSERT INTO uploads (id, state, created_at, active_at, length, size, whole, attempt, claim_owner,
      claim_expires_at, refused, moved, removed_at, expires_after_ms, max_length, digest, metadata, context, file,
      response)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO NOTHING`,
  // Of the upload just inserted.
  insertBody: `INSERT INTO bodies (upload, bytes) VALUES (last_insert_rowid(), ?)`,
  updateUpload: `
    UPDATE uploads SET version = version + 1, state = ?, created_at = ?, active_at = ?, length = ?, attempt = ?,
      claim_owner = ?, claim_expires_at = ?, refused = ?, moved = ?, removed_at = ?, expires_after_ms = ?,
      max_length = ?, digest = ?, metadata = ?, context = ?, response = ?
    WHERE id = ? AND version = ?`,
  touchUnfinished: `
    UPDATE uploads SET active_at = ? WHERE id = ? AND file = ? AND state IN ('open', 'claimed')`,
  // The union of the new range with all it touches: the last that begins at or before it, if that reaches so
  // far, and those that begin inside it or at its end.
  mergeRange: `
    INSERT INTO ranges (upload, start, end)
    SELECT key, min(new.start, coalesce(min(old.start), new.start)), max(new.end, coalesce(max(old.end), new.end))
    FROM (SELECT key, ? AS start, ? AS end FROM uploads WHERE id = ?) AS new
    LEFT JOIN ranges AS old ON old.upload = key AND old.end >= new.start AND old.start <= new.end
      AND old.start >= coalesce((SELECT max(start) FROM ranges WHERE upload = key AND start <= new.start), 0)
    GROUP BY key
    ON CONFLICT (upload, start) DO UPDATE SET end = excluded.end`,
  removeMerged: `
    DELETE FROM ranges WHERE upload = ${keyOf} AND start <= ?
      AND start > (SELECT max(start) FROM ranges WHERE upload = ${keyOf} AND start <= ?)`,
  forgetContent: `UPDATE uploads SET file = NULL, whole = 0, size = 0 WHERE id = ?`,
  deleteBody: `DELETE FROM bodies WHERE upload = ${keyOf}`,
  deleteRanges: `DELETE FROM ranges WHERE upload = ${keyOf}`,
  deleteUpload: `DELETE FROM uploads WHERE id = ?`,
  insertLitter: `INSERT INTO litter (file, owner, at) VALUES (?, ?, ?)`,
  deleteLitter: `DELETE FROM litter WHERE file = ?`,
} as const;

/** Prepared once by the thread that runs them. */
export const statements: readonly string[] = Object.values(texts);

const names = Object.keys(texts);

const index = Object.fromEntries(names.map((name, n) => [name, n])) as Record<keyof typeof texts, number>;

/** Numbers are bound as doubles, and SQLite takes those for integers only below this. */
const mostExact = 2 ** 51;

const exact = (value: Value): Value =>
  typeof value === 'number' && value >= mostExact ? BigInt(value) : value;

const step = (name: keyof typeof texts, ...values: Value[]): Step => ({
  statement: index[name],
  values: values.map(exact),
});

/** SQLite keeps UTF-8, in which half of a surrogate pair is nothing: refused rather than changed. */
const text = (value: string | undefined): string | null => {
  if (value !== undefined && !value.isWellFormed()) {
    throw new UploadError('invalid_argument', 'a text in a record is not well-formed Unicode');
  }
  return value ?? null;
};

const flag = (value: boolean | undefined): number | null => (value === undefined ? null : Number(value));

/** Where the content of a new upload is. */
export interface Place {
  /** Below content/; undefined for one in the index itself. */
  readonly file?: string;
  /** The content in the index, unless it is empty: SQLite takes no bytes for no value. */
  readonly body?: Uint8Array;
  /** How many bytes came with the upload; undefined when none did, and they come one by one. */
  readonly size?: number;
}

/** From `attempt` to `context`, in the order in which the statements name them. */
const factsOf = (record: UploadRecord): readonly Value[] => [
  record.attempt,
  text(record.claim?.owner),
  record.claim?.expiresAt ?? null,
  flag(record.refused),
  flag(record.moved),
  record.removedAt ?? null,
  record.expiresAfterMs ?? null,
  record.maxLength ?? null,
  text(record.digest),
  JSON.stringify(record.metadata),
  text(record.context),
];

/** Touches no row when the id is taken. */
export const createUpload = (record: UploadRecord, { file, body, size }: Place, now: number): Change => [
  step(
    'insertUpload',
    record.id,
    record.state,
    record.createdAt,
    now,
    record.length ?? null,
    size ?? 0,
    Number(size !== undefined),
    ...factsOf(record),
    file ?? null,
    text(record.response),
  ),
  ...(body === undefined ? [] : [step('insertBody', body)]),
  ...(file === undefined || size === undefined ? [] : [step('deleteLitter', file)]),
];

/** Touches no row when the version in force is another. */
export const updateUpload = (version: number, record: UploadRecord, now: number): Change => [
  step(
    'updateUpload',
    record.state,
    record.createdAt,
    now,
    record.length ?? null,
    ...factsOf(record),
    text(record.response),
    record.id,
    version,
  ),
];

/**
 * Touches no row when there is no such upload that could still receive anything; the file tells it from another
 * that has come to the same id since.
 */
export const addRanges = (
  { id, file }: { readonly id: string; readonly file: string },
  ranges: readonly { readonly start: number; readonly end: number }[],
  now: number,
): Change => [
  step('touchUnfinished', now, id, file),
  ...ranges.flatMap(({ start, end }) => [
    step('mergeRange', start, end, id),
    step('removeMerged', id, end, id, start),
  ]),
];

export const discardContent = (id: string): Change => [
  step('forgetContent', id),
  step('deleteBody', id),
  step('deleteRanges', id),
  step('forgetContent', id), // the ranges that went have been subtracted from the size
];

export const purgeUpload = (id: string): Change => [step('deleteUpload', id)];

/** A file that is about to be written, and is nobody's if its writer dies. */
export const announceFile = (file: string, owner: string, now: number): Change => [
  step('insertLitter', file, owner, now),
];

/** A file that is gone. */
export const forgetFile = (file: string): Change => [step('deleteLitter', file)];
