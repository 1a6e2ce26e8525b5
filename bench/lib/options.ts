/** The flags of the command line. A benchmark picks the default of each that was not given. */
export interface BenchOptions {
  /** Fewer and smaller trials: shows that everything runs, not how fast it is. */
  readonly quick: boolean;
  /** Also write every raw trial to `bench/results`. */
  readonly json: boolean;
  readonly trials?: number;
  readonly sizeMiB?: number;
  readonly variants?: readonly string[];
  /** Which parts of a benchmark that has several. */
  readonly parts?: readonly string[];
  /** How long each measurement of a rate takes. */
  readonly durationSeconds?: number;
  /** As typed, to be printed above the figures. */
  readonly command: string;
}

/** One entry of the registry: resolves when its report is printed, rejects when a figure would be wrong. */
export interface Benchmark {
  run(options: BenchOptions): Promise<void>;
}

/** A mistake on the command line: answered with its message alone and exit code 2. */
export class UsageError extends Error {}
