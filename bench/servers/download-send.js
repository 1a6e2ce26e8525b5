// `send`, the file server of Express, as its documentation sets it up.
import { createServer } from 'node:http';
import send from 'send';
import { announce, directory, listenLoopback } from './support.js';

const server = createServer((req, res) => {
  send(req, req.url, { root: directory }).pipe(res);
});

announce(await listenLoopback(server));
