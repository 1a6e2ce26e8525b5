// One of several servers over one bucket, as a process of its own:
//
//     node --import tsx s3-node.ts SETTINGS
//
// Says `{ port }` to its parent, and `{ entered }` whenever its handler is. An upload is `PUT /upload/NAME`; with
// `?how=hang` the handler never comes back from its first attempt.
import { createHash } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { S3Client } from '@aws-sdk/client-s3';
import { type Handler, listen, resumable } from '../../src/index.ts';
import { s3Store } from '../../stores/s3.ts';
import type { NodeSettings } from './s3-nodes.ts';

const { client, ...settings } = JSON.parse(process.argv[2] ?? '{}') as NodeSettings;

const nameOf = ({ url = '' }: { readonly url?: string | undefined }): string | undefined =>
  /^\/upload\/([\w-]+)/.exec(url)?.[1];

const handler: Handler = async (req, res) => {
  if (req.upload === undefined) return res.writeHead(404).end();
  const { id, attempt } = req.upload;
  process.send?.({ entered: { id, name: nameOf(req), attempt } });
  const sum = createHash('sha256');
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    sum.update(chunk);
    size += chunk.byteLength;
  }
  if (attempt === 1 && req.url?.endsWith('?how=hang')) return await new Promise(() => {});
  res.writeHead(201, { 'Content-Type': 'application/json' });
  return res.end(JSON.stringify({ id, attempt, size, sha256: sum.digest('hex') }));
};

const listener = resumable(
  {
    store: s3Store({ client: new S3Client(client), ...settings }),
    identify: nameOf,
    // Soon enough that some who ask are told to come back.
    completeWaitMs: 500,
    checkpointPushMs: 50,
    onError: (error) => console.error(error),
  },
  handler,
);
const server = await listen(listener);
process.send?.({ port: (server.address() as AddressInfo).port });
process.on('disconnect', () => process.exit());
