/** An entity tag (RFC 9110 section 8.8.3), without its quotes. */
export interface EntityTag {
  readonly weak: boolean;
  readonly value: string;
}

/**
 * `If-Match: "a", W/"b"` as a list; `*` as 'any'; undefined when it cannot be read (RFC 9110 section 13.1.1).
 */
export const parseEntityTags = (field: string): readonly EntityTag[] | 'any' | undefined => {
  const value = field.trim();
  if (value === '*') return 'any';
  const tags: EntityTag[] = [];
  const item = /[ \t]*(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(,|$)/y;
  while (item.lastIndex < value.length) {
    const match = item.exec(value);
    if (match === null) return undefined;
    tags.push({ weak: match[1] !== undefined, value: match[2] ?? '' });
  }
  return tags.length === 0 ? undefined : tags;
};

export const printEntityTag = ({ weak, value }: EntityTag): string => `${weak ? 'W/' : ''}"${value}"`;
