// What most sites do instead of resuming, in one server. A POST without Content-Range is a whole file: it is piped to
// a file, which gets its name when all of it is there. With one it is a chunk, and is written when all of it is
// there. Not synced.
import { createWriteStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { announce, directory, listenLoopback } from './support.js';

let count = 0;

const whole = async (req, path) => {
  const temporary = join(directory, `.temporary-${count++}`);
  try {
    await pipeline(req, createWriteStream(temporary));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
};

const chunk = async (req, path, start) => {
  const parts = [];
  for await (const part of req) parts.push(part);
  const file = await open(path, start === 0 ? 'w' : 'r+');
  try {
    await file.writev(parts, start);
  } finally {
    await file.close();
  }
};

const take = (req) => {
  const path = join(directory, basename(req.url));
  const range = /^bytes (\d+)-/.exec(req.headers['content-range'] ?? '');
  return range === null ? whole(req, path) : chunk(req, path, Number(range[1]));
};

const server = createServer(async (req, res) => {
  try {
    await take(req);
    res.end();
  } catch (error) {
    if (!req.complete) return; // cut off: there is nobody to tell
    console.error(error);
    res.writeHead(500).end();
  }
});

announce(await listenLoopback(server));
