export type StoreKind = 'fs' | 'sqlite';

/** A server that takes small uploads, and how what it has stored is counted. */
export interface Variant {
  /** What `--variants` calls it. */
  readonly key: string;
  /** What the report calls it. */
  readonly name: string;
  readonly script: URL;
  /** After the directory. */
  readonly args: readonly string[];
  readonly protocol: 'post' | 'tus';
  /** A file each, a folder each, or an index that only the server can read. */
  readonly keeps: 'files' | 'folders' | 'index';
  /** Of ours: what the parts about one store measure when this variant is chosen. */
  readonly store?: StoreKind;
}

const script = (name: string): URL => new URL(`./servers/${name}.js`, import.meta.url);

const ours = (store: StoreKind, durability: 'process' | 'power'): Variant => ({
  key: `${store}-${durability}`,
  name: `ours, ${store}, '${durability}'`,
  script: script('ours'),
  args: [durability, store],
  protocol: 'post',
  keeps: store === 'fs' ? 'folders' : 'index',
  store,
});

export const variants: readonly Variant[] = [
  {
    key: 'raw',
    name: 'collect the body, fs.writeFile',
    script: script('raw'),
    args: [],
    protocol: 'post',
    keeps: 'files',
  },
  {
    key: 'tus',
    name: '@tus/server',
    script: script('tus'),
    args: [],
    protocol: 'tus',
    keeps: 'files',
  },
  ours('fs', 'process'),
  ours('fs', 'power'),
  ours('sqlite', 'process'),
  ours('sqlite', 'power'),
];

/** The report's name for a variant, by key. */
export const nameOf = (key: string): string => variants.find((variant) => variant.key === key)?.name ?? key;

/** The stores among these variants, each once. */
export const storesOf = (chosen: readonly Variant[]): StoreKind[] => [
  ...new Set(chosen.flatMap(({ store }) => store ?? [])),
];

/** The server of the parts about one store: its uploads have names, and it syncs nothing. */
export const namedServer = (
  store: StoreKind,
  directory: string,
): { readonly script: URL; readonly args: readonly string[] } => ({
  script: script('named'),
  args: [directory, 'process', store],
});
