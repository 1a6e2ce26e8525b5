/** A process that stores uploads in the bucket, and how it is told to. */
export interface Variant {
  /** What `--variants` calls it. */
  readonly key: string;
  /** What the report calls it. */
  readonly name: string;
  readonly script: URL;
  readonly args: readonly string[];
  /** How its server is talked to. One without makes the bytes itself, and there is no server. */
  readonly protocol?: 'post' | 'tus';
}

/** One with a server. */
export type ServerVariant = Variant & Required<Pick<Variant, 'protocol'>>;

const MiB = 2 ** 20;

const script = (name: string): URL => new URL(`./servers/${name}.js`, import.meta.url);

const libStorage = (key: string, queueSize: number, partMiB: number): Variant => ({
  key,
  name: `@aws-sdk/lib-storage, ${queueSize} × ${partMiB} MiB`,
  script: script('s3-lib-storage'),
  args: [String(queueSize), String(partMiB * MiB)],
});

export const variants: readonly Variant[] = [
  { key: 'ours', name: 'ours', script: script('s3-ours'), args: [], protocol: 'post' },
  { key: 'tus', name: '@tus/s3-store', script: script('s3-tus'), args: [], protocol: 'tus' },
  // Its defaults, and then as many and as large parts as ours by default.
  libStorage('lib-storage', 4, 5),
  libStorage('lib-storage-8x8', 8, 8),
];

/** The report's name for a variant, by key. */
export const nameOf = (key: string): string => variants.find((variant) => variant.key === key)?.name ?? key;

/** Those that have a server. */
export const serversOf = (chosen: readonly Variant[]): ServerVariant[] =>
  chosen.flatMap((variant) =>
    variant.protocol === undefined ? [] : { ...variant, protocol: variant.protocol },
  );
