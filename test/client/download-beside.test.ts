import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type DownloadOptions, download } from '../../src/client/download.ts';
import { gate } from '../support/gate.ts';
import { serveRanges } from '../support/range-server.ts';
import { content, sha256 } from '../support/requests.ts';
import { afterwards, failure } from '../support/scripted-server.ts';

const bytes = content(5_000_000);
const others = content(5_000_000, 2);
const begun = 3_000_000;
const quick = { retry: { minMs: 2, maxMs: 10, maxCount: 5 } };

const place = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'resumable-beside-'));
  afterwards(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'film.mp4');
};

/** `isBegun` resolves once the first bytes are there. */
const start = (url: string, path: string, options: DownloadOptions = {}) => {
  const first = gate();
  const onProgress = ({ received }: { readonly received: number }): void => {
    if (received >= begun) first.open();
  };
  return { isBegun: first.opened, result: download(url, path, { ...quick, ...options, onProgress }).result };
};

describe('two downloads to one place', () => {
  test('where nothing tells the version: the newer one has it, and the older fails rather than leave a gap', async () => {
    const rest = gate();
    const asked = gate();
    const server = await serveRanges({
      content: bytes,
      instead: (number, _request, response) => {
        if (number === 0) {
          response.writeHead(200, { 'Content-Length': bytes.length });
          response.write(bytes.subarray(0, begun));
          void rest.opened.then(() => response.end(bytes.subarray(begun)));
        } else asked.open();
        return true; // the newer one is answered nothing
      },
    });
    const path = await place();
    const older = start(server.url, path);
    await older.isBegun;
    const abort = new AbortController();
    const newer = start(server.url, path, { signal: abort.signal });
    const ended = expect(newer.result).rejects.toThrow('enough');
    await asked.opened;
    abort.abort(new Error('enough'));
    await ended;
    rest.open();
    expect(await failure(older.result)).toMatchObject({ code: 'superseded', cause: { actual: path } });
    await expect(access(path)).rejects.toMatchObject({ code: 'ENOENT' });
    server.served.instead = () => false;
    await download(server.url, path, quick).result;
    expect(sha256(await readFile(path))).toBe(sha256(bytes));
  });

  test('that go on from one note: what one has put in its place the other does not touch', async () => {
    const gates = [gate(), gate(), gate(), gate()];
    gates[0]?.open();
    gates[3]?.open();
    const arrived = gate();
    const server = await serveRanges({
      content: bytes,
      etag: '"a"',
      cut: (number) => (number === 0 ? { after: begun } : undefined),
      before: async (number) => {
        if (number > 0) arrived.open();
        await gates[number]?.opened;
      },
    });
    const path = await place();
    const older = start(server.url, path);
    await arrived.opened; // to be asked for the rest it has written a note
    const newer = start(server.url, path, { overwrite: false });
    await expect.poll(() => server.requests.map(({ range }) => range)).toHaveLength(3);
    expect(server.requests[2]?.range).toBe(`bytes=${begun}-4999999`);
    gates[1]?.open();
    await older.result;
    Object.assign(server.served, { content: others, etag: '"b"' });
    gates[2]?.open();
    expect((await failure(newer.result)).code).toBe('target_exists');
    expect(server.requests).toHaveLength(4);
    expect(sha256(await readFile(path))).toBe(sha256(bytes));
  });
});
