#!/usr/bin/env node
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { S3Store } from '../stores/s3.ts';
import { systemCode } from './errors.ts';
import { listen } from './http/listen.ts';
import { uploadServer } from './server.ts';
import type { Store } from './store.ts';

const usage = `Usage: resumable-http serve [options]
       resumable-http gc --store s3 --bucket BUCKET [options]

  --port PORT             port to listen on; 0 picks a free one    (8080)
  --dir DIRECTORY         where uploads are kept                   (./uploads)
  --store fs|sqlite|memory|s3
                          how they are kept                        (fs)
  --bucket BUCKET         of s3: where they are kept; region, endpoint
                          and credentials come from AWS_REGION,
                          AWS_ENDPOINT_URL and the like
  --prefix PREFIX         of s3: how all their keys begin          (uploads/)
  --durability power|process
                          what "stored" survives: a power cut, or
                          the end of this process                  (power)
  --handshake location|etag
                          how a new upload is named                (location)
  --help                  print this

gc removes what processes that died have left in a bucket, and prints how much:

  --older-than-ms N       what is younger stays                    (86400000: a day)
  --dry-run               only print it
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
      bucket: { type: 'string', default: '' },
      prefix: { type: 'string', default: 'uploads/' },
      'older-than-ms': { type: 'string', default: String(24 * 60 * 60 * 1000) },
      'dry-run': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const port = Number(values.port);
  if (!/^\d{1,5}$/.test(values.port) || port > 65535) throw new UsageError('--port must be 0 to 65535');
  if (values.dir === '') throw new UsageError('--dir must name a directory');
  const olderThanMs = values['older-than-ms'];
  if (!/^\d{1,15}$/.test(olderThanMs)) throw new UsageError('--older-than-ms must be a number');
  if (values.store === 's3' && values.bucket === '') throw new UsageError('--bucket is missing');
  return {
    help: values.help,
    command: positionals.join(' '),
    port,
    dir: values.dir,
    store: oneOf('store', values.store, ['fs', 'sqlite', 'memory', 's3']),
    bucket: values.bucket,
    prefix: values.prefix,
    olderThanMs: Number(olderThanMs),
    dryRun: values['dry-run'],
    durability: oneOf('durability', values.durability, ['power', 'process']),
    handshake: oneOf('handshake', values.handshake, ['location', 'etag']),
  };
};

type Arguments = ReturnType<typeof parse>;

const openS3 = async ({ bucket, prefix }: Arguments): Promise<S3Store> => {
  const { clientFromEnvironment } = await import('../stores/s3/environment.ts').catch((error: unknown) => {
    if (systemCode(error) !== 'ERR_MODULE_NOT_FOUND' || !String(error).includes('@aws-sdk/')) throw error;
    throw new UsageError('--store s3 needs a package: npm install @aws-sdk/client-s3');
  });
  const { s3Store } = await import('../stores/s3.ts');
  return s3Store({ client: clientFromEnvironment(), bucket, prefix });
};

/** Each store is loaded only when it is the one. */
const openStore = async (args: Arguments): Promise<Store> => {
  const { store, dir, durability } = args;
  if (store === 's3') return openS3(args);
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

const gc = async (args: Arguments): Promise<void> => {
  if (args.store !== 's3') throw new UsageError('gc is only for --store s3');
  const { multipartUploads, fragments, records, contents, markers, bytes } = await (await openS3(args)).gc(
    args,
  );
  const what =
    `${multipartUploads} multipart uploads, ${fragments} fragments, ${records} record versions, ` +
    `${contents} contents, ${markers} markers: ${bytes} bytes`;
  console.log(`${args.dryRun ? 'would remove' : 'removed'} ${what}`);
};

const main = async (): Promise<void> => {
  const args = parse(process.argv.slice(2));
  if (args.help) process.stdout.write(usage);
  else if (args.command === 'serve') await serve(args);
  else if (args.command === 'gc') await gc(args);
  else
    throw new UsageError(args.command === '' ? 'a command is missing' : `unknown command: ${args.command}`);
};

main().catch((error: unknown) => {
  const wrong = error instanceof UsageError || systemCode(error)?.startsWith('ERR_PARSE_ARGS') === true;
  if (wrong) process.stderr.write(`${(error as Error).message}\n\n${usage}`);
  else console.error(error);
  process.exitCode = wrong ? 2 : 1;
});
