// @tus/server with its own S3 store, as its documentation sets it up: parts of about 8 MiB, up to 60 under way.
import { createServer } from 'node:http';
import { S3Store } from '@tus/s3-store';
import { Server } from '@tus/server';
import { bucket, clientOptions, countRequests } from './s3.js';
import { announce, listenLoopback } from './support.js';

const datastore = new S3Store({ partSize: 8 * 2 ** 20, s3ClientConfig: { bucket, ...clientOptions } });
const tus = new Server({
  path: '/upload',
  datastore,
  // The protocol's own answer is an empty 204; the count lets the harness check it as it checks the others.
  onUploadFinish: async (_req, upload) => ({ status_code: 200, body: String(upload.size) }),
});

const server = await listenLoopback(createServer(tus.handle.bind(tus)));
announce(server, countRequests(datastore.client, server));
