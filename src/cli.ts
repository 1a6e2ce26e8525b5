#!/usr/bin/env node
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { systemCode } from './errors.ts';
import { listen } from './http/listen.ts';
import { uploadServer } from './server.ts';
import type { Store } from './store.ts';

const usage = `Usage: resumable-http serve [options]

  --port PORT             port to listen on; 0 picks a free one    (8080)
  --dir DIRECTORY         where uploads are kept                   (./uploads)
  --store fs|sqlite|memory
                          how they are kept                        (fs)
  --durability power|process
                          what "stored" survives: a power cut, or
                          the end of this process                  (power)
  --handshake location|etag
                          how a new upload is named                (location)
  --help                  print this
`;

const stopGraceMs = 5000;
const flushMs = 250;
const sweepMs = 60 * 60 * 1000;
/** What a process of another machine or boot had claimed is free after that. */
const leaseMs = 31_000;

class UsageError extends Error {}

const oneOf = <T extends string>(name: string, value: string, allowed: readonly T[]): T => {
  const found = allowed.find((item) => item === value);
  if (found === undefined) throw new UsageError(`--${name} must be one of: ${allowed.join(', ')}`);
  return found;
};

const parse = (args: string[]) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      port: { type: 'string', default: '8080' },
      dir: { type: 'string', default: './uploads' },
      store: { type: 'string', default: 'fs' },
      durability: { type: 'string', default: 'power' },
      handshake: { type: 'string', default: 'location' },
      help: { type: 'boolean', default: false },
    },
  });
  const port = Number(values.port);
  if (!/^\d{1,5}$/.test(values.port) || port > 65535) throw new UsageError('--port must be 0 to 65535');
  if (values.dir === '') throw new UsageError('--dir must name a directory');
  return {
    help: values.help,
    command: positionals.join(' '),
    port,
    dir: values.dir,
    store: oneOf('store', values.store, ['fs', 'sqlite', 'memory']),
    durability: oneOf('durability', values.durability, ['power', 'process']),
    handshake: oneOf('handshake', values.handshake, ['location', 'etag']),
  };
};

type Arguments = ReturnType<typeof parse>;

/** Each store is loaded only when it is the one. */
const openStore = async ({ store, dir, durability }: Arguments): Promise<Store> => {
  if (store === 'memory') return (await import('../stores/memory.ts')).memoryStore();
  if (store === 'sqlite')
    return (await import('../stores/sqlite.ts')).sqliteStore({ directory: dir, durability });
  return (await import('../stores/fs.ts')).fsStore(dir, { durability });
};

const serve = async (args: Arguments): Promise<void> => {
  const listener = uploadServer({ store: await openStore(args), handshake: args.handshake });
  const server = await listen(listener, { port: args.port });
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);

  const report = (error: unknown): void => console.error(error);
  const sweep = async (): Promise<void> => {
    const { unanswered } = await listener.expire();
    if (unanswered > 0) console.error(`${unanswered} uploads are complete and have not been answered`);
    const { held } = await listener.retryPending();
    timer = setTimeout(() => sweep().catch(report), held > 0 ? leaseMs : sweepMs);
  };
  let timer: NodeJS.Timeout | undefined;
  sweep().catch(report);

  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
  clearTimeout(timer);
  const closed = once(server.close(), 'close');
  server.closeIdleConnections();
  await listener.close({ graceMs: stopGraceMs });
  server.closeIdleConnections();
  // Answers that are on their way out get there; whoever keeps a connection open does not keep us.
  await Promise.race([closed, sleep(flushMs)]);
  // A handler that would not end in time must not keep the process: its upload is whole, and is retried at
  // start.
  process.exit(0);
};

const main = async (): Promise<void> => {
  const args = parse(process.argv.slice(2));
  if (args.help) process.stdout.write(usage);
  else if (args.command === 'serve') await serve(args);
  else
    throw new UsageError(args.command === '' ? 'a command is missing' : `unknown command: ${args.command}`);
};

main().catch((error: unknown) => {
  const wrong = error instanceof UsageError || systemCode(error)?.startsWith('ERR_PARSE_ARGS') === true;
  if (wrong) process.stderr.write(`${(error as Error).message}\n\n${usage}`);
  else console.error(error);
  process.exitCode = wrong ? 2 : 1;
});
