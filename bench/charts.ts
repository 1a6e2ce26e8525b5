import type { ClientResults } from './client-report.ts';
import type { DownloadResults } from './download-report.ts';
import type { ScheduleKey } from './interruption/schedules.ts';
import type { withSummaries as interruptionWithSummaries } from './interruption-report.ts';
import { nameOf as interruptionName } from './interruption-variants.ts';
import type { Bar, BarGroup, Chart } from './lib/chart.ts';
import { bytesText } from './lib/format.ts';
import type { withSummaries as s3WithSummaries } from './s3-report.ts';
import { isSmall } from './steady/streams-report.ts';
import type { withSummaries as steadyWithSummaries } from './steady-report.ts';
import type { withSummaries as storesWithSummaries } from './stores-report.ts';
import type { UploadResults } from './upload-report.ts';

// The one picture of each benchmark, drawn from what it recorded. Undefined where the part for it did not run.

/** What each benchmark records, by its name. Its summaries are what is shown, so that the raw trials may be left out. */
export interface Recorded {
  readonly upload: UploadResults;
  readonly stores: ReturnType<typeof storesWithSummaries>;
  readonly s3: ReturnType<typeof s3WithSummaries>;
  readonly interruption: ReturnType<typeof interruptionWithSummaries>;
  readonly steady: ReturnType<typeof steadyWithSummaries>;
  readonly download: DownloadResults;
  readonly client: ClientResults;
}

const bar = (label: string, value: number, low: number, high: number): Bar => ({
  label,
  value,
  low,
  high,
  isOurs: label.startsWith('ours'),
});

const whiskers = 'Bars are medians, whiskers reach from the lowest to the highest trial.';

const upload = ({ summary, sizeMiB, trials }: Recorded['upload']): Chart => ({
  title: `One upload of ${sizeMiB} MiB over loopback`,
  description: `Throughput by server, ${trials} trials each. ${whiskers}`,
  groups: [
    {
      title: 'Throughput',
      unit: 'MiB/s',
      bars: summary.map((one) => bar(one.variant, one.medianMiBs, one.minMiBs, one.maxMiBs)),
    },
  ],
});

const stores = ({ small }: Recorded['stores']): Chart | undefined =>
  small && {
    title: `Uploads of ${bytesText(small.contentBytes)}, one request each, ${small.connections} connections`,
    description: `Requests per second by server, ${small.trials} trials each. ${whiskers}`,
    groups: [
      {
        title: 'Small uploads',
        unit: 'requests/s',
        bars: small.summary.map((one) => bar(one.variant, one.medianRate, one.minRate, one.maxRate)),
      },
    ],
  };

const s3 = ({ upload: part }: Recorded['s3']): Chart | undefined =>
  part && {
    title: `One upload of ${part.sizeMiB} MiB into a bucket`,
    description: `Throughput by who stores it, ${part.trials} trials each. ${whiskers}`,
    groups: [
      {
        title: 'Throughput',
        unit: 'MiB/s',
        bars: part.summary.map((one) => bar(one.variant, one.medianMiBs, one.minMiBs, one.maxMiBs)),
      },
    ],
  };

/** One of ours for each store, and who else there is. */
const interruptedKeys = ['fs-process', 'sqlite-process', 'tus', 'uploadx', 'restart', 'chunked'];

/** Short, for a line has an end. */
const howCut: Readonly<Record<ScheduleKey, string>> = {
  uncut: 'Uncut',
  fin: 'Ended in order',
  rst: 'Reset',
  time: 'Reset or ended, at random times',
  mixed: 'Reset, ended or silent, after random numbers of bytes',
  'line-uncut': 'Over a slower line, uncut',
  line: 'Over a slower line, reset or ended',
};

const interruption = ({ cuts }: Recorded['interruption']): Chart | undefined => {
  if (cuts === undefined) return undefined;
  const names = interruptedKeys.map(interruptionName);
  const all = cuts.summary.filter(({ variant }) => names.includes(variant));
  return {
    title: `${cuts.uploads} uploads of ${bytesText(cuts.sizeBytes)} at once, over connections that are cut`,
    description: `Completed files by server and by how connections are cut, ${cuts.trials} trials each. ${whiskers}`,
    groups: cuts.schedules.map((schedule) => ({
      title: howCut[schedule],
      unit: 'MiB/s of completed files',
      bars: all
        .filter((one) => one.schedule === schedule)
        .map((one) => bar(one.variant, one.goodput, one.minGoodput, one.maxGoodput)),
    })),
  };
};

/** Neither one alone, nor so many that they only wait for a core. */
const shownStreams = 8;

const steady = ({ streams }: Recorded['steady']): Chart | undefined => {
  if (streams === undefined) return undefined;
  return {
    title: `${shownStreams} streams at once, by size of body`,
    description: `Requests or MiB per second by server and size of body, ${streams.trials} trials each. ${whiskers}`,
    groups: streams.cells
      .filter((cell) => cell.streams === shownStreams)
      .map(({ bytes }): BarGroup => {
        const factor = isSmall(bytes) ? 1 : bytes / 2 ** 20;
        return {
          title: `Bodies of ${bytesText(bytes)}`,
          unit: isSmall(bytes) ? 'requests/s' : 'MiB/s',
          bars: streams.summary
            .filter((one) => one.bytes === bytes && one.streams === shownStreams)
            .map((one) =>
              bar(one.variant, one.medianRate * factor, one.minRate * factor, one.maxRate * factor),
            ),
        };
      }),
  };
};

const download = ({ summary, rangeBytes, trials }: Recorded['download']): Chart | undefined => {
  const groups: BarGroup[] = [
    {
      title: `Random ranges of ${bytesText(rangeBytes)}`,
      unit: 'requests/s',
      bars: summary.flatMap(({ variant, medianRequests, minRequests = 0, maxRequests = 0 }) =>
        medianRequests === undefined ? [] : bar(variant, medianRequests, minRequests, maxRequests),
      ),
    },
    {
      title: 'One stream',
      unit: 'MiB/s',
      bars: summary.flatMap(({ variant, medianMiBs, minMiBs = 0, maxMiBs = 0 }) =>
        medianMiBs === undefined ? [] : bar(variant, medianMiBs, minMiBs, maxMiBs),
      ),
    },
  ].filter(({ bars }) => bars.length > 0);
  const description = `Requests and MiB per second by server, ${trials} trials each. ${whiskers}`;
  return groups.length === 0
    ? undefined
    : { title: 'Downloads of a file in memory, over loopback', description, groups };
};

const client = ({ summary, sizeMiB, trials }: Recorded['client']): Chart => ({
  title: `One upload of ${sizeMiB} MiB, by who sends it`,
  description: `Throughput by client, ${trials} trials each. ${whiskers}`,
  groups: [
    {
      title: 'Throughput',
      unit: 'MiB/s',
      bars: summary.map((one) => bar(one.variant, one.medianMiBs, one.minMiBs, one.maxMiBs)),
    },
  ],
});

type ChartOf = { readonly [Name in keyof Recorded]: (results: Recorded[Name]) => Chart | undefined };

export const charts: ChartOf = { upload, stores, s3, interruption, steady, download, client };
