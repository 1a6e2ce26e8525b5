import { parseArgs } from 'node:util';
import { hasExpired, isDueTombstone, isNeglected, type SweepCounts, sweepFilters } from '../engine/expiry.ts';
import { isUploadError } from '../errors.ts';
import { uploadServer } from '../server.ts';
import type { Store, StoredUpload } from '../store.ts';
import type { Command } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { Output, outputHelp, outputOptions } from './output.ts';
import { findStore, openS3, readPlace, storeHelp, storeOptions } from './stores.ts';
import { UsageError } from './usage-error.ts';
import { wholeNumber } from './values.ts';

const help = `Removes uploads that have expired and what is left of removed ones, as "serve" does every hour; of s3 also what processes
that died have left in the bucket. Prints how much.

${storeHelp()}  --expires-after-ms N    how long an open or refused upload stays
                          without progress, and what is left of
                          a removed one                            (604800000: a week)
  --older-than-ms N       of s3: leftovers that are younger stay   (86400000: a day)
  --dry-run               only print it
${outputHelp}`;

const most = 1e15 - 1;

const read = (args: string[]) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...storeOptions,
      ...outputOptions,
      'expires-after-ms': { type: 'string', default: String(7 * 24 * 60 * 60 * 1000) },
      'older-than-ms': { type: 'string', default: String(24 * 60 * 60 * 1000) },
      'dry-run': { type: 'boolean', default: false },
    },
  });
  if (positionals.length > 0) throw new UsageError(`gc takes no ${positionals[0]}`);
  const expiresAfterMs = wholeNumber('expires-after-ms', values['expires-after-ms'], 0, most);
  return {
    ...readPlace(values),
    json: values.json,
    quiet: values.quiet,
    expiry: { expiresAfterMs, tombstoneMs: expiresAfterMs },
    olderThanMs: wholeNumber('older-than-ms', values['older-than-ms'], 0, most),
    dryRun: values['dry-run'],
  };
};

type Expiry = ReturnType<typeof read>['expiry'];

/** What a sweep would do, by the rules of the sweep. */
const forecast = async (store: Store, expiry: Expiry): Promise<SweepCounts> => {
  const counts = { expired: 0, purged: 0, unanswered: 0 };
  const now = Date.now();
  const kindOf = (stored: StoredUpload): keyof SweepCounts | undefined => {
    if (isDueTombstone(stored, expiry, now)) return 'purged';
    if (hasExpired(stored, expiry, now)) return 'expired';
    return isNeglected(stored, expiry, now) ? 'unanswered' : undefined;
  };
  for await (const id of store.list(sweepFilters(expiry, now))) {
    const stored = await store.load(id).catch((error: unknown) => {
      if (!isUploadError(error, 'gone')) throw error;
      return undefined; // a sweep leaves it alone
    });
    const kind = stored && kindOf(stored);
    if (kind !== undefined) counts[kind]++;
  }
  return counts;
};

const sweep = async (store: Store, expiry: Expiry): Promise<SweepCounts> => {
  const uploads = uploadServer({ store, ...expiry });
  try {
    return await uploads.expire();
  } finally {
    await uploads.close({ graceMs: 0 });
  }
};

const run: Command['run'] = async (args, streams) => {
  const options = read(args);
  const { expiry, dryRun } = options;
  const output = new Output(options, streams);
  const verb = dryRun ? 'would remove' : 'removed';
  const store = await findStore(options);
  const { unanswered, ...counts } = await (dryRun ? forecast : sweep)(store, expiry);
  if (dryRun) await store.close();
  const { expired, purged } = counts;
  output.result(`${verb} ${expired} expired uploads, ${purged} tombstones`, {
    ...counts,
    unanswered,
    dryRun,
  });
  if (unanswered > 0) output.note(`${unanswered} uploads are complete and have not been answered`);
  if (options.store === 's3') {
    const left = await (await openS3(options)).gc(options);
    const { multipartUploads, fragments, records, contents, markers, bytes } = left;
    const what =
      `${multipartUploads} multipart uploads, ${fragments} fragments, ${records} record versions, ` +
      `${contents} contents, ${markers} markers: ${bytes} bytes`;
    output.result(`${verb} ${what}`, { ...left, dryRun });
  }
  return exitCodes.done;
};

export const gc: Command = { summary: 'remove what has expired', operands: '[options]', help, run };
