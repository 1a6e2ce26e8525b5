import type { StoreKind } from './stores-variants.ts';

/** A server, and the protocol by which a client brings its uploads through a network that fails. */
export interface Variant {
  /** What `--variants` calls it. */
  readonly key: string;
  /** What the report calls it. */
  readonly name: string;
  readonly script: URL;
  /** After the directory. */
  readonly args: readonly string[];
  /** One of `servers/interrupted-protocols.js`. */
  readonly protocol: 'gears' | 'checkpoints' | 'parallel' | 'tus' | 'uploadx' | 'restart' | 'chunked';
  /** Files in its directory, by the names its clients know; or a store that it reads back itself. */
  readonly keeps: 'files' | 'store';
  /** It may never end, so it is only given this long. By default as long as it takes. */
  readonly limitMs?: number;
}

const script = (name: string): URL => new URL(`./servers/${name}.js`, import.meta.url);

type Durability = 'process' | 'power';

const ours = (
  store: StoreKind,
  durability: Durability,
  protocol: 'gears' | 'checkpoints' | 'parallel' = 'gears',
): Variant => {
  const more = { gears: ['', ''], checkpoints: ['-103', ', 103'], parallel: ['-parallel', ', 4 ranges'] }[
    protocol
  ];
  return {
    key: `${store}-${durability}${more[0]}`,
    name: `ours, ${store}, '${durability}'${more[1]}`,
    script: script('interrupted'),
    args: [durability, store, ...(protocol === 'checkpoints' ? ['checkpoints'] : [])],
    protocol,
    keeps: 'store',
  };
};

const oursPlain = [
  ours('fs', 'process'),
  ours('fs', 'power'),
  ours('sqlite', 'process'),
  ours('sqlite', 'power'),
];

const oursWithCheckpoints = [
  ours('fs', 'process', 'checkpoints'),
  ours('fs', 'power', 'checkpoints'),
  ours('sqlite', 'process', 'checkpoints'),
  ours('sqlite', 'power', 'checkpoints'),
];

/** The keys of those that the targets are about. */
export const plainKeys: readonly string[] = oursPlain.map(({ key }) => key);
export const checkpointKeys: readonly string[] = oursWithCheckpoints.map(({ key }) => key);

/** Those that run until thousands of cuts are made. */
export const soakKeys: readonly string[] = ['fs-process', 'fs-power'];

export const variants: readonly Variant[] = [
  ...oursPlain,
  ...oursWithCheckpoints,
  ours('fs', 'process', 'parallel'),
  { key: 'tus', name: '@tus/server', script: script('tus'), args: [], protocol: 'tus', keeps: 'files' },
  {
    key: 'uploadx',
    name: '@uploadx/core',
    script: script('uploadx'),
    args: [],
    protocol: 'uploadx',
    keeps: 'files',
  },
  {
    key: 'restart',
    name: 'restart from zero',
    script: script('by-hand'),
    args: [],
    protocol: 'restart',
    keeps: 'files',
    limitMs: 4_000,
  },
  {
    key: 'chunked',
    name: 'POSTs of 1 MiB',
    script: script('by-hand'),
    args: [],
    protocol: 'chunked',
    keeps: 'files',
  },
];

/** The report's name for a variant, by key. */
export const nameOf = (key: string): string => variants.find((variant) => variant.key === key)?.name ?? key;
