// `@fastify/send`, by itself, as its documentation sets it up.
import { createServer } from 'node:http';
import send from '@fastify/send';
import { announce, directory, listenLoopback } from './support.js';

const server = createServer(async (req, res) => {
  const { statusCode, headers, stream } = await send(req, req.url, { root: directory });
  res.writeHead(statusCode, headers);
  stream.pipe(res);
});

announce(await listenLoopback(server));
