// This library, from the build output: what a user installs.
import { createServer } from 'node:http';
import { fileEntity, serve } from '../../dist/src/index.js';
import { announce, directory, listenLoopback } from './support.js';

const server = createServer(async (req, res) => {
  await serve(req, res, fileEntity(directory, req.url));
});

announce(await listenLoopback(server));
