import { parseArgs } from 'node:util';
import { isUploadError } from '../errors.ts';
import { uploadServer } from '../server.ts';
import type { Command } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { Output, outputHelp, outputOptions } from './output.ts';
import { findStore, readPlace, storeHelp, storeOptions } from './stores.ts';
import { UsageError } from './usage-error.ts';

const help = `Removes uploads, finished or not, without asking. Their ids are in what "ls" prints, and in the URL of each file. The
exit code is 1 when one of them was not there.

${storeHelp()}${outputHelp}`;

/** The form of an id: anything else is none, and must not get near a path. */
const idForm = /^[A-Za-z0-9_-]{16,64}$/;

const run: Command['run'] = async (args, streams) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { ...storeOptions, ...outputOptions },
  });
  if (positionals.length === 0) throw new UsageError('rm needs an ID');
  const output = new Output(values, streams);
  const uploads = uploadServer({ store: await findStore(readPlace(values)) });
  let code: number = exitCodes.done;
  try {
    for (const id of positionals) {
      const why = idForm.test(id) ? await remove(uploads, id) : 'not_found';
      if (why === undefined) output.result(`removed ${id}`, { id });
      else {
        code = exitCodes.failed;
        output.problem({ code: why, message: `${id}: ${reasons[why]}`, hints: [] }, { id });
      }
    }
  } finally {
    await uploads.close({ graceMs: 0 });
  }
  return code;
};

const reasons = {
  not_found: 'no such upload',
  gone: 'was removed before',
  complete: 'its handler is at work; try again when it has answered',
} as const;

/** Why it could not be removed. */
const remove = async (
  uploads: ReturnType<typeof uploadServer>,
  id: string,
): Promise<keyof typeof reasons | undefined> => {
  try {
    await uploads.remove(id);
    return undefined;
  } catch (error) {
    if (isUploadError(error, 'not_found')) return 'not_found';
    if (isUploadError(error, 'gone')) return 'gone';
    if (isUploadError(error, 'complete')) return 'complete';
    throw error;
  }
};

export const rm: Command = { summary: 'remove uploads', operands: '[options] ID…', help, run };
