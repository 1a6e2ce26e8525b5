/** Who uploads, from where, over how many connections. */
export interface Variant {
  /** What `--variants` calls it. */
  readonly key: string;
  /** What the report calls it. */
  readonly name: string;
  readonly bare: boolean;
  readonly fromFile: boolean;
  readonly connections: number;
}

export const variants: readonly Variant[] = [1, 4].flatMap((connections) => {
  const many = connections === 1 ? '1 connection' : `${connections} connections`;
  const variant = (key: string, name: string, bare: boolean, fromFile: boolean): Variant => ({
    key: `${key}-${connections}`,
    name: `${name}, ${many}`,
    bare,
    fromFile,
    connections,
  });
  return [
    variant('socket', 'bare sockets', true, false),
    variant('memory', 'ours, upload(Buffer)', false, false),
    variant('file', 'ours, upload(path)', false, true),
  ];
});

/** The one that a variant is held against: bare sockets, as many of them. */
export const bareOf = (name: string): string | undefined => {
  const one = variants.find((variant) => variant.name === name);
  return variants.find(({ bare, connections }) => bare && connections === one?.connections)?.name;
};
