/** A server to measure, and how it is talked to. */
export interface Variant {
  /** What `--variants` calls it. */
  readonly key: string;
  /** What the report calls it. */
  readonly name: string;
  readonly script: URL;
  readonly args: readonly string[];
  readonly protocol: 'post' | 'tus';
  /** Whether the whole upload must be on disk once it is answered. */
  readonly stores: boolean;
}

const script = (name: string): URL => new URL(`./servers/${name}.js`, import.meta.url);

export const variants: readonly Variant[] = [
  { key: 'sink', name: 'sink', script: script('sink'), args: [], protocol: 'post', stores: false },
  {
    key: 'pipeline',
    name: 'pipeline(req, createWriteStream)',
    script: script('pipeline'),
    args: [],
    protocol: 'post',
    stores: true,
  },
  { key: 'tus', name: '@tus/server', script: script('tus'), args: [], protocol: 'tus', stores: true },
  {
    key: 'process',
    name: "ours, 'process'",
    script: script('ours'),
    args: ['process'],
    protocol: 'post',
    stores: true,
  },
  {
    key: 'power',
    name: "ours, 'power'",
    script: script('ours'),
    args: ['power'],
    protocol: 'post',
    stores: true,
  },
];

/** The report's name for a variant, by key. */
export const nameOf = (key: string): string => variants.find((variant) => variant.key === key)?.name ?? key;
