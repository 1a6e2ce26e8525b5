/** An entity tag (RFC 9110 section 8.8.3), without its quotes. */
export interface EntityTag {
  readonly weak: boolean;
  readonly value: string;
}

/** `etagc` of the grammar. */
const characters = '[\\x21\\x23-\\x7e\\x80-\\xff]*';
const single = new RegExp(`^(W/)?"(${characters})"$`);

/** What the merging of fields leaves behind is a few; more is no mistake any more (section 5.6.1.2). */
const maxEmptyElements = 16;

/**
 * `If-Match: "a", W/"b"` as a list; `*` as 'any'; undefined when it cannot be read (RFC 9110 section 13.1.1). Up to 16 empty
 * elements of a list count for nothing; a list of nothing else has no member, and cannot be read.
 */
export const parseEntityTags = (field: string): readonly EntityTag[] | 'any' | undefined => {
  const value = field.trim();
  if (value === '*') return 'any';
  const tags: EntityTag[] = [];
  let emptyElements = 0;
  const item = new RegExp(`[ \\t]*(?:(W/)?"(${characters})"[ \\t]*)?(?:,|$)`, 'y');
  while (item.lastIndex < value.length) {
    const match = item.exec(value);
    if (match === null) return undefined;
    const [, mark, text] = match;
    if (text !== undefined) tags.push({ weak: mark !== undefined, value: text });
    else if (++emptyElements > maxEmptyElements) return undefined;
  }
  return tags.length === 0 ? undefined : tags;
};

/** The one tag of a field that is no list: `ETag`, `If-Range`. Undefined when it cannot be read. */
export const parseEntityTag = (field: string): EntityTag | undefined => {
  const [, mark, value] = single.exec(field.trim()) ?? [];
  return value === undefined ? undefined : { weak: mark !== undefined, value };
};

export const printEntityTag = ({ weak, value }: EntityTag): string => `${weak ? 'W/' : ''}"${value}"`;
