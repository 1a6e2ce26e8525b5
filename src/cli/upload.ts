import { stat } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { UploadFailedError } from '../client/index.ts';
import { isUploadError } from '../errors.ts';
import type { Command } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { Interrupted, interruptible } from './interrupts.ts';
import { commandLine } from './invocation.ts';
import { Output, outputHelp, outputOptions } from './output.ts';
import { type Circumstances, type Problem, problemOf } from './problems.ts';
import { Sending } from './sending.ts';
import { readTransfer, transferOptions } from './transfer.ts';
import { UsageError } from './usage-error.ts';
import { byteCount, httpUrl } from './values.ts';

const help = `Sends files, one after the other, each as an upload of its own. What is cut off goes on where it was, at once or
with the same command later; of a file that has changed since, a new upload begins. "-" is standard input,
which no later command can go on with. Prints the status and the Location of each answer.

  --parallel N            connections that bring parts of a file at
                          once                                     (1)
  --max-request BYTES     the most one request brings: 64K, 100M   (no limit)
  --header 'Name: value'  sent with every request; may be repeated
  --name NAME             what the server is told the file is called
                          (its own name)
  --retry-for SECONDS     how long a server may be gone            (300)
${outputHelp}
Where an upload is, is kept in $XDG_STATE_HOME/resumable-http (~/.local/state) until it is done.
`;

const read = (args: string[]) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...outputOptions,
      ...transferOptions,
      'max-request': { type: 'string' },
      name: { type: 'string' },
    },
  });
  const last = positionals.at(-1);
  if (last === undefined) throw new UsageError('upload needs a FILE and a URL');
  const files = positionals.slice(0, -1);
  const url = httpUrl(last);
  if (files.length === 0) throw new UsageError('upload needs a FILE before the URL');
  if (values.name !== undefined && files.length > 1) throw new UsageError('--name is for one file');
  if (files.filter((file) => file === '-').length > 1) throw new UsageError('"-" can be read only once');
  const maxRequest = values['max-request'];
  return {
    json: values.json,
    quiet: values.quiet,
    files,
    url,
    ...readTransfer(values),
    maxRequestBytes: maxRequest === undefined ? undefined : byteCount('max-request', maxRequest),
    name: values.name,
  };
};

const run: Command['run'] = async (args, streams) => {
  const options = read(args);
  const { files, url, retryFor } = options;
  const output = new Output(options, streams);
  const goOn = commandLine('upload', args);

  const fail = (error: unknown, file: string, hints: readonly string[] = []): void => {
    const circumstances: Circumstances = { task: 'upload', url: url.href, path: file, retryFor };
    const problem = problemOf(error, circumstances);
    if (problem === undefined) throw error;
    const status = error instanceof UploadFailedError ? error.status : undefined;
    output.problem({ ...problem, hints: [...problem.hints, ...hints] }, { file, status });
  };

  // Before the first byte: nobody wants to learn of a misspelt name after an hour.
  const isThere = await Promise.all(
    files.map(async (file) => {
      if (file === '-') return true;
      return stat(file).then(
        (found) => {
          if (!found.isFile()) output.problem(notAFile(file), { file });
          return found.isFile();
        },
        (error: unknown) => {
          fail(error, file);
          return false;
        },
      );
    }),
  );
  if (isThere.includes(false)) return exitCodes.failed;

  return interruptible(async (signal) => {
    let code: number = exitCodes.done;
    for (const file of files) {
      let sending: Sending | undefined;
      try {
        sending = await Sending.of(options, output, signal, file);
        await sending.run();
      } catch (error) {
        await sending?.settle(error);
        const hints = sending?.isKept ? [`what has arrived is kept; to go on: ${goOn}`] : [];
        fail(error, file, hints);
        if (error instanceof Interrupted) return exitCodes.interrupted;
        code = exitCodes.failed;
        // Of a server that is gone the next file would learn no more.
        if (isUploadError(error, 'interrupted')) break;
      }
    }
    return code;
  });
};

const notAFile = (file: string): Problem => ({
  code: 'invalid_argument',
  message: `${file} is not a file`,
  hints: ['a folder is sent as an archive: tar -c FOLDER | resumable-http upload - URL --name folder.tar'],
});

export const upload: Command = { summary: 'send files', operands: '[options] FILE… URL', help, run };
