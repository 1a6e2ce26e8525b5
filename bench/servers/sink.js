// The ceiling: receives the body and drops it.
import { createServer } from 'node:http';
import { announce, listenLoopback } from './support.js';

const server = createServer((req, res) => {
  let received = 0;
  req.on('data', (chunk) => {
    received += chunk.length;
  });
  req.on('end', () => res.end(String(received)));
});

announce(await listenLoopback(server));
