import { charts, type Recorded } from './charts.ts';
import { clientTable } from './client-report.ts';
import { rangesTable as downloadRanges, streamTable as downloadStream } from './download-report.ts';
import { cutsTable } from './interruption/cuts-report.ts';
import { type ScheduleKey, titleOf } from './interruption/schedules.ts';
import { soakTable } from './interruption/soak-report.ts';
import { nameOf as interruptionName, plainKeys } from './interruption-variants.ts';
import { bytesText, count } from './lib/format.ts';
import type { Machine } from './lib/machine.ts';
import { onlyColumns } from './lib/table.ts';
import { memoryTable } from './s3/memory-report.ts';
import { type RequestsSummary, requestsTable } from './s3/requests-report.ts';
import { uploadTable as s3Table } from './s3/upload-report.ts';
import { answersTable } from './steady/answers-report.ts';
import { fairnessTable } from './steady/fairness-report.ts';
import { rangesTable } from './steady/ranges-report.ts';
import { shortfallLines, steadySlowTable } from './steady/slow-report.ts';
import { streamsOverview } from './steady/streams-report.ts';
import { growthTable } from './stores/growth-report.ts';
import { smallTable } from './stores/small-report.ts';
import { uploadTable } from './upload-report.ts';

// What README says about speed: of all that was recorded, what somebody needs who is about to choose.

interface Run {
  readonly machine: Machine;
  readonly date: string;
  readonly command: string;
}

/** Where the figures above it come from. */
const origin = ({ machine, date, command }: Run): string => {
  const { cpu, cores, memoryGiB, platform, node } = machine;
  return `<sub>${cpu}, ${cores} cores, ${memoryGiB} GiB, ${platform}, Node ${node}; ${date.slice(0, 10)}, \`${command}\`</sub>`;
};

/** Paragraphs: what is measured, the table, … */
type Paragraphs = readonly string[];

const upload = ({ summary, sizeMiB, trials }: Recorded['upload']): Paragraphs => [
  `One upload of ${bytesText(sizeMiB * 2 ** 20)} over loopback; medians of ${trials} trials, each against a fresh server process, all\nvariants interleaved. \`power\` syncs everything before it says so; nobody else syncs at all.`,
  uploadTable(summary),
];

const stores = ({ small, index }: Recorded['stores']): Paragraphs => [
  ...(small === undefined
    ? []
    : [
        `Uploads of ${bytesText(small.contentBytes)}, each created and completed by one request, ${small.connections} connections; medians of\n${small.trials} trials of ${small.seconds} s.`,
        smallTable(small.summary),
      ]),
  ...(index === undefined
    ? []
    : [
        `A query for the state of one of many uploads, one connection; medians of ${index.rounds} rounds of ${index.seconds} s. Opening is the\nfirst answer of a new process on what a killed one left.`,
        growthTable(index.summary),
      ]),
];

/** Of sizes, those between which the rest lies; of what goes on after a cut, everything. */
const shownUploads = ['1 KiB', '8 MiB', '100 MiB'];

const isShownRequest = ({ scenario, resumption }: RequestsSummary): boolean =>
  resumption !== undefined || shownUploads.includes(scenario);

const s3 = ({ server, upload: speed, memory, requests }: Recorded['s3']): Paragraphs => [
  ...(speed === undefined
    ? []
    : [
        `One upload of ${bytesText(speed.sizeMiB * 2 ** 20)} into a bucket (${server}), until the answer that it is\nthere; medians of ${speed.trials} trials.`,
        s3Table(speed.summary),
      ]),
  ...(memory === undefined
    ? []
    : [
        `${memory.uploads} uploads of ${bytesText(memory.sizeMiB * 2 ** 20)} into it at once: what the server's memory grows by, and what it keeps in temporary files.`,
        onlyColumns(memoryTable(memory.summary), [
          'variant',
          'peak RSS MiB',
          'growth MiB',
          'temporary files',
          'at once MiB',
          'MiB/s',
        ]),
      ]),
  ...(requests === undefined
    ? []
    : [
        `What an upload costs in requests to S3, and one that is cut off after ${bytesText(requests.cutBytes)} and goes on in another process:\nbytes kept by then, requests for the client's question, and until new bytes are on their way.`,
        onlyColumns(requestsTable(requests.summary.filter(isShownRequest)), [
          'upload',
          'variant',
          'requests',
          'question',
          'until sent',
          'kept MiB',
        ]),
      ]),
];

/** By resets, by everything at once, and as it is over a line. */
const shownSchedules: readonly ScheduleKey[] = ['rst', 'mixed', 'line'];
const shownVariants = [...plainKeys, 'tus', 'uploadx', 'restart', 'chunked'].map(interruptionName);

const cutsColumns = [
  'variant',
  'MiB/s',
  'spread',
  '/ uncut',
  '/ @tus/server',
  'efficiency',
  'resume p50 ms',
  'p99 ms',
  'unfinished',
  'errors',
  'wrong sums',
];

const soakColumns = [
  'variant',
  'cuts',
  'uploads',
  'efficiency',
  'p99 ms',
  'unfinished',
  'errors',
  'wrong sums',
];

const interruption = ({ cuts, soak }: Recorded['interruption']): Paragraphs => {
  const paragraphs: string[] = [];
  if (cuts !== undefined) {
    const all = cuts.summary.filter(({ variant }) => shownVariants.includes(variant));
    paragraphs.push(
      `${cuts.uploads} uploads of ${bytesText(cuts.sizeBytes)} at once through a proxy that cuts their connections; ${cuts.trials} trials. MiB/s of completed\nfiles are medians; both ratios leave out the time in which every client stood still. Efficiency is file bytes / body\nbytes sent; resume is from a cut to the first new byte.`,
    );
    for (const schedule of cuts.schedules) {
      if (!shownSchedules.includes(schedule)) continue;
      paragraphs.push(`${titleOf(schedule, cuts)}:`, onlyColumns(cutsTable(all, schedule), cutsColumns));
    }
  }
  if (soak !== undefined) {
    paragraphs.push(
      `Uploads of ${bytesText(soak.sizeBytes)} over connections that live ${bytesText(soak.meanBytes)} in the mean, until at least ${count(soak.cuts)} were cut:`,
      onlyColumns(soakTable(soak), soakColumns),
    );
  }
  return paragraphs;
};

const steady = ({ streams, answers, slow, fairness, ranges }: Recorded['steady']): Paragraphs => [
  ...(streams === undefined
    ? []
    : [
        `Several streams at once, each with one upload after the other; medians of ${streams.trials} trials.`,
        streamsOverview(streams.summary),
      ]),
  ...(answers === undefined
    ? []
    : [
        `Requests that bring or want little, ${answers.connections} connections; medians of ${answers.trials} trials of ${answers.seconds} s. A replay is the stored\nanswer of a finished upload, asked for again.`,
        answersTable(answers.summary),
      ]),
  ...(slow === undefined
    ? []
    : [
        `Many uploads at once that trickle in; medians of ${slow.trials} trials.`,
        steadySlowTable(slow.summary),
        ...shortfallLines(slow),
      ]),
  ...(fairness === undefined
    ? []
    : [
        `What a client with uploads of ${bytesText(fairness.contentBytes)} waits for each, alone and beside ${fairness.slowUploads} slow ones; medians of ${fairness.trials} trials.`,
        fairnessTable(fairness.summary),
      ]),
  ...(ranges === undefined
    ? []
    : [
        `One more range in an upload that has so many, at the store (write) and by a request; medians of ${ranges.trials} trials' p50.`,
        rangesTable(ranges.summary),
      ]),
];

const download = (results: Recorded['download']): Paragraphs => {
  const { summary, raw, sizeMiB, rangeCount, rangeBytes, connections, trials, seconds } = results;
  return [
    ...(raw.ranges.length === 0
      ? []
      : [
          `${count(rangeCount)} random ranges of ${bytesText(rangeBytes)} of a file of ${bytesText(sizeMiB * 2 ** 20)}, in turn, over ${connections} connections; medians of ${trials} trials of ${seconds} s.`,
          downloadRanges(summary),
        ]),
    ...(raw.stream.length === 0
      ? []
      : [`The whole of it, over one connection; medians of ${trials} trials.`, downloadStream(summary)]),
  ];
};

const client = ({ summary, sizeMiB, trials }: Recorded['client']): Paragraphs => [
  `One upload of ${bytesText(sizeMiB * 2 ** 20)} over loopback to this library's server (fs, 'process'), by its client and by bare\nsockets that know where their bytes go; medians of ${trials} trials.`,
  clientTable(summary),
];

type Sections = { readonly [Name in keyof Recorded]: (results: Recorded[Name]) => Paragraphs };

const sections: Sections = { upload, stores, s3, interruption, steady, download, client };

const titles: Readonly<Record<keyof Recorded, string>> = {
  upload: 'One stream',
  stores: 'Small uploads, and many of them',
  s3: 'Into a bucket',
  interruption: 'Over connections that are cut',
  steady: 'Streams, slow clients, pieces',
  download: 'Downloads',
  client: 'The client',
};

/** In the order in which README shows them. */
export const recordedNames = Object.keys(titles) as ReadonlyArray<keyof Recorded>;

const section = <Name extends keyof Recorded>(name: Name, results: Recorded[Name]): Paragraphs => {
  const paragraphs = sections[name](results);
  if (paragraphs.length === 0) return [];
  const chart = charts[name](results);
  return [
    `### ${titles[name]}`,
    ...(chart === undefined ? [] : [`![${chart.title}](bench/results/${name}.svg)`]),
    ...paragraphs,
    origin(results),
  ];
};

/** The section's text. What was never recorded is left out. */
export const performanceText = (recorded: Partial<Recorded>): string => {
  const one = <Name extends keyof Recorded>(name: Name): Paragraphs => {
    const results = recorded[name];
    return results === undefined ? [] : section(name, results);
  };
  return recordedNames.flatMap(one).join('\n\n');
};

const place = /(<!-- performance: begin[^\n]*-->\n)[\s\S]*?(<!-- performance: end -->)/;

/** README with that text in its place. Throws when it has none. */
export const withPerformance = (readme: string, text: string): string => {
  if (!place.test(readme)) throw new Error('README has no place for the performance section');
  return readme.replace(place, (_all, begin: string, end: string) => `${begin}${text}\n${end}`);
};
