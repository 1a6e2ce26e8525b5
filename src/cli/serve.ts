import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { uploadMetadata } from '../headers/upload-metadata.ts';
import { listen } from '../http/listen.ts';
import { withPage } from '../page/page.ts';
import { uploadServer } from '../server.ts';
import type { Command } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { type FrontPage, textPage, withFrontPage } from './front.ts';
import { interruptible } from './interrupts.ts';
import { programName } from './invocation.ts';
import { Output, outputHelp, outputOptions, type Streams } from './output.ts';
import { makeStore, placeName, readPlace, storeHelp, storeOptions } from './stores.ts';
import { UsageError } from './usage-error.ts';
import { oneOf, wholeNumber } from './values.ts';

const stopGraceMs = 5000;
const flushMs = 250;
const sweepMs = 60 * 60 * 1000;
/** What a process of another machine or boot had claimed is free after that. */
const leaseMs = 31_000;

const help = `Takes uploads at /upload and gives them back at /files/ID. An upload that is cut off, by the network or because this
server was killed, goes on where it was.

  --port PORT             port to listen on; 0 picks a free one    (8080)
  --host HOST             address to listen on; 0.0.0.0 is for all
                          who can reach this machine               (127.0.0.1)
${storeHelp('fs|sqlite|memory|s3')}  --durability power|process
                          what "stored" survives: a power cut, or
                          the end of this process                  (power)
  --handshake location|etag
                          how a new upload is named                (location)
${outputHelp}`;

const read = (args: string[]) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...storeOptions,
      ...outputOptions,
      port: { type: 'string', default: '8080' },
      host: { type: 'string', default: '127.0.0.1' },
      handshake: { type: 'string', default: 'location' },
    },
  });
  if (positionals.length > 0) throw new UsageError(`serve takes no ${positionals[0]}`);
  if (values.host === '') throw new UsageError('--host must be an address');
  return {
    ...readPlace(values),
    json: values.json,
    quiet: values.quiet,
    port: wholeNumber('port', values.port, 0, 65535),
    host: values.host,
    handshake: oneOf('handshake', values.handshake, ['location', 'etag']),
  };
};

/** Of a server that listens on all addresses, the one that works on this machine. */
const originOf = (host: string, { port }: AddressInfo): string => {
  const shown = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${shown.includes(':') ? `[${shown}]` : shown}:${port}`;
};

/** Asks what has arrived under a name of one's own, and sends the rest. */
const curlLine = (origin: string): string =>
  `f=film.mp4 u=${origin}/upload/$f; n=$(curl -si -X PUT -H 'Content-Range: bytes */*' "$u" | tr -d '\\r' | ` +
  `sed -n 's/^Range: bytes=0-//p'); curl -T "$f" -C $((\${n:--1}+1)) "$u"`;

const instructions = (origin: string): string[] => [
  `  ${programName()} upload film.mp4 ${origin}/upload`,
  'or with curl; the same line again goes on where it was cut off:',
  `  ${curlLine(origin)}`,
];

const run: Command['run'] = async (args, streams) => {
  const options = read(args);
  return interruptible(async (signal) => {
    const listener = uploadServer({
      store: await makeStore(options),
      handshake: options.handshake,
      metadata: uploadMetadata,
    });
    let page: FrontPage = textPage([]);
    const front = withPage(withFrontPage(listener, (req, res) => page(req, res)));
    const server = await listen(front, { port: options.port, host: options.host });
    const origin = originOf(options.host, server.address() as AddressInfo);
    page = textPage(['uploads that resume:', ...instructions(origin)]);
    tell(options, origin, streams);

    const report = (error: unknown): void => console.error(error);
    const sweep = async (): Promise<void> => {
      const { unanswered } = await listener.expire();
      if (unanswered > 0) console.error(`${unanswered} uploads are complete and have not been answered`);
      const { held } = await listener.retryPending();
      timer = setTimeout(() => sweep().catch(report), held > 0 ? leaseMs : sweepMs);
    };
    let timer: NodeJS.Timeout | undefined;
    sweep().catch(report);

    if (!signal.aborted) await once(signal, 'abort');
    clearTimeout(timer);
    const closed = once(server.close(), 'close');
    server.closeIdleConnections();
    await listener.close({ graceMs: stopGraceMs });
    server.closeIdleConnections();
    // Answers that are on their way out get there; whoever keeps a connection open does not keep us.
    await Promise.race([closed, sleep(flushMs)]);
    // A handler that would not end in time must not keep the process: its upload is whole, and is retried at
    // start.
    process.exit(exitCodes.done);
  });
};

const tell = (options: ReturnType<typeof read>, origin: string, streams: Streams): void => {
  const { json, quiet, host } = options;
  const inFolder = options.store === 'fs' || options.store === 'sqlite';
  const files = inFolder ? resolve(options.dir) : placeName(options);
  const output = new Output(options, streams);
  output.result(`listening on ${origin}`, { url: `${origin}/`, upload: `${origin}/upload`, files });
  if (!json && !quiet) {
    const lines = [`page: ${origin}/`, `files: ${files}`, 'to upload:', ...instructions(origin)];
    for (const line of lines) streams.stdout.write(`${line}\n`);
  }
  if (!/^(127\.|::1$|localhost$)/.test(host)) {
    output.note(`whoever can reach ${host} may upload here and fill the disk: there is no password`);
  }
};

export const serve: Command = {
  summary: 'take uploads and give them back',
  operands: '[options]',
  help,
  run,
};
