// @tus/server with its own file store, as its documentation sets it up. Not synced.
import { createServer } from 'node:http';
import { FileStore } from '@tus/file-store';
import { Server } from '@tus/server';
import { announce, directory, listenLoopback } from './support.js';

const tus = new Server({
  path: '/upload',
  datastore: new FileStore({ directory }),
  // The protocol's own answer is an empty 204; the count lets the harness check it as it checks the others.
  onUploadFinish: async (_req, upload) => ({ status_code: 200, body: String(upload.offset) }),
});

announce(await listenLoopback(createServer(tus.handle.bind(tus))));
