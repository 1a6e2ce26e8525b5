/** How this program is run again: npx, or by its name. */
export const programName = (env: NodeJS.ProcessEnv = process.env): string =>
  env.npm_command === 'exec' ? 'npx resumable-http' : 'resumable-http';

const plain = /^[\w@%+=:,./-]+$/;

const quoted = (text: string): string => (plain.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Not for a log, or a screen that is shared. */
const secret = /^[\w-]*(authorization|cookie|token|key|secret|password)[\w-]*:/i;

/** The command line to copy, but for the values of headers that are nobody else's business. */
export const commandLine = (command: string, args: readonly string[]): string => {
  const shown = args.map((arg) => {
    const field = arg.startsWith('--header=') ? arg.slice('--header='.length) : arg;
    return secret.test(field) ? `${arg.slice(0, arg.indexOf(':'))}: …` : arg;
  });
  return [programName(), command, ...shown.map(quoted)].join(' ');
};
