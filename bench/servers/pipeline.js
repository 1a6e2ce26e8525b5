// What one writes by hand: the body piped into a file. Not resumable, not synced.
import { createWriteStream } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { announce, directory, listenLoopback } from './support.js';

let count = 0;

const server = createServer(async (req, res) => {
  const file = createWriteStream(join(directory, `upload-${count++}`));
  try {
    await pipeline(req, file);
    res.end(String(file.bytesWritten));
  } catch (error) {
    console.error(error);
    res.writeHead(500).end();
  }
});

announce(await listenLoopback(server));
