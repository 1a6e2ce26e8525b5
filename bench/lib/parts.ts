import { UsageError } from './options.ts';

/** What a benchmark can measure, by the names that `--part` takes. */
export interface Parts<Name extends string> {
  readonly all: readonly Name[];
  /** Those that can be measured with the chosen variants, if that is not all. */
  readonly isPossible?: (name: Name) => boolean;
  /** What the others want. */
  readonly wants?: string;
}

/** Those that `--part` names, or all that are possible. */
export const chosenParts = <Name extends string>(
  names: readonly string[] | undefined,
  { all, isPossible = () => true, wants = 'other variants' }: Parts<Name>,
): readonly Name[] => {
  if (names === undefined) return all.filter(isPossible);
  return names.map((name) => {
    const part = all.find((one) => one === name);
    if (part === undefined) throw new UsageError(`no such part: ${name} (there are ${all.join(', ')})`);
    if (!isPossible(part)) throw new UsageError(`part ${name} wants ${wants}`);
    return part;
  });
};
