import { createHash } from 'node:crypto';
import { mkdtemp, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { download } from '../../src/client/download.ts';
import { upload } from '../../src/client/index.ts';
import { serve, uploadEntity } from '../../src/index.ts';
import { content, sha256 } from '../support/requests.ts';
import { afterwards, failure } from '../support/scripted-server.ts';
import { type Service, type StoreKind, startService } from '../support/service.ts';

const bytes = content(5_000_000);
const digest = `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;

/** A server that gives back what it was sent. */
const start = async (kind: StoreKind): Promise<Service> => {
  const service: Service = await startService(kind, {}, async (req, res) => {
    if (req.upload !== undefined) return res.writeHead(201, { Location: `/files/${req.upload.id}` }).end();
    return serve(req, res, uploadEntity(service.store, (req.url ?? '').slice('/files/'.length)));
  });
  return service;
};

const send = async ({ port }: Service, headers: Record<string, string>): Promise<URL> => {
  const origin = `http://127.0.0.1:${port}`;
  const { headers: answer } = await upload(`${origin}/upload`, bytes, { headers }).result;
  return new URL(answer.location?.toString() ?? '', origin);
};

const place = async (): Promise<{ folder: string; path: string }> => {
  const folder = await mkdtemp(join(tmpdir(), 'resumable-digest-'));
  afterwards(() => rm(folder, { recursive: true, force: true }));
  return { folder, path: join(folder, 'film.mp4') };
};

/** Flips one bit in the middle of the file that holds the content. */
const corrupt = async ({ folder }: Service): Promise<void> => {
  const files = await readdir(folder, { recursive: true });
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(folder, name))).size));
  const name = files[sizes.indexOf(bytes.length)];
  if (name === undefined) throw new Error('there is no such file');
  const file = await open(join(folder, name), 'r+');
  const at = bytes.length / 2;
  await file.write(Buffer.of(bytes.readUInt8(at) ^ 1), 0, 1, at);
  await file.close();
};

describe.each([1, 4])('with %i connections', (parallel) => {
  test.each(['memory', 'fs', 'sqlite'] as const)(
    'what was uploaded with a digest is downloaded and checked against it (%s)',
    async (kind) => {
      const url = await send(await start(kind), { 'Repr-Digest': digest });
      const { path } = await place();
      const result = await download(url, path, { parallel }).result;
      expect(result).toMatchObject({ length: bytes.length, verified: 'sha-256' });
      expect(sha256(await readFile(path))).toBe(sha256(bytes));
    },
  );

  test.each(['fs', 'sqlite'] as const)(
    'what was corrupted in the store since is refused, and nothing of it is left (%s)',
    async (kind) => {
      const service = await start(kind);
      const url = await send(service, { 'Repr-Digest': digest });
      await corrupt(service);
      const { folder, path } = await place();
      const error = await failure(download(url, path, { parallel }).result);
      expect(error.code).toBe('digest_mismatch');
      expect(error.cause).toMatchObject({ expected: sha256(bytes) });
      expect(await readdir(folder)).toEqual([]);
    },
  );
});

test('a digest that cannot be read checks nothing, and the result says so', async () => {
  const { port } = await startService('memory', {}, (_req, res) => {
    res.setHeader('Repr-Digest', 'sha-256=:c2hvcnQ=:');
    res.end(bytes);
  });
  const { path } = await place();
  const { verified } = await download(`http://127.0.0.1:${port}/film`, path).result;
  expect(verified).toBeUndefined();
  expect(sha256(await readFile(path))).toBe(sha256(bytes));
});

test('what was uploaded without a digest is downloaded unchecked, and the result says so', async () => {
  const url = await send(await start('memory'), {});
  const { path } = await place();
  expect((await download(url, path).result).verified).toBeUndefined();
  expect(sha256(await readFile(path))).toBe(sha256(bytes));
});
