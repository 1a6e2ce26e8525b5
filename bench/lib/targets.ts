/** A promise with a figure: met or missed in this run, or not measured in it. */
export interface Target {
  readonly name: string;
  readonly actual: number | undefined;
  readonly limit: number;
  readonly better: 'higher' | 'lower';
  /** How a figure is written, e.g. `0.41x` or `96 MiB`. */
  readonly format: (value: number) => string;
}

export const isMet = ({ actual, limit, better }: Target): boolean =>
  actual !== undefined && (better === 'higher' ? actual >= limit : actual <= limit);

export const targetLine = (target: Target): string => {
  const { name, actual, limit, better, format } = target;
  const wanted = `${name} ${better === 'higher' ? '>=' : '<='} ${format(limit)}`;
  if (actual === undefined) return `- not measured: ${wanted}`;
  return `- ${isMet(target) ? 'met' : 'MISSED'}: ${wanted} (${format(actual)})`;
};
