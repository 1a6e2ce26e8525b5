import { type EntityTag, parseEntityTag, parseEntityTags } from './etag.ts';
import { parseHttpDate } from './http-date.ts';

/** Fields of a request, by lower-case name, as `node:http` gives them. */
export type RequestFields = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What tells one version of a content from another. */
export interface Validators {
  readonly etag: EntityTag | undefined;
  /** Milliseconds since the epoch, of a whole second. */
  readonly lastModified: number | undefined;
}

export type Verdict = 'proceed' | 'not_modified' | 'failed';

/** The field's value; several of one name are one list (RFC 9110 section 5.3). */
export const fieldOf = (fields: RequestFields, name: string): string | undefined => {
  const value = fields[name];
  return value === undefined || typeof value === 'string' ? value : value.join(', ');
};

/**
 * The preconditions of a GET or HEAD for a content that exists, in the order of RFC 9110 section 13.2.2, steps 1 to 4.
 * Step 5 is `ifRangeHolds`.
 */
export const judgePreconditions = (fields: RequestFields, validators: Validators): Verdict => {
  const { etag, lastModified } = validators;
  const ifMatch = fieldOf(fields, 'if-match');
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, etag, isSameStrong)) return 'failed';
  } else {
    const unmodifiedSince = dateOf(fields, 'if-unmodified-since');
    if (unmodifiedSince !== undefined && lastModified !== undefined && lastModified > unmodifiedSince)
      return 'failed';
  }
  const ifNoneMatch = fieldOf(fields, 'if-none-match');
  if (ifNoneMatch !== undefined) {
    return matches(ifNoneMatch, etag, isSameWeak) ? 'not_modified' : 'proceed';
  }
  const modifiedSince = dateOf(fields, 'if-modified-since');
  const isOld = modifiedSince !== undefined && lastModified !== undefined && lastModified <= modifiedSince;
  return isOld ? 'not_modified' : 'proceed';
};

/**
 * Whether a Range may be served to a client that has a part already (section 13.1.5): only if its part is certainly of
 * this very version, so a weak validator never holds. A date is weak in the second it names, for the content could
 * change in that second once more (section 8.8.2.2).
 */
export const ifRangeHolds = (field: string, { etag, lastModified }: Validators, now: number): boolean => {
  const value = field.trim();
  if (value.startsWith('"') || value.startsWith('W/')) {
    const tag = parseEntityTag(value);
    return tag !== undefined && etag !== undefined && isSameStrong(tag, etag);
  }
  const date = parseHttpDate(value, now);
  return date !== undefined && date === lastModified && date + 1000 <= now;
};

/** RFC 9110 section 8.8.3.2. */
const isSameStrong = (a: EntityTag, b: EntityTag): boolean => !a.weak && !b.weak && a.value === b.value;
const isSameWeak = (a: EntityTag, b: EntityTag): boolean => a.value === b.value;

/** A list that cannot be read names nothing. */
const matches = (
  field: string,
  etag: EntityTag | undefined,
  isSame: (a: EntityTag, b: EntityTag) => boolean,
): boolean => {
  const tags = parseEntityTags(field);
  if (tags === 'any') return true;
  if (etag === undefined || tags === undefined) return false;
  return tags.some((tag) => isSame(tag, etag));
};

/** A date that cannot be read is as good as none (sections 13.1.3 and 13.1.4). */
const dateOf = (fields: RequestFields, name: string): number | undefined => {
  const value = fieldOf(fields, name);
  return value === undefined ? undefined : parseHttpDate(value.trim());
};
