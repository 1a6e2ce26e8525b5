import { utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sendFile from 'send';
import { beforeEach, expect, test } from 'vitest';
import { fileEntity } from '../../src/download.ts';
import { ask, sha256 } from '../support/requests.ts';
import { seededContent } from '../support/seeded-content.ts';
import { startServer, startServing, temporaryFolder } from './support.ts';

// Beside `send`, the file server of Express: where both follow RFC 9110 the answers are the same.

const modified = 'Sun, 06 Nov 1994 08:49:37 GMT';
const later = 'Sun, 06 Nov 1994 08:49:38 GMT';
const earlier = 'Sun, 06 Nov 1994 08:49:36 GMT';

let root = '';
let ours = { port: 0 };
let theirs = { port: 0 };

beforeEach(async () => {
  root = await temporaryFolder();
  await writeFile(join(root, 'file'), seededContent(1000, 5));
  await writeFile(join(root, 'empty'), '');
  for (const name of ['file', 'empty'])
    await utimes(join(root, name), new Date(modified), new Date(modified));
  ours = await startServing((req) => fileEntity(root, req.url ?? ''));
  theirs = await startServer((req, res) => {
    sendFile(req, req.url ?? '', { root })
      .on('error', ({ status }) => res.writeHead(status).end())
      .pipe(res);
  });
});

const both = async (headers: Record<string, string>, target = '/file', method = 'GET') => {
  const answers = [];
  for (const server of [ours, theirs]) {
    const reply = await ask(server, { method, target, headers });
    const { status, headers: got, body } = reply;
    const hasContent = status === 200 || status === 206;
    answers.push({
      status,
      range: got['content-range'],
      modified: hasContent ? got['last-modified'] : undefined,
      length: hasContent ? got['content-length'] : undefined,
      ranges: hasContent ? got['accept-ranges'] : undefined,
      sum: hasContent ? sha256(body) : undefined,
    });
  }
  return answers;
};

const ranges = [
  undefined,
  ...[
    '0-',
    '0-0',
    '0-499',
    '500-',
    '999-',
    '-1',
    '-1000',
    '-5000',
    '0-5000',
    '1000-',
    '2000-3000',
    '-0',
    '0-1,5-2',
  ],
  ...['0-499,500-999', '5-9,0-4', '0-9,5-20', '0-1,2000-'],
].map((range) => (range === undefined ? undefined : `bytes=${range}`));

/** What only one of the two gets right, and what that is about. */
const differing = new Set([
  'bytes=-0', // nothing: 416
  'bytes=-5000', // more than there is: all of it
  'bytes=0-1,5-2', // one that is reversed makes the whole field invalid
  'bytes=5-9,0-4', // touching ranges are one
  'bytes=0-499,500-999',
  'bytes=0-9,5-20',
]);

const conditions: Record<string, string>[] = [
  {},
  { 'If-Modified-Since': modified },
  { 'If-Modified-Since': later },
  { 'If-Modified-Since': earlier },
  { 'If-Unmodified-Since': modified },
  { 'If-Unmodified-Since': earlier },
  { 'If-Unmodified-Since': later },
  { 'If-None-Match': '"other"' },
  { 'If-None-Match': '"other"', 'If-Modified-Since': modified },
  { 'If-None-Match': '*' },
  { 'If-Match': '*' },
  { 'If-Match': '"other"' },
  { 'If-Match': '"other"', 'If-None-Match': '*' },
  { 'If-Range': modified },
  { 'If-Range': earlier },
  { 'If-Range': '"other"' },
];

test('every condition with every range is answered as `send` does, or differently for a reason', async () => {
  const different = new Set<string>();
  for (const range of ranges) {
    for (const condition of conditions) {
      const [mine, other] = await both(range === undefined ? condition : { ...condition, Range: range });
      if (range !== undefined && differing.has(range)) continue;
      try {
        expect(mine).toEqual(other);
      } catch {
        different.add(`${range} ${JSON.stringify(condition)}: ${JSON.stringify([mine, other])}`);
      }
    }
  }
  expect([...different]).toEqual([]);
});

test('paths that lead nowhere are 404 from neither more nor less', async () => {
  for (const target of ['/', '/nothing', '/file/x', '/.file', '/empty', '/%66ile']) {
    const [mine, other] = await both({}, target);
    expect([target, mine?.status]).toEqual([target, other?.status]);
  }
});

test('where `send` departs from RFC 9110, we do not', async () => {
  const statuses = async (
    headers: Record<string, string>,
    method?: string,
  ): Promise<(number | undefined)[]> => (await both(headers, '/file', method)).map(({ status }) => status);
  // Ours, theirs.
  expect(await statuses({ Range: 'bytes=5-2' })).toEqual([200, 416]);
  expect(await statuses({ Range: 'bytes=0-1,5-6' })).toEqual([206, 200]);
  expect(await statuses({ Range: 'bytes=0-1' }, 'HEAD')).toEqual([200, 206]);
});
