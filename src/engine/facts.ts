import { UploadError } from '../errors.ts';
import type { Range } from '../intervals.ts';
import type { StoredUpload, UploadRecord } from '../store.ts';

/** What may be stated about an upload, each once and never otherwise. */
export interface UploadFacts {
  readonly length?: number | undefined;
  readonly digest?: string | undefined;
  readonly context?: string | undefined;
}

/** Whether every byte is there, so that only the handler's answer is missing. */
export const isWhole = ({ record, received }: Pick<StoredUpload, 'record' | 'received'>): boolean => {
  let end = 0;
  for (const range of received) {
    if (range.start > end) break;
    end = range.end;
  }
  return record.length !== undefined && end >= record.length;
};

/** Whether every byte is there, and no answer. */
export const isUnanswered = (stored: Pick<StoredUpload, 'record' | 'received'>): boolean =>
  (stored.record.state === 'open' || stored.record.state === 'claimed') && isWhole(stored);

/**
 * What is stored past the length counts for nothing: another process may have taken it before it could know
 * the length.
 */
export const clip = ({ record, received }: StoredUpload): readonly Range[] => {
  const { length } = record;
  if (length === undefined || (received.at(-1)?.end ?? 0) <= length) return received;
  return received
    .filter(({ start }) => start < length)
    .map(({ start, end }) => ({ start, end: Math.min(end, length) }));
};

/** What the application lays down for an upload when it is made. */
export type Terms = Pick<UploadRecord, 'metadata' | 'expiresAfterMs' | 'maxLength'>;

export const newRecord = (id: string, facts: UploadFacts, terms: Terms): UploadRecord => {
  const { metadata, expiresAfterMs, maxLength } = terms;
  const own = {
    ...(expiresAfterMs !== undefined && { expiresAfterMs }),
    ...(maxLength !== undefined && { maxLength }),
  };
  return mergeFacts({ id, createdAt: Date.now(), state: 'open', metadata, ...own, attempt: 0 }, facts);
};

/** The same object when nothing is new. Rejects with `length_changed`, `digest_conflict`. */
export const mergeFacts = (record: UploadRecord, { length, digest, context }: UploadFacts): UploadRecord => {
  if (record.length !== undefined && length !== undefined && record.length !== length) {
    throw lengthChanged(record.id, record.length, length);
  }
  if (record.digest !== undefined && digest !== undefined && record.digest !== digest) {
    throw new UploadError('digest_conflict', 'the upload was begun with another digest', {
      id: record.id,
      expected: record.digest,
      actual: digest,
    });
  }
  const isNew =
    (length !== undefined && record.length === undefined) ||
    (digest !== undefined && record.digest === undefined) ||
    (context !== undefined && record.context === undefined);
  if (!isNew) return record;
  return {
    ...record,
    ...(length === undefined ? {} : { length }),
    ...(digest === undefined ? {} : { digest }),
    ...(record.context !== undefined || context === undefined ? {} : { context }),
  };
};

export const lengthChanged = (id: string, expected: number, actual: number): UploadError =>
  new UploadError('length_changed', 'another length was stated before, or more is stored', {
    id,
    expected,
    actual,
  });
