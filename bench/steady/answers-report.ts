import { count } from '../lib/format.ts';
import { max, median, min } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';

export const answerKinds = ['upload', 'query', 'replay'] as const;

/** A small upload; the state of one that is open; the answer of one that is finished, once more. */
export type AnswerKind = (typeof answerKinds)[number];

export interface AnswersPlan {
  readonly trials: number;
  readonly seconds: number;
}

export interface AnswersTrial {
  readonly trial: number;
  readonly variant: string;
  readonly kind: AnswerKind;
  /** Requests, each with the right answer. */
  readonly answered: number;
  readonly seconds: number;
  /** The server's, user and system, without start and warm-up. */
  readonly cpuSeconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface AnswersResults extends AnswersPlan {
  readonly contentBytes: number;
  readonly connections: number;
  /** How many uploads there are to ask about. */
  readonly openUploads: number;
  readonly finishedUploads: number;
  readonly raw: readonly AnswersTrial[];
}

export interface AnswersSummary {
  readonly variant: string;
  readonly kind: AnswerKind;
  /** Requests per second. */
  readonly medianRate: number;
  readonly minRate: number;
  readonly maxRate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuSecondsPerThousand: number;
}

/** One per variant and kind, in the order they were first measured. */
export const answersSummaries = ({ raw }: AnswersResults): AnswersSummary[] => {
  const variants = [...new Set(raw.map(({ variant }) => variant))];
  return answerKinds.flatMap((kind) =>
    variants.flatMap((variant) => {
      const own = raw.filter((trial) => trial.variant === variant && trial.kind === kind);
      if (own.length === 0) return [];
      const rates = own.map(({ answered, seconds }) => answered / seconds);
      return {
        variant,
        kind,
        medianRate: median(rates),
        minRate: min(rates),
        maxRate: max(rates),
        p50Ms: median(own.map(({ p50Ms }) => p50Ms)),
        p99Ms: median(own.map(({ p99Ms }) => p99Ms)),
        cpuSecondsPerThousand: median(own.map((one) => (one.cpuSeconds / one.answered) * 1000)),
      };
    }),
  );
};

/** The table by itself, for whoever shows it elsewhere. */
export const answersTable = (all: readonly AnswersSummary[]): string =>
  markdownTable(
    ['variant', 'request', 'requests/s', 'spread', 'p50 ms', 'p99 ms', 'CPU s/1,000'],
    all.map((one) => [
      one.variant,
      one.kind,
      one.medianRate.toFixed(0),
      `${one.minRate.toFixed(0)}–${one.maxRate.toFixed(0)}`,
      one.p50Ms.toFixed(1),
      one.p99Ms.toFixed(1),
      one.cpuSecondsPerThousand.toFixed(2),
    ]),
  );

export const answersSection = (results: AnswersResults): string[] => {
  const { trials, seconds, contentBytes, connections, openUploads, finishedUploads } = results;
  return [
    '',
    '### answers: requests that bring or want little',
    '',
    answersTable(answersSummaries(results)),
    '',
    `Upload: ${contentBytes} bytes, created and completed. Query: the state of one of ${count(openUploads)} open uploads. Replay: the stored`,
    `answer of one of ${finishedUploads} finished ones. ${connections} connections for ${seconds} s after a warm-up, one kind after the other;`,
    `${trials} trials each, interleaved, a fresh server and directory per trial. All figures are medians, spread is min–max.`,
  ];
};
