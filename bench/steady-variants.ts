import { nameOf, variants as storesVariants, type Variant } from './stores-variants.ts';

export { nameOf, type StoreKind, storesOf, type Variant } from './stores-variants.ts';

const others: readonly Variant[] = [
  {
    key: 'pipeline',
    name: 'pipeline(req, createWriteStream)',
    script: new URL('./servers/pipeline.js', import.meta.url),
    args: [],
    protocol: 'post',
    keeps: 'files',
  },
];

/** What one would write by hand for bodies of any size, and those of the stores. */
export const variants: readonly Variant[] = [
  ...others,
  ...storesVariants.filter(({ key }) => key !== 'raw' && key !== 'sqlite-power'),
];

/** The server of ours whose URLs name their uploads; of others the only one they have. */
export const namedServerOf = ({ script, args, store }: Variant): Pick<Variant, 'script' | 'args'> => ({
  script: store === undefined ? script : new URL('./servers/named.js', import.meta.url),
  args,
});

/** Those of ours. */
export const oursOf = (chosen: readonly Variant[]): Variant[] =>
  chosen.filter(({ store }) => store !== undefined);

/** What ratios are taken against. */
export const tusName = nameOf('tus');
