import type { Command } from './command.ts';
import { download } from './download.ts';
import { exitCodes, exitCodesHelp } from './exit-codes.ts';
import { gc } from './gc.ts';
import { ls } from './ls.ts';
import { Output, type Streams } from './output.ts';
import { problemOf } from './problems.ts';
import { rm } from './rm.ts';
import { serve } from './serve.ts';
import { upload } from './upload.ts';
import { UsageError, usageProblem } from './usage-error.ts';
import { packageVersion } from './version.ts';

const commands = new Map<string, Command>(Object.entries({ serve, upload, download, ls, rm, gc }));

const name = 'resumable-http';

const programHelp = (): string => {
  const lines = [...commands].map(([word, { summary }]) => `  ${word.padEnd(10)}${summary}`);
  return `Usage: ${name} COMMAND …

Uploads and downloads that go on where they were cut off.

${lines.join('\n')}

  ${name} COMMAND --help    says more about each
  ${name} --version

${exitCodesHelp}`;
};

const commandHelp = (word: string, { operands, help }: Command): string =>
  `Usage: ${name} ${word} ${operands}\n\n${help}\n${exitCodesHelp}`;

/** Whether an option is given, rather than a file of that name behind `--`. */
const asks = (args: readonly string[], ...options: readonly string[]): boolean => {
  const end = args.indexOf('--');
  return args.slice(0, end === -1 ? undefined : end).some((arg) => options.includes(arg));
};

const usage = (word: string | undefined): string => {
  const command = word === undefined ? undefined : commands.get(word);
  const line = command === undefined ? 'COMMAND …' : `${word} ${command.operands}`;
  return `Usage: ${name} ${line} (${command === undefined ? '' : `${word} `}--help says more)`;
};

const perform = async (args: string[], streams: Streams): Promise<number> => {
  const [word, ...rest] = args;
  if (word === '--version' || word === '-V') {
    streams.stdout.write(`${await packageVersion()}\n`);
    return exitCodes.done;
  }
  const isHelp = word === '--help' || word === '-h' || word === 'help';
  const command = commands.get((isHelp ? rest[0] : word) ?? '');
  if (command !== undefined) {
    const wantsHelp = isHelp || asks(rest, '--help', '-h');
    if (!wantsHelp) return command.run(rest, streams);
    streams.stdout.write(commandHelp((isHelp ? rest[0] : word) ?? '', command));
    return exitCodes.done;
  }
  if (isHelp && rest.length === 0) {
    streams.stdout.write(programHelp());
    return exitCodes.done;
  }
  if (word === undefined) throw new UsageError('a command is missing');
  const unknown = isHelp ? rest[0] : word;
  throw new UsageError(`unknown ${unknown?.startsWith('-') ? 'option' : 'command'}: ${unknown}`);
};

/** The program. Resolves with its exit code; whatever went wrong has been said. */
export const main = async (args: string[], streams: Streams): Promise<number> => {
  try {
    return await perform(args, streams);
  } catch (error) {
    const wrong = usageProblem(error);
    if (wrong !== undefined) {
      streams.stderr.write(`${wrong}\n${usage(args[0])}\n`);
      return exitCodes.usage;
    }
    const problem = problemOf(error);
    if (problem === undefined) throw error; // a mistake of the program: its stack is wanted
    new Output({ json: asks(args, '--json'), quiet: true }, streams).problem(problem);
    return exitCodes.failed;
  }
};
