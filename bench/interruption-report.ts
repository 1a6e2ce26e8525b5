import { type CutsResults, cutsSummaries, cutsTable, cutsTargets } from './interruption/cuts-report.ts';
import { titleOf } from './interruption/schedules.ts';
import { type SmallCutsResults, smallCutsSummaries, smallCutsTable } from './interruption/small-report.ts';
import { type SoakResults, soakTable, soakTargets } from './interruption/soak-report.ts';
import { type Conditions, reportHead } from './lib/report.ts';
import { targetLine } from './lib/targets.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

/** Everything that a run has measured. A part that was not asked for is not there. */
export interface InterruptionResults extends Conditions {
  /** Of the schedules. */
  readonly seed: number;
  readonly cuts?: CutsResults;
  readonly small?: SmallCutsResults;
  readonly soak?: SoakResults;
}

/** The results with the figures of the report beside the raw trials of each part. */
export const withSummaries = ({ cuts, small, soak, ...conditions }: InterruptionResults) => ({
  ...conditions,
  ...(cuts && { cuts: { summary: cutsSummaries(cuts), ...cuts, raw: cuts.raw.map(withoutTimes) } }),
  ...(small && { small: { summary: smallCutsSummaries(small), ...small } }),
  ...(soak && { soak }),
});

/** The time of every single cut would be most of the file. */
const withoutTimes = ({ resumeMs: _, ...trial }: CutsResults['raw'][number]) => trial;

/** What went wrong, by those it went wrong for, each once. */
const problemLines = (
  runs: ReadonlyArray<{ readonly variant: string; readonly problems: readonly string[] }>,
): string[] => {
  const lines = runs.flatMap(({ variant, problems }) =>
    problems.map((problem) => `- ${variant}: ${problem}`),
  );
  return lines.length === 0 ? [] : ['', 'Errors:', '', ...new Set(lines)];
};

const cutsSection = (results: CutsResults): string[] => {
  const all = cutsSummaries(results);
  const { uploads, sizeBytes, trials, stallMs } = results;
  return [
    ...results.schedules.flatMap((key) => ['', `### ${titleOf(key, results)}`, '', cutsTable(all, key)]),
    '',
    `${uploads} uploads of ${sizeBytes / MiB} MiB at once, all through one proxy; ${trials} trials each, interleaved, a fresh server,`,
    'client and directory per trial. MiB/s are medians and count the bytes of completed files; spread is min–max;',
    'everything else is over all trials. Moving: without the time during which every client stood still, which a',
    `client notices after ${stallMs} ms; both ratios are of that. Nobody waits before trying again. Efficiency is file bytes /`,
    "body bytes that the proxy passed on; of what was sent, file bytes / body bytes that the clients' systems took: what a",
    'cut throws away before the proxy is between these two. Of what arrived is file bytes / body bytes that the server read:',
    'between that and the efficiency is what a reset threw away. Resume: from a cut to the first byte that is',
    "new to the server passing the proxy. All sums are of what was stored, read back afterwards. Only 'power' syncs.",
    ...problemLines(results.raw),
    '',
    ...cutsTargets(all).map(targetLine),
  ];
};

const smallSection = (results: SmallCutsResults): string[] => {
  const { contentBytes, connections, meanBytes, seconds, trials } = results;
  return [
    '',
    `### small: uploads of ${contentBytes} bytes, one request each`,
    '',
    smallCutsTable(smallCutsSummaries(results)),
    '',
    `${connections} connections, each reset or ended after ${meanBytes / KiB} KiB in the mean; ${trials} trials of ${seconds} s after as many uncut`,
    'ones through the same proxy. What is stored was counted: every upload that was answered, and of those that',
    'were not, some.',
  ];
};

const soakSection = (results: SoakResults): string[] => {
  const { cuts, meanBytes, sizeBytes, concurrency, stallMs, raw } = results;
  return [
    '',
    `### soak: at least ${cuts} cuts each`,
    '',
    soakTable(results),
    '',
    `Uploads of ${sizeBytes / MiB} MiB, ${concurrency} at once; each connection is reset, ends or stands still after ${meanBytes / KiB} KiB in the mean,`,
    `exponentially distributed. A client gives one up after ${stallMs} ms without progress, be it cut or not.`,
    ...problemLines(raw),
    '',
    ...soakTargets(results).map(targetLine),
  ];
};

export const interruptionReport = (results: InterruptionResults): string => {
  const { seed, cuts, small, soak } = results;
  return [
    ...reportHead('interruption', results, [`Seed of the cuts: ${seed}`]),
    ...(cuts ? cutsSection(cuts) : []),
    ...(small ? smallSection(small) : []),
    ...(soak ? soakSection(soak) : []),
  ].join('\n');
};
