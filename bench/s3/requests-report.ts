import { max, min } from '../lib/stats.ts';
import { markdownTable } from '../lib/table.ts';
import type { Target } from '../lib/targets.ts';
import { nameOf } from '../s3-variants.ts';

/** One try of one request to S3. */
export interface Request {
  readonly operation: string;
  /** Whether it brings bytes of the content: a part, or what is less than a part. */
  readonly bringsContent: boolean;
}

/** What a server has sent to S3 in some time, in order. */
export interface Counted {
  readonly sent: readonly Request[];
  /** How many of them before the body of the last request was first wanted. */
  readonly beforeBody: number;
}

/** Of an upload that goes on after a cut. */
interface Resumption {
  /** What the client's question caused. */
  readonly query: readonly Request[];
  /** Of what the request with the rest caused, how much before its body was first wanted. */
  readonly beforeBody: number;
  /** What the client did not have to send again. */
  readonly keptBytes: number;
}

/** What was asked of S3 for an upload, or for a stage of it, in order. */
export interface Scenario {
  readonly name: string;
  readonly requests: readonly Request[];
  readonly resumption?: Resumption;
}

export interface RequestsTrial {
  readonly trial: number;
  readonly variant: string;
  readonly scenarios: readonly Scenario[];
}

export interface RequestsResults {
  readonly trials: number;
  /** After so many bytes the client resets its connection. */
  readonly cutBytes: number;
  readonly raw: readonly RequestsTrial[];
}

interface Spread {
  readonly least: number;
  readonly most: number;
}

export interface RequestsSummary {
  readonly variant: string;
  readonly scenario: string;
  readonly requests: Spread;
  readonly resumption?: {
    readonly query: Spread;
    /** For the rest, until its body is read. */
    readonly untilRead: Spread;
    /** For the rest, until a part or a fragment with new bytes is on its way to S3. */
    readonly untilSent: Spread;
    readonly keptMiB: Spread;
  };
  /** Of the trial with the most requests. */
  readonly byOperation: Readonly<Record<string, number>>;
}

const spread = (values: readonly number[]): Spread => ({ least: min(values), most: max(values) });

/** The requests before the first that brings content. */
const lookups = (requests: readonly Request[]): number => {
  const at = requests.findIndex(({ bringsContent }) => bringsContent);
  if (at === -1) throw new Error('a resumed upload has brought no byte to S3');
  return at;
};

const all = ({ resumption, requests }: Scenario): Request[] => [...(resumption?.query ?? []), ...requests];

const tally = (requests: readonly Request[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { operation } of requests) counts[operation] = (counts[operation] ?? 0) + 1;
  return counts;
};

const summary = (variant: string, scenario: string, own: readonly Scenario[]): RequestsSummary => {
  const requests = spread(own.map((one) => all(one).length));
  const worst = own.find((one) => all(one).length === requests.most);
  const resumptions = own.flatMap(({ resumption }) => resumption ?? []);
  return {
    variant,
    scenario,
    requests,
    ...(resumptions.length > 0 && {
      resumption: {
        query: spread(resumptions.map(({ query }) => query.length)),
        untilRead: spread(resumptions.map(({ beforeBody }) => beforeBody)),
        untilSent: spread(own.map((one) => lookups(one.requests))),
        keptMiB: spread(resumptions.map(({ keptBytes }) => keptBytes / 2 ** 20)),
      },
    }),
    byOperation: tally(worst === undefined ? [] : all(worst)),
  };
};

/** One per scenario and variant, in the order they were first measured. */
export const requestsSummaries = ({ raw }: RequestsResults): RequestsSummary[] => {
  const variants = [...new Set(raw.map((trial) => trial.variant))];
  const scenarios = [...new Set(raw.flatMap((trial) => trial.scenarios.map(({ name }) => name)))];
  return scenarios.flatMap((scenario) =>
    variants.map((variant) => {
      const own = raw.filter((trial) => trial.variant === variant);
      return summary(
        variant,
        scenario,
        own.flatMap((trial) => trial.scenarios.filter(({ name }) => name === scenario)),
      );
    }),
  );
};

/** A thousand parts are told by one request, so this is for uploads of no more. */
const mostLookups = 3;

/** Of ours, in the worst way to resume. */
export const requestsTargets = (summaries: readonly RequestsSummary[]): Target[] => {
  const ours = summaries.flatMap(({ variant, resumption }) =>
    variant === nameOf('ours') && resumption !== undefined ? [resumption] : [],
  );
  const target = (name: string, most: readonly number[]): Target => ({
    name: `requests of a resumed upload until ${name}, ours`,
    actual: most.length === 0 ? undefined : max(most),
    limit: mostLookups,
    better: 'lower',
    format: String,
  });
  return [
    target(
      'its body is read',
      ours.map(({ untilRead }) => untilRead.most),
    ),
    target(
      'new bytes are on their way to S3',
      ours.map(({ untilSent }) => untilSent.most),
    ),
  ];
};

const range = ({ least, most }: Spread, digits = 0): string => {
  const [low, high] = [least.toFixed(digits), most.toFixed(digits)];
  return low === high ? low : `${low}–${high}`;
};

/** `PutObject` is `Put`, `DeleteObjects` and `DeleteObject` are `Delete`: the table is wide. */
const short = (operation: string): string => operation.replace(/(MultipartUpload|Objects?(V2)?)$/, '');

const shortened = (byOperation: RequestsSummary['byOperation']): Map<string, number> => {
  const counts = new Map<string, number>();
  for (const [operation, count] of Object.entries(byOperation)) {
    const name = short(operation);
    counts.set(name, (counts.get(name) ?? 0) + count);
  }
  return counts;
};

/** The table by itself, for whoever shows it elsewhere. */
export const requestsTable = (summaries: readonly RequestsSummary[]): string => {
  const operations = [...new Set(summaries.flatMap(({ byOperation }) => [...shortened(byOperation).keys()]))];
  const header = [
    'upload',
    'variant',
    'requests',
    'question',
    'until read',
    'until sent',
    'kept MiB',
    ...operations,
  ];
  const rows = summaries.map(({ scenario, variant, requests, resumption, byOperation }) => [
    scenario,
    variant,
    range(requests),
    ...(resumption === undefined
      ? ['', '', '', '']
      : [
          range(resumption.query),
          range(resumption.untilRead),
          range(resumption.untilSent),
          range(resumption.keptMiB, 1),
        ]),
    ...operations.map((operation) => String(shortened(byOperation).get(operation) ?? '')),
  ]);
  return markdownTable(header, rows);
};
