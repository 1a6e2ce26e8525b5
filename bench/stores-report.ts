import { type Conditions, reportHead, section } from './lib/report.ts';
import { type GrowthResults, growthSummaries, growthTable, growthTargets } from './stores/growth-report.ts';
import { type SlowResults, slowSummaries, slowTable, slowTargets } from './stores/slow-report.ts';
import { type SmallResults, smallSummaries, smallTable, smallTargets } from './stores/small-report.ts';

/** Everything that a run has measured. A part that was not asked for is not there. */
export interface StoresResults extends Conditions {
  readonly small?: SmallResults;
  readonly index?: GrowthResults;
  readonly slow?: SlowResults;
}

/** The results with the figures of the report beside the raw trials of each part. */
export const withSummaries = ({ small, index, slow, ...conditions }: StoresResults) => ({
  ...conditions,
  ...(small && { small: { summary: smallSummaries(small), ...small } }),
  ...(index && { index: { summary: growthSummaries(index), ...index } }),
  ...(slow && { slow: { summary: slowSummaries(slow), ...slow } }),
});

const smallSection = (results: SmallResults): string[] => {
  const all = smallSummaries(results);
  const { contentBytes, connections, seconds, warmUpSeconds, trials } = results;
  return section(
    `small uploads: ${contentBytes} bytes, created and completed by one request`,
    smallTable(all),
    [
      `${connections} connections for ${seconds} s after ${warmUpSeconds} s of warm-up, ${trials} trials each, interleaved, a fresh`,
      "server and directory per trial. Rates, CPU (the server's, user + system) and p99 are medians, spread is",
      "min–max, peak RSS is the highest of all trials. Only 'power' syncs to disk. After each trial the stored",
      'uploads were counted against the answers, and some of ours were read back.',
    ],
    smallTargets(all),
  );
};

const growthSection = (results: GrowthResults): string[] => {
  const all = growthSummaries(results);
  const { rounds, seconds } = results;
  return section(
    'index: status queries by how many uploads there are',
    growthTable(all),
    [
      `Random existing uploads, one connection, medians of ${rounds} rounds of ${seconds} s, all servers in turn. Opening is the`,
      'first answer of a new store on what a killed process left, its files in the page cache; RSS is after',
      "the queries. 'process'.",
    ],
    growthTargets(all),
  );
};

const slowSection = (results: SlowResults): string[] => {
  const all = slowSummaries(results);
  const { uploads, seconds, everyMs, trials } = results;
  return section(
    `slow uploads: ${uploads} at once`,
    slowTable(all),
    [
      `A connection and 1 KiB every ${everyMs} ms each, for ${seconds} s; ${trials} trials each, interleaved. Peak RSS is the highest,`,
      "CPU a median, bytes the least of any upload in any trial. 'process'.",
    ],
    slowTargets(all),
  );
};

export const storesReport = (results: StoresResults): string => {
  const { small, index, slow } = results;
  return [
    ...reportHead('stores', results),
    ...(small ? smallSection(small) : []),
    ...(index ? growthSection(index) : []),
    ...(slow ? slowSection(slow) : []),
  ].join('\n');
};
