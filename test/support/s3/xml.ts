import { S3Error } from './errors.ts';

/** An element written out already. */
export interface Element {
  readonly xml: string;
}

type Child = Element | string | number | boolean | undefined;

/** S3 writes a character that XML 1.0 has no way to carry as a reference to it: `encoding-type=url` is the cure. */
const escapeText = (text: string): string =>
  text.replace(/[&<>"\p{Cc}]/gu, (character) => {
    const named = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }[character];
    return named ?? `&#x${character.codePointAt(0)?.toString(16)};`;
  });

/** Without the children that are undefined. */
export const element = (name: string, ...children: readonly Child[]): Element => {
  const inner = children
    .filter((child) => child !== undefined)
    .map((child) => (typeof child === 'object' ? child.xml : escapeText(String(child))));
  return { xml: `<${name}>${inner.join('')}</${name}>` };
};

/** The element, or nothing where there is no value. */
export const optional = (name: string, value: string | number | undefined): Element | undefined =>
  value === undefined ? undefined : element(name, value);

const namespace = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';

export const xmlDocument = (root: Element): string => `<?xml version="1.0" encoding="UTF-8"?>\n${root.xml}`;

/** A result document: an error has no namespace, everything else has. */
export const resultXml = (name: string, ...children: readonly Child[]): string => {
  const { xml } = element(name, ...children);
  return xmlDocument({ xml: `<${name} ${namespace}${xml.slice(name.length + 1)}` });
};

export const errorXml = (
  { code, message, details }: Pick<S3Error, 'code' | 'message' | 'details'>,
  requestId: string,
): string =>
  xmlDocument(
    element(
      'Error',
      element('Code', code),
      element('Message', message),
      ...Object.entries(details).map(([name, value]) => element(name, value)),
      element('RequestId', requestId),
      element('HostId', 'double'),
    ),
  );

/** What a request said. */
export interface XmlNode {
  readonly name: string;
  readonly children: readonly XmlNode[];
  readonly text: string;
}

const token = /<\?xml[^>]*\?>|<\/([A-Za-z0-9]+)\s*>|<([A-Za-z0-9]+)((?:\s+[\w:]+="[^"<]*")*)\s*(\/?)>|[^<]+/y;

const entities: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};

const decodeText = (text: string): string =>
  text.replace(/&([^;&]*)(;?)/g, (_, name: string, end: string) => {
    const [, hex, decimal] = /^#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}))$/.exec(name) ?? [];
    const point = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    const decoded = point <= 0x10ffff ? String.fromCodePoint(point) : entities[name];
    if (decoded === undefined || end === '') throw new S3Error('MalformedXML');
    return decoded;
  });

/** As much of XML as S3's clients write: no comments, no CDATA, no doctype. */
export const parseXml = (text: string, root: string): XmlNode => {
  const document = { name: '', children: [] as XmlNode[], text: '' };
  const open = [document];
  token.lastIndex = 0;
  for (let position = 0; position < text.length; position = token.lastIndex) {
    const match = token.exec(text);
    if (match === null) throw new S3Error('MalformedXML');
    const [all, closing, opening, , selfClosing] = match;
    const parent = open.at(-1);
    if (parent === undefined) throw new S3Error('MalformedXML');
    if (opening !== undefined) {
      const node = { name: opening, children: [], text: '' };
      parent.children.push(node);
      if (selfClosing === '') open.push(node);
    } else if (closing !== undefined) {
      if (parent.name !== closing) throw new S3Error('MalformedXML');
      open.pop();
    } else if (!all.startsWith('<')) {
      parent.text += decodeText(all);
    }
  }
  const [only, ...others] = document.children;
  if (open.length !== 1 || only?.name !== root || others.length > 0 || document.text.trim() !== '') {
    throw new S3Error('MalformedXML');
  }
  return only;
};

/** The texts of a node's children by name; a child that is not among `names`, or is there twice, is malformed. */
export const fieldsOf = (
  { children }: XmlNode,
  names: readonly string[],
): Partial<Record<string, string>> => {
  const fields: Partial<Record<string, string>> = {};
  for (const child of children) {
    if (!names.includes(child.name) || fields[child.name] !== undefined || child.children.length > 0) {
      throw new S3Error('MalformedXML');
    }
    fields[child.name] = child.text;
  }
  return fields;
};
