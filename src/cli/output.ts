import { Bar, type Step, type Terminal } from './bar.ts';
import { printable } from './format.ts';
import type { Problem } from './problems.ts';

export interface Streams {
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stderr: Terminal & { readonly isTTY?: boolean };
}

/** How much is said, and in which form. Options of every command. */
export const outputOptions = {
  json: { type: 'boolean', default: false },
  quiet: { type: 'boolean', default: false },
} as const;

export const outputHelp = `  --json                  one JSON object per line on stdout, and nothing else
  --quiet                 results and errors only
`;

type Facts = Readonly<Record<string, unknown>>;

const jsonStepMs = 250;

/** Results go to stdout; what only a person wants to know goes to stderr, as the bar does. */
export class Output {
  readonly #streams: Streams;
  readonly #json: boolean;
  readonly #quiet: boolean;
  readonly #bar: Bar | undefined;
  /** Not printed yet. */
  #step: Step | undefined;
  #steppedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor({ json, quiet }: { readonly json: boolean; readonly quiet: boolean }, streams: Streams) {
    this.#streams = streams;
    this.#json = json;
    this.#quiet = quiet;
    if (!json && !quiet && streams.stderr.isTTY === true) this.#bar = new Bar(streams.stderr);
  }

  /** Whether a person reads the results where they are printed. */
  get isForPeople(): boolean {
    return !this.#json && this.#streams.stdout.isTTY === true;
  }

  result(text: string, facts: Facts): void {
    this.#settle();
    if (this.#json) this.#object('result', facts);
    else this.#streams.stdout.write(`${printable(text)}\n`);
  }

  note(text: string): void {
    this.#settle();
    if (this.#json) this.#object('note', { message: text });
    else if (!this.#quiet) this.#streams.stderr.write(`${printable(text)}\n`);
  }

  /** `facts` are more about it for programs. */
  problem({ code, message, hints }: Problem, facts: Facts = {}): void {
    this.#settle();
    if (this.#json) this.#object('error', { ...facts, code, message, hints });
    else for (const line of [message, ...hints]) this.#streams.stderr.write(`${printable(line)}\n`);
  }

  progress(step: Step): void {
    if (!this.#json) return this.#bar?.show(step);
    this.#step = step;
    const waitMs = this.#steppedAt + jsonStepMs - performance.now();
    if (waitMs <= 0) this.#printStep();
    // The last of several is never left out: nothing may follow it for long.
    else this.#timer ??= setTimeout(() => this.#printStep(), waitMs).unref();
  }

  #printStep(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#step === undefined) return;
    this.#steppedAt = performance.now();
    const { file, state, done, total, rate, etaMs } = this.#step;
    const known = (value: number): number | null => (Number.isFinite(value) ? Math.round(value) : null);
    this.#object('progress', {
      file,
      state,
      done,
      total: known(total),
      rate: Math.round(rate),
      etaMs: known(etaMs),
    });
    this.#step = undefined;
  }

  /** What comes now is news of what progress led to. */
  #settle(): void {
    this.#bar?.clear();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#step = undefined;
  }

  #object(event: string, facts: Facts): void {
    this.#streams.stdout.write(`${JSON.stringify({ event, ...facts })}\n`);
  }
}
