// What one writes by hand for small uploads: the body collected, and written to a file of its own. Not
// resumable, not synced.
import { writeFile } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { announce, directory, listenLoopback } from './support.js';

let count = 0;

const server = createServer((req, res) => {
  const chunks = [];
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => {
    const body = Buffer.concat(chunks);
    writeFile(join(directory, `upload-${count++}`), body, (error) => {
      if (!error) return res.end(String(body.length));
      console.error(error);
      res.writeHead(500).end();
    });
  });
});

announce(await listenLoopback(server));
