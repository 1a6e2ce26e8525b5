import { type Conditions, reportHead, section } from './lib/report.ts';
import { type MemoryResults, memorySummaries, memoryTable, memoryTargets } from './s3/memory-report.ts';
import {
  type RequestsResults,
  requestsSummaries,
  requestsTable,
  requestsTargets,
} from './s3/requests-report.ts';
import { type UploadResults, uploadSummaries, uploadTable, uploadTargets } from './s3/upload-report.ts';

/** Everything that a run has measured. A part that was not asked for is not there. */
export interface S3Results extends Conditions {
  /** Which S3 server it was, and where. */
  readonly server: string;
  readonly upload?: UploadResults;
  readonly memory?: MemoryResults;
  readonly requests?: RequestsResults;
}

/** The results with the figures of the report beside the raw trials of each part. */
export const withSummaries = ({ upload, memory, requests, ...conditions }: S3Results) => ({
  ...conditions,
  ...(upload && { upload: { summary: uploadSummaries(upload), ...upload } }),
  ...(memory && { memory: { summary: memorySummaries(memory), ...memory } }),
  ...(requests && { requests: requestsRecord(requests) }),
});

/** Without every single request: that would be most of the file. */
const requestsRecord = (results: RequestsResults) => {
  const { trials, cutBytes } = results;
  return { trials, cutBytes, summary: requestsSummaries(results) };
};

const uploadSection = (results: UploadResults): string[] => {
  const all = uploadSummaries(results);
  return section(
    `upload: one stream of ${results.sizeMiB} MiB`,
    uploadTable(all),
    [
      `${results.trials} trials each, interleaved, a fresh process and an empty bucket per trial. MiB/s and CPU (of the measured`,
      'process, user + system) are medians, spread is min–max, peak RSS is the highest of all trials. lib-storage',
      'makes the bytes in its own process: it receives nothing. The S3 server and the client share the cores',
      'with all of them. After each trial the object was read back and its SHA-256 compared.',
    ],
    uploadTargets(all),
  );
};

const memorySection = (results: MemoryResults): string[] => {
  const all = memorySummaries(results);
  const { uploads, sizeMiB, memoryBudget, trials } = results;
  return section(
    `memory: ${uploads} uploads of ${sizeMiB} MiB at once`,
    memoryTable(all),
    [
      `${trials} trials each, interleaved; ours with a memoryBudget of ${memoryBudget / 2 ** 20} MiB. RSS before is after one such upload, a`,
      'median; peak, growth and temporary files are the worst of all trials. Files in the server’s own',
      'temporary folder are told by the system as they are made; how many bytes they had at once is from a look every',
      '20 ms. What they occupy is page cache, which no RSS shows. MiB/s is of all uploads together.',
    ],
    memoryTargets(all, memoryBudget),
  );
};

const requestsSection = (results: RequestsResults): string[] => {
  const all = requestsSummaries(results);
  return section(
    'requests to S3 per upload',
    requestsTable(all),
    [
      `Each try counted in the S3 client of the server, until it is silent; ${results.trials} trials each, min–max, the operations of`,
      'the trial with the most. Every server process has served an upload before, but for what says otherwise. The',
      `cut is a reset by the client after ${results.cutBytes / 2 ** 20} MiB; the rest goes to a second process. Kept is what the client then`,
      'has not to send again. Question: the requests that a client causes which asks where the upload stands (where it',
      'does not, the first process was asked). Until read, until sent: what the request with the rest causes until its',
      'body is read, and until new bytes are on their way to S3; the latter includes reading back what was less than',
      'a part.',
    ],
    requestsTargets(all),
  );
};

export const s3Report = (results: S3Results): string => {
  const { upload, memory, requests } = results;
  return [
    ...reportHead('s3', results, [`S3: ${results.server}`]),
    ...(upload ? uploadSection(upload) : []),
    ...(memory ? memorySection(memory) : []),
    ...(requests ? requestsSection(requests) : []),
  ].join('\n');
};
