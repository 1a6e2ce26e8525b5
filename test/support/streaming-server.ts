// One of several servers in stream mode over one store, as a process of its own:
//
//     node --import tsx streaming-server.ts STORE DIRECTORY
//
// Says to its parent what `Told` lists. What the handler does the URL says: `?pace=5` waits so many milliseconds after
// each chunk, `?how=hang` never answers on its first attempt.
import { createHash, randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { listen, resumable, type StreamHandler } from '../../src/index.ts';
import type { Range } from '../../src/intervals.ts';
import { fsStore } from '../../stores/fs.ts';
import { sqliteStore } from '../../stores/sqlite.ts';
import type { Answer, Told } from './streaming.ts';

const [kind = '', directory = ''] = process.argv.slice(2);

const tell = (told: Told): void => void process.send?.(told);

const bytesOf = (ranges: readonly Range[]): number =>
  ranges.reduce((sum, { start, end }) => sum + end - start, 0);

const handler: StreamHandler = async (req, res) => {
  if (req.upload === undefined) return res.writeHead(404).end();
  const { id, attempt, received } = req.upload;
  const wishes = new URL(req.url ?? '/', 'http://localhost').searchParams;
  const paceMs = Number(wishes.get('pace') ?? 0);
  tell({ entered: { id, attempt, stored: bytesOf(received) } });
  const sum = createHash('sha256');
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    sum.update(chunk);
    size += chunk.byteLength;
    tell({ read: size });
    if (paceMs > 0) await sleep(paceMs);
  }
  if (attempt === 1 && wishes.get('how') === 'hang') return await new Promise(() => {});
  // No two runs of the handler give the same answer.
  const answer: Answer = { id, attempt, size, sha256: sum.digest('hex'), nonce: randomUUID() };
  res.writeHead(201, { 'Content-Type': 'application/json' });
  return res.end(JSON.stringify(answer));
};

const listener = resumable(
  {
    mode: 'stream',
    store: kind === 'fs' ? fsStore(directory) : sqliteStore({ directory }),
    // Much happens in little time: bytes are safe soon, and the handler is close behind its client.
    batchBytes: 64 * 1024,
    flushMs: 5,
    checkpointBytes: 256 * 1024,
    checkpointMs: 20,
    aheadBytes: 512 * 1024,
    onError: (error) => tell({ failed: String(error instanceof Error ? error.stack : error) }),
  },
  handler,
);
await listener.retryPending();
const server = await listen(listener);
tell({ port: (server.address() as AddressInfo).port });
process.on('disconnect', () => process.exit());
