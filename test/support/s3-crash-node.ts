// A server process that waits to be told which bucket to serve uploads from, and may be told another when the upload
// there has come to its end:
//
//     node --import tsx s3-crash-node.ts
//
// Says `{ port }` to its parent when it listens, and `{ entered }` whenever its handler is. `/upload/NAME` names the
// upload; `/upload` gives it a session.
import { createHash } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { S3Client } from '@aws-sdk/client-s3';
import { type Handler, listen, resumable } from '../../src/index.ts';
import { s3Store } from '../../stores/s3.ts';
import type { CrashSettings } from './s3-crash-nodes.ts';

const nameOf = ({ url = '' }: { readonly url?: string | undefined }): string | undefined =>
  /^\/upload\/([\w-]+)/.exec(url)?.[1];

const handler: Handler = async (req, res) => {
  if (req.upload === undefined) return res.writeHead(404).end();
  const { id, attempt } = req.upload;
  process.send?.({ entered: { id, attempt } });
  const sum = createHash('sha256');
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    sum.update(chunk);
    size += chunk.byteLength;
  }
  res.writeHead(201, { 'Content-Type': 'application/json' });
  return res.end(JSON.stringify({ id, attempt, size, sha256: sum.digest('hex') }));
};

/** Resolves with what ends it. */
const serve = async ({ client: config, ...settings }: CrashSettings): Promise<() => Promise<void>> => {
  // A request that is repeated would be another call, whose number no run could tell beforehand.
  const client = new S3Client({ ...config, maxAttempts: 1 });
  const listener = resumable(
    {
      store: s3Store({ client, ...settings }),
      identify: nameOf,
      completeWaitMs: 300,
      // What comes in one batch would be one object, made with the upload.
      batchBytes: 32 * 1024,
      // What fails on purpose is the bucket, and that only while this process dies of it.
      onError: (error) => console.error(error),
    },
    handler,
  );
  const server = await listen(listener);
  process.send?.({ port: (server.address() as AddressInfo).port });
  return async () => {
    server.close();
    server.closeAllConnections();
    await listener.close({ graceMs: 0 });
    client.destroy();
  };
};

let serving: Promise<() => Promise<void>> | undefined;

process.on('message', ({ serve: settings }: { readonly serve: CrashSettings }) => {
  const before = serving;
  serving = (async () => {
    await (await before)?.();
    return serve(settings);
  })();
});
process.on('disconnect', () => process.exit());
process.send?.({ ready: true });
