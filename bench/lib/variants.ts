import { UsageError } from './options.ts';

/** Those that `--variants` names, or all of them. */
export const chosenVariants = <T extends { readonly key: string }>(
  variants: readonly T[],
  names: readonly string[] | undefined,
): readonly T[] => {
  if (names === undefined) return variants;
  const known = new Map(variants.map((variant) => [variant.key, variant]));
  return names.map((name) => {
    const variant = known.get(name);
    if (variant === undefined) {
      throw new UsageError(`no such variant: ${name} (there are ${[...known.keys()].join(', ')})`);
    }
    return variant;
  });
};
