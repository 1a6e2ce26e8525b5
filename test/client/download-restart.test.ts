import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type DownloadOptions, download } from '../../src/client/download.ts';
import { upload } from '../../src/client/index.ts';
import { content, sha256 } from '../support/requests.ts';
import { RestartingServer } from '../support/restarting-server.ts';
import { afterwards, failure } from '../support/scripted-server.ts';

/** No head is as long as that. */
const headBytes = 1000;
/** Of one connection, in the buffers of Node and of the proxy, at the most. */
const unreadBytes = 128 * 1024;

const bytes = content(32 * 1024 * 1024);
const others = content(32 * 1024 * 1024, 2);

let folder = '';
let server: RestartingServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'resumable-restart-'));
  await mkdir(join(folder, 'public'));
  server = await RestartingServer.start(folder);
});

afterAll(async () => {
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

/** A file that has been as it is for so many days: its tag is a strong one, and so is its date. */
const publish = async (name: string, what: Buffer, days: number): Promise<void> => {
  const path = join(folder, 'public', name);
  await writeFile(path, what);
  const then = new Date(Date.now() - days * 24 * 60 * 60 * 1000);
  await utimes(path, then, then);
};

const place = async (): Promise<{ at: string; path: string }> => {
  const at = await mkdtemp(join(tmpdir(), 'resumable-restarted-'));
  afterwards(() => rm(at, { recursive: true, force: true }));
  return { at, path: join(at, 'film.mp4') };
};

/** Once a quarter is there the server is killed; `meanwhile` nobody serves, then another process does. */
const downloadAcross = (
  url: string,
  path: string,
  options: DownloadOptions,
  meanwhile: () => Promise<void> = async () => undefined,
) => {
  let restarted: Promise<void> | undefined;
  const { result } = download(url, path, {
    retry: { minMs: 5, maxMs: 50 },
    ...options,
    onProgress: ({ received }) => {
      if (received < bytes.length / 4) return;
      restarted ??= server
        .kill()
        .then(meanwhile)
        .then(() => server.restart());
    },
  });
  return {
    result,
    async restarted() {
      if (restarted === undefined) throw new Error('the server was never killed');
      await restarted;
    },
  };
};

describe.each([1, 4])('with %i connections', (parallel) => {
  describe('a download resumed across a server restart', () => {
    test.each(['a file', 'an upload'])(
      'has the same bytes, and fetches only the missing ones: %s',
      async (what) => {
        let url = `${server.url}/same`;
        if (what === 'a file') await publish('same', bytes, 1);
        else {
          const { headers } = await upload(`${server.url}/upload`, bytes).result;
          url = `${server.url}${headers.location}`;
        }
        const { at, path } = await place();
        const before = server.sentBytes;
        const down = downloadAcross(url, path, { parallel });
        const { attempts } = await down.result;
        await down.restarted();
        expect(attempts).toBeGreaterThan(parallel);
        expect(sha256(await readFile(path))).toBe(sha256(bytes));
        expect(await readdir(at)).toEqual(['film.mp4']);
        // Whatever is more than the content is heads, and of each connection that was lost what its client had not yet read.
        const more = server.sentBytes - before - bytes.length;
        expect(more).toBeGreaterThan(0);
        expect(more).toBeLessThan(attempts * (headBytes + unreadBytes));
      },
    );
  });

  describe.each([
    ['its tag', '/changed'],
    ['its date', '/changed?by=date'],
  ])('a file that changed while its server was away, which %s tells', (_, target) => {
    test('is refused with a typed error, and what is there is of the old one alone', async () => {
      await publish('changed', bytes, 2);
      const { at, path } = await place();
      const down = downloadAcross(`${server.url}${target}`, path, { parallel, onChange: 'fail' }, () =>
        publish('changed', others, 1),
      );
      expect((await failure(down.result)).code).toBe('digest_conflict');
      await down.restarted();
      expect((await readdir(at)).sort()).toEqual(['film.mp4.partial', 'film.mp4.partial.json']);
      const note = JSON.parse(await readFile(`${path}.partial.json`, 'utf8')) as {
        ranges: [number, number][];
      };
      const partial = await readFile(`${path}.partial`);
      const expected = Buffer.alloc(partial.length);
      for (const [start, end] of note.ranges) bytes.copy(expected, start, start, end);
      expect(note.ranges.reduce((sum, [start, end]) => sum + end - start, 0)).toBeGreaterThan(
        bytes.length / 4,
      );
      expect(sha256(partial)).toBe(sha256(expected));
    });

    test('is fetched anew by default, and nothing of the old one is in it', async () => {
      await publish('changed', bytes, 2);
      const { at, path } = await place();
      const down = downloadAcross(`${server.url}${target}`, path, { parallel }, () =>
        publish('changed', others, 1),
      );
      await down.result;
      await down.restarted();
      expect(sha256(await readFile(path))).toBe(sha256(others));
      expect(await readdir(at)).toEqual(['film.mp4']);
    });
  });
});
