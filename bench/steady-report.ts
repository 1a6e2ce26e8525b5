import { type Conditions, reportHead } from './lib/report.ts';
import { targetLine } from './lib/targets.ts';
import { type AnswersResults, answersSection, answersSummaries } from './steady/answers-report.ts';
import { type FairnessResults, fairnessSection, fairnessSummaries } from './steady/fairness-report.ts';
import {
  type RangesResults,
  rangesNotes,
  rangesSummaries,
  rangesTable,
  rangesTargets,
} from './steady/ranges-report.ts';
import { type SteadySlowResults, steadySlowSection, steadySlowSummaries } from './steady/slow-report.ts';
import { type StreamsResults, streamsSection, streamsSummaries } from './steady/streams-report.ts';

/** Everything that a run has measured. A part that was not asked for is not there. */
export interface SteadyResults extends Conditions {
  readonly streams?: StreamsResults;
  readonly answers?: AnswersResults;
  readonly slow?: SteadySlowResults;
  readonly fairness?: FairnessResults;
  readonly ranges?: RangesResults;
}

/** The results with the figures of the report beside the raw trials of each part. */
export const withSummaries = (results: SteadyResults) => {
  const { streams, answers, slow, fairness, ranges, ...conditions } = results;
  return {
    ...conditions,
    ...(streams && { streams: { summary: streamsSummaries(streams), ...streams } }),
    ...(answers && { answers: { summary: answersSummaries(answers), ...answers } }),
    ...(slow && { slow: { summary: steadySlowSummaries(slow), ...slow } }),
    ...(fairness && { fairness: { summary: fairnessSummaries(fairness), ...fairness } }),
    ...(ranges && { ranges: { summary: rangesSummaries(ranges), ...ranges } }),
  };
};

const rangesSection = (results: RangesResults): string[] => {
  const all = rangesSummaries(results);
  return [
    '',
    '### ranges: one upload in many pieces',
    '',
    rangesTable(all),
    '',
    ...rangesNotes(results),
    '',
    ...rangesTargets(all).map(targetLine),
  ];
};

export const steadyReport = (results: SteadyResults): string => {
  const { streams, answers, slow, fairness, ranges } = results;
  return [
    ...reportHead('steady', results),
    ...(streams ? streamsSection(streams) : []),
    ...(answers ? answersSection(answers) : []),
    ...(slow ? steadySlowSection(slow) : []),
    ...(fairness ? fairnessSection(fairness) : []),
    ...(ranges ? rangesSection(ranges) : []),
    '',
    'How queries, opening and memory grow with the number of uploads stored: `npm run bench -- stores --part index`.',
  ].join('\n');
};
