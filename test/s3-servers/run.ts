// Starts every S3 server that can be had here, runs a command with them, and stops them.
//
//     tsx test/s3-servers/run.ts [--only radosgw,moto] -- COMMAND…
//
// The command finds them in S3_TARGETS, a JSON array of { name, version, endpoint, accessKeyId, secretAccessKey, region },
// empty when none could be started; its status is the status of the whole. With S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY
// and S3_REGION set, that server is the only one and nothing is started.
//
// S3_DEBIAN_MIRROR and S3_DEBIAN_SUITES (sid,testing,bookworm) choose where the servers come from. They are kept in
// XDG_CACHE_HOME or the folder for temporary files; remove `resumable-http-s3-servers` there to take them anew.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { parseArgs } from 'node:util';
import { type S3Server, startMoto, startRadosgw } from './start.ts';
import { givenTarget, type S3Target } from './targets.ts';

const starters = new Map([
  ['radosgw', startRadosgw],
  ['moto', startMoto],
]);

// On the standard error, so that the command's own output can be piped.
const say = (line: string): void => console.error(`s3-servers: ${line}`);

const interruption = new AbortController();
let command: ChildProcess | undefined;
let received: NodeJS.Signals | undefined;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    received ??= signal;
    if (command === undefined) interruption.abort(new Error(`stopped by ${signal}`));
    // A Ctrl-C in a terminal has reached the command already.
    else if (signal !== 'SIGINT' || !process.stdin.isTTY) command.kill(signal);
  });
}

const start = async (names: readonly string[]): Promise<S3Server[]> => {
  const starts = names.map(async (name) => {
    const began = Date.now();
    try {
      const server = await starters.get(name)?.({ say, signal: interruption.signal });
      say(`${name}: ready after ${((Date.now() - began) / 1000).toFixed(1)} s`);
      return server;
    } catch (error) {
      if (!interruption.signal.aborted) say(`${name}: skipped, ${(error as Error).message}`);
      return undefined;
    }
  });
  return (await Promise.all(starts)).filter((server) => server !== undefined);
};

const runCommand = async (args: readonly string[], targets: readonly S3Target[]): Promise<number> => {
  const running = targets.map(({ name, version, endpoint }) => `${name} ${version} at ${endpoint}`);
  say(running.length > 0 ? `with ${running.join(', ')}` : 'with no server');
  const [program = '', ...rest] = args;
  command = spawn(program, rest, {
    stdio: 'inherit',
    env: { ...process.env, S3_TARGETS: JSON.stringify(targets) },
  });
  try {
    const [code, signal] = (await once(command, 'exit')) as [number | null, NodeJS.Signals | null];
    return code ?? 128 + constants.signals[signal ?? 'SIGKILL'];
  } catch (error) {
    say(`the command could not be started: ${(error as Error).message}`);
    return 127;
  }
};

const withServers = async (args: readonly string[], names: readonly string[]): Promise<number> => {
  const servers = await start(names);
  let status = 1;
  try {
    if (received === undefined) status = await runCommand(args, servers.map(asTarget));
    if (received !== undefined) status = 128 + constants.signals[received];
  } finally {
    for (const server of servers) {
      for (const how of server.ended) say(`${server.name}: ${how} while the command ran`);
      const failed = received === undefined && (status !== 0 || server.ended.length > 0);
      if (failed) console.error(await server.lastWords());
      await server.stop({ keepLogs: failed });
    }
  }
  return status;
};

const asTarget = (server: S3Target): S3Target => {
  const { name, version, endpoint, accessKeyId, secretAccessKey, region } = server;
  return { name, version, endpoint, accessKeyId, secretAccessKey, region };
};

const main = async (): Promise<number> => {
  const end = process.argv.indexOf('--');
  const args = end < 0 ? [] : process.argv.slice(end + 1);
  const { values } = parseArgs({
    args: process.argv.slice(2, end < 0 ? undefined : end),
    options: { only: { type: 'string', default: [...starters.keys()].join(',') } },
  });
  const names = values.only.split(',');
  const unknown = names.filter((name) => !starters.has(name));
  if (unknown.length > 0) throw new Error(`--only: there is no ${unknown.join(', ')}`);
  if (args.length === 0)
    throw new Error('usage: tsx test/s3-servers/run.ts [--only radosgw,moto] -- COMMAND…');
  const given = givenTarget();
  return given === undefined ? withServers(args, names) : runCommand(args, [given]);
};

process.exitCode = await main().catch((error: unknown) => {
  say((error as Error).message);
  return 2;
});
