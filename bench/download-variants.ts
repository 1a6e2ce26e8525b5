/** A file server to measure. */
export interface Variant {
  /** What `--variants` calls it. */
  readonly key: string;
  /** What the report calls it. */
  readonly name: string;
  readonly script: URL;
}

const script = (name: string): URL => new URL(`./servers/download-${name}.js`, import.meta.url);

export const variants: readonly Variant[] = [
  { key: 'send', name: 'send', script: script('send') },
  { key: 'fastify', name: '@fastify/send', script: script('fastify-send') },
  { key: 'ours', name: 'ours', script: script('ours') },
];

/** The report's name for a variant, by key. */
export const nameOf = (key: string): string => variants.find((variant) => variant.key === key)?.name ?? key;
