// A server of files and uploads, as a process of its own:
//
//     node --import tsx file-server.ts FOLDER
//
// Gives out what is in `FOLDER/public`, with `?by=date` without entity tags, and as `/files/ID` what it was sent. Says
// `{ port }` to its parent.
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type Entity, fileEntity, listen, resumable, serve, uploadEntity } from '../../src/index.ts';
import { fsStore } from '../../stores/fs.ts';

const [folder = ''] = process.argv.slice(2);
const store = fsStore(join(folder, 'uploads'));

const file = async (url: URL): Promise<Entity | undefined> => {
  const entity = await fileEntity(join(folder, 'public'), url.pathname);
  const byDate = url.searchParams.get('by') === 'date';
  return entity !== undefined && byDate ? { ...entity, etag: undefined } : entity;
};

const listener = resumable({ store }, async (req, res) => {
  if (req.upload !== undefined) return res.writeHead(201, { Location: `/files/${req.upload.id}` }).end();
  const url = new URL(req.url ?? '/', 'http://localhost');
  const id = /^\/files\/([\w-]+)$/.exec(url.pathname)?.[1];
  return serve(req, res, id === undefined ? file(url) : uploadEntity(store, id));
});
const server = await listen(listener);
process.send?.({ port: (server.address() as AddressInfo).port });
process.on('disconnect', () => process.exit());
