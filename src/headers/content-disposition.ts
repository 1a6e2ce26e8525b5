/** What a client is to do with a content (RFC 6266): show it, or save it under a name. */
export interface ContentDisposition {
  readonly type: 'attachment' | 'inline';
  /** Any text; a lone surrogate becomes U+FFFD. A path is not made safe here: recipients take its last segment. */
  readonly filename?: string;
}

/**
 * A name that every recipient reads alike is a quoted string and no more. Any other comes twice: in UTF-8 (`filename*`, RFC
 * 8187), and before it with `_` for what a recipient could misread, for those who know only `filename`. A percent sign is
 * among that: some decode it there (RFC 6266 appendix D).
 */
export const printContentDisposition = ({ type, filename }: ContentDisposition): string => {
  if (filename === undefined) return type;
  const plain = filename.toWellFormed().replace(/[^\x20-\x7e]|["\\%]/gu, '_');
  const quoted = `${type}; filename="${plain}"`;
  return plain === filename ? quoted : `${quoted}; filename*=UTF-8''${encode(filename.toWellFormed())}`;
};

/** Undefined when it cannot be read; the extended name wins. What it does not know it steps over. */
export const parseContentDisposition = (field: string): ContentDisposition | undefined => {
  const head = /^[ \t]*(attachment|inline)[ \t]*(?=;|$)/i.exec(field);
  if (head === null) return undefined;
  const type = head[1]?.toLowerCase() === 'inline' ? 'inline' : 'attachment';
  const parameter = /;[ \t]*([!#$%&'*+.^_`|~\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))[ \t]*/y;
  parameter.lastIndex = head[0].length;
  const found = new Map<string, string>();
  while (parameter.lastIndex < field.length) {
    const match = parameter.exec(field);
    if (match === null) return undefined;
    const [, name = '', quoted, token = ''] = match;
    found.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? token);
  }
  const extended = found.get('filename*');
  const filename = (extended === undefined ? undefined : decode(extended)) ?? found.get('filename');
  return filename === undefined ? { type } : { type, filename };
};

/** What `encodeURIComponent` leaves as it is and RFC 8187 does not (attr-char). */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

const decode = (value: string): string | undefined => {
  const encoded = /^UTF-8'[^']*'(.*)$/i.exec(value)?.[1];
  try {
    return encoded === undefined ? undefined : decodeURIComponent(encoded);
  } catch {
    return undefined; // the plain name is left
  }
};
