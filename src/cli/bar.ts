import { createRequire } from 'node:module';
import type { SingleBar } from 'cli-progress';
import { systemCode } from '../errors.ts';
import { displayWidth, formatBytes, formatDuration, shortened } from './format.ts';

/** How far a transfer is, in bytes and milliseconds. */
export interface Step {
  /** What is transferred, as it was named on the command line. */
  readonly file: string;
  /** Its name alone. */
  readonly label: string;
  readonly state: string;
  readonly done: number;
  /** Infinity while nobody knows. */
  readonly total: number;
  /** Per second. */
  readonly rate: number;
  readonly etaMs: number;
}

/** What is drawn on: a terminal, and how wide it is. */
export type Terminal = NodeJS.WritableStream & { readonly columns?: number };

const stillMs = 2_000;
const leastBar = 10;
const mostLabel = 30;

/** One line of at most `columns` columns: the label, a bar where there is room for one, and the numbers. */
export const barLine = (step: Step, columns: number): string => {
  const { state, done, total, rate, etaMs } = step;
  const isKnown = Number.isFinite(total);
  const part = total === 0 ? 1 : done / total;
  const numbers = [
    ...(isKnown ? [`${String(Math.floor(part * 100)).padStart(3)}%`] : []),
    isKnown ? `${formatBytes(done)} of ${formatBytes(total)}` : formatBytes(done),
    ...(state === 'sending' || state === 'receiving'
      ? [`${formatBytes(rate)}/s`, ...(isKnown ? [`ETA ${formatDuration(etaMs)}`] : [])]
      : [state]),
  ].join('  ');
  const label = shortened(step.label, Math.max(0, Math.min(mostLabel, columns - numbers.length - 2)));
  const start = label === '' ? '' : `${label}  `;
  const room = columns - displayWidth(start) - numbers.length - 4;
  if (!isKnown || room < leastBar) return shortened(start + numbers, columns);
  const filled = Math.floor(room * part);
  const bar = `${'='.repeat(filled)}${filled < room ? '>' : ''}`.padEnd(room);
  return `${start}[${bar}]  ${numbers}`;
};

/** What `--json` and pipes do without, and so may an installation: optional, and loaded where there is a terminal. */
const loadProgress = (): typeof import('cli-progress') | undefined => {
  try {
    return createRequire(import.meta.url)('cli-progress') as typeof import('cli-progress');
  } catch (error) {
    if (systemCode(error) !== 'MODULE_NOT_FOUND') throw error;
    return undefined;
  }
};

/** Draws the newest step over the one before, ten times a second at most. Without `cli-progress`, nothing. */
export class Bar {
  readonly #bar: SingleBar | undefined;
  #step: Step | undefined;
  #movedAt = 0;

  constructor(terminal: Terminal) {
    const library = loadProgress();
    this.#bar =
      library &&
      new library.SingleBar({
        stream: terminal,
        format: () => this.#line(terminal.columns || 80),
        fps: 10,
        // A process that is killed leaves the terminal as it was.
        hideCursor: false,
        linewrap: true,
        clearOnComplete: true,
        gracefulExit: false, // who is interrupted here has something to say first
      });
  }

  show(step: Step): void {
    const isNew = this.#step === undefined;
    const isOther = step.state !== this.#step?.state;
    this.#step = step;
    this.#movedAt = performance.now();
    if (isNew) this.#bar?.start(1, 0);
    else if (isOther) this.#bar?.render();
  }

  /** Leaves an empty line to whoever writes next. */
  clear(): void {
    if (this.#step !== undefined) this.#bar?.stop();
    this.#step = undefined;
  }

  /** Nobody should take a bar that stands still for one that has stopped to be drawn. */
  #line(columns: number): string {
    if (this.#step === undefined) return '';
    const stillFor = performance.now() - this.#movedAt;
    const { state } = this.#step;
    const now = stillFor < stillMs ? state : `${state}: no news for ${Math.floor(stillFor / 1000)} s`;
    // The echo of a Ctrl-C (`^C`) has to fit behind it, or the line could not be cleared.
    return barLine({ ...this.#step, state: now }, columns - 3);
  }
}
