import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { download as fetchFile } from '../client/index.ts';
import { UploadError } from '../errors.ts';
import type { Command } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { formatBytes } from './format.ts';
import { Interrupted, interruptible } from './interrupts.ts';
import { commandLine } from './invocation.ts';
import { Output, outputHelp, outputOptions } from './output.ts';
import { problemOf } from './problems.ts';
import { proposedName } from './proposed-name.ts';
import { assertFolder, inTheWay, isFolder, isKept, targetIn } from './target.ts';
import { readTransfer, transferOptions } from './transfer.ts';
import { UsageError } from './usage-error.ts';
import { httpUrl } from './values.ts';

const help = `Fetches a file, into FILE, or into the folder FILE under the name that the server or the URL gives it. Until it is whole
it is FILE.partial, and FILE.partial.json says what is there: the same command goes on with it. Prints where it is.

  --parallel N            parts that are fetched at once           (1)
  --force                 overwrite what is there
  --header 'Name: value'  sent with every request; may be repeated
  --retry-for SECONDS     how long a server may be gone            (300)
${outputHelp}`;

const read = (args: string[]) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...outputOptions,
      ...transferOptions,
      force: { type: 'boolean', default: false },
    },
  });
  const [url, file, ...more] = positionals;
  if (url === undefined) throw new UsageError('download needs a URL');
  if (more.length > 0) throw new UsageError('download takes one URL and one FILE');
  return {
    json: values.json,
    quiet: values.quiet,
    force: values.force,
    url: httpUrl(url),
    file: file === '' ? undefined : file,
    ...readTransfer(values),
  };
};

const run: Command['run'] = async (args, streams) => {
  const options = read(args);
  const { url, file = '.', headers, parallel, retryFor } = options;
  const output = new Output(options, streams);
  let target = file;

  const work = async (signal: AbortSignal): Promise<number> => {
    if (await isFolder(file)) target = targetIn(file, await proposedName(url, { headers, signal, retryFor }));
    await assertFolder(target);
    const obstacle = options.force ? undefined : await inTheWay(target, url);
    if (obstacle !== undefined) {
      output.problem(obstacle, { file: target });
      return exitCodes.failed;
    }
    const { path, length, verified, attempts } = await fetchFile(url, target, {
      signal,
      headers,
      parallel,
      overwrite: options.force,
      retry: { maxCount: Number.POSITIVE_INFINITY, maxTimeMs: retryFor * 1000, maxMs: 5_000 },
      onProgress: ({ received, total, rate, etaMs }) => {
        output.progress({
          file: target,
          label: basename(target),
          state: 'receiving',
          done: received,
          total,
          rate,
          etaMs,
        });
      },
    }).result;
    output.note(`${formatBytes(length)}${verified === undefined ? '' : `, ${verified} as the server says`}`);
    output.result(path, { file: path, length, verified: verified ?? null, attempts });
    return exitCodes.done;
  };

  try {
    return await interruptible(work);
  } catch (error) {
    const problem = problemOf(error, { task: 'download', url: url.href, path: target, retryFor });
    if (problem === undefined) throw error;
    const hints = [...problem.hints];
    if (await isKept(target))
      hints.push(`what has arrived is kept; to go on: ${commandLine('download', args)}`);
    const status = error instanceof UploadError ? error.status : undefined;
    output.problem({ ...problem, hints }, { file: target, status });
    return error instanceof Interrupted ? exitCodes.interrupted : exitCodes.failed;
  }
};

export const download: Command = { summary: 'fetch a file', operands: '[options] URL [FILE]', help, run };
