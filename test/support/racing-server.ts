// One of several servers over one store, as a process of its own:
//
//     node --import tsx racing-server.ts STORE DIRECTORY
//
// For s3 the directory is the JSON of what its store is opened with.
//
// Says `{ port }` to its parent, and `{ entered }` whenever its handler is. What the handler does on its first
// attempt the URL says: `?how=answer`, `refuse` (422), `throw`, `fail` (500), or `hang` until it is killed.
import { createHash, randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { S3Client } from '@aws-sdk/client-s3';
import { type Handler, listen, resumable } from '../../src/index.ts';
import type { Store } from '../../src/store.ts';
import { fsStore } from '../../stores/fs.ts';
import { memoryStore } from '../../stores/memory.ts';
import { s3Store } from '../../stores/s3.ts';
import { sqliteStore } from '../../stores/sqlite.ts';
import type { Entered } from './race.ts';
import type { NodeSettings } from './s3-nodes.ts';

const [kind = '', directory = ''] = process.argv.slice(2);

const onPurpose = new Error('on purpose');

const openStore = (): Store => {
  if (kind === 'fs') return fsStore(directory);
  if (kind === 's3') {
    const { client, ...settings } = JSON.parse(directory) as NodeSettings;
    return s3Store({ client: new S3Client(client), ...settings });
  }
  return kind === 'sqlite' ? sqliteStore({ directory }) : memoryStore();
};

const handler: Handler = async (req, res) => {
  if (req.upload === undefined) return res.writeHead(404).end();
  const { id, attempt } = req.upload;
  const how = new URL(req.url ?? '/', 'http://localhost').searchParams.get('how');
  process.send?.({ entered: { id, attempt } satisfies Entered });
  const sum = createHash('sha256');
  for await (const chunk of req as AsyncIterable<Buffer>) sum.update(chunk);
  if (attempt === 1 && how === 'throw') throw onPurpose;
  if (attempt === 1 && how === 'fail') return res.writeHead(500).end('later');
  if (attempt === 1 && how === 'hang') return await new Promise(() => {});
  res.writeHead(how === 'refuse' ? 422 : 201, { 'Content-Type': 'application/json' });
  // No two runs of the handler give the same answer.
  return res.end(JSON.stringify({ id, attempt, sha256: sum.digest('hex'), nonce: randomUUID() }));
};

const listener = resumable(
  {
    store: openStore(),
    // Soon enough that most who ask are told to come back.
    completeWaitMs: 100,
    onError: (error) => {
      if ((error as Error).cause !== onPurpose) console.error(error);
    },
  },
  handler,
);
const server = await listen(listener);
process.send?.({ port: (server.address() as AddressInfo).port });
process.on('disconnect', () => process.exit());
