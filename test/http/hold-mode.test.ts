import { createHash } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, test } from 'vitest';
import { isUploadError, type UploadRequest } from '../../src/index.ts';
import {
  ask,
  content,
  expectProblem,
  handshake,
  open,
  part,
  query,
  send,
  sha256,
  untilStored,
} from '../support/requests.ts';
import { type Service, startService, storeKinds } from '../support/service.ts';

const whole = content(1_500_000);

const collector = () => {
  const sum = createHash('sha256');
  const sink = new Writable({
    write(chunk, _encoding, done) {
      sum.update(chunk);
      setImmediate(done); // slower than the source
    },
  });
  return { sink, digest: () => sum.digest('hex') };
};

const readers: [string, (req: UploadRequest) => Promise<string>][] = [
  [
    'for await',
    async (req) => {
      const sum = createHash('sha256');
      for await (const chunk of req) sum.update(chunk);
      return sum.digest('hex');
    },
  ],
  [
    "'data' events",
    (req) =>
      new Promise((resolve) => {
        const sum = createHash('sha256');
        req.on('data', (chunk) => sum.update(chunk)).on('end', () => resolve(sum.digest('hex')));
      }),
  ],
  [
    "'readable' events",
    (req) =>
      new Promise((resolve) => {
        const sum = createHash('sha256');
        req
          .on('readable', () => {
            for (let chunk = req.read(); chunk !== null; chunk = req.read()) sum.update(chunk);
          })
          .on('end', () => resolve(sum.digest('hex')));
      }),
  ],
  [
    'pipe',
    (req) =>
      new Promise((resolve) => {
        const { sink, digest } = collector();
        req.pipe(sink).on('finish', () => resolve(digest()));
      }),
  ],
  [
    'pipeline',
    async (req) => {
      const { sink, digest } = collector();
      await pipeline(req, sink);
      return digest();
    },
  ],
  [
    'pause and resume, later than the handler began',
    async (req) => {
      await new Promise((resolve) => setImmediate(resolve));
      const sum = createHash('sha256');
      return new Promise((resolve) => {
        req
          .on('data', (chunk) => {
            sum.update(chunk);
            req.pause();
            setImmediate(() => req.resume());
          })
          .on('end', () => resolve(sum.digest('hex')));
      });
    },
  ],
];

/** A first part that is cut, then the rest on another connection. */
const uploadCut = async (service: Service, bytes = whole) => {
  const name = await handshake(service, bytes.byteLength);
  const half = bytes.byteLength >> 1;
  const client = await open(service, {
    ...name,
    headers: { 'Content-Range': part(0, bytes.byteLength, bytes.byteLength) },
    length: bytes.byteLength,
    body: bytes.subarray(0, half),
  });
  await untilStored(service, name, `bytes=0-${half - 1}`);
  client.reset();
  await client.closed;
  return { name, reply: await send(service, name, bytes, [half, bytes.byteLength]) };
};

describe.each(storeKinds)('the handler reads an ordinary request (%s)', (kind) => {
  describe.each(readers)('by %s', (_how, read) => {
    test('after a cut, and in one piece', async () => {
      const service = await startService(kind, {}, async (req, res) => {
        res.end(await read(req));
      });
      const { reply } = await uploadCut(service);
      expect([reply.status, reply.body.toString()]).toEqual([200, sha256(whole)]);
      expect((await ask(service, { body: whole })).body.toString()).toBe(sha256(whole));
      const small = content(10);
      expect((await ask(service, { body: small })).body.toString()).toBe(sha256(small));
      expect((await ask(service, { body: '', chunk: 1 })).body.toString()).toBe(sha256(Buffer.alloc(0)));
    });
  });

  test('on the object the server made', async () => {
    const seen: IncomingMessage[] = [];
    const service = await startService(kind, {}, (req, res) => {
      seen.push(req);
      req.resume().on('end', () => res.end());
    });
    const made: IncomingMessage[] = [];
    service.server.prependListener('request', (req) => made.push(req));
    await ask(service, { body: whole });
    expect(seen[0]).toBe(made[0]);
  });

  test('with the fields of the upload beside it', async () => {
    const facts: unknown[] = [];
    const service = await startService(
      kind,
      { metadata: (req) => ({ by: String(req.headers['x-user'] ?? 'nobody') }) },
      async ({ upload }, res) => {
        const { id, length, metadata, received, attempt } = upload ?? {};
        facts.push({ length, metadata, received, attempt });
        res.end(id);
      },
    );
    const begun = await ask(service, { headers: { 'Content-Range': 'bytes */1000', 'X-User': 'ann' } });
    const name = { target: begun.headers.location ?? '', headers: { 'X-User': 'bob' } };
    const reply = await send(service, name, whole.subarray(0, 1000));
    expect(facts).toEqual([
      { length: 1000, metadata: { by: 'ann' }, received: [{ start: 0, end: 1000 }], attempt: 1 },
    ]);
    const id = reply.body.toString();
    expect(await service.ids()).toEqual([id]);
    expect(await service.listener.find(id)).toMatchObject({ id, state: 'finished', length: 1000 });
  });

  test('and may read any part of it, in any order, or nothing', async () => {
    const service = await startService(kind, {}, async ({ upload }, res) => {
      const sums: string[] = [];
      for (const [start, end] of [
        [1_000_000, 1_500_000],
        [0, 1],
        [700_000, 700_000],
        [262_143, 262_145],
      ] as const) {
        const chunks: Buffer[] = [];
        for await (const chunk of upload?.read(start, end) ?? []) chunks.push(chunk);
        sums.push(sha256(Buffer.concat(chunks)));
      }
      let past = 'no error';
      try {
        upload?.read(0, 1_500_001);
      } catch (error) {
        past = isUploadError(error) ? error.code : String(error);
      }
      res.end(JSON.stringify({ sums, past }));
    });
    const { reply } = await uploadCut(service);
    expect(JSON.parse(reply.body.toString())).toEqual({
      sums: [
        whole.subarray(1_000_000),
        whole.subarray(0, 1),
        Buffer.alloc(0),
        whole.subarray(262_143, 262_145),
      ].map(sha256),
      past: 'range_past_length',
    });
  });

  test('Authorization and Cookie are those of the completing request, Content-Type that of the first with a body', async () => {
    const service = await startService(kind);
    const fields = (n: string) => ({
      Authorization: `Bearer ${n}`,
      Cookie: `c=${n}`,
      'Content-Type': `text/${n}`,
      'X-Own': n,
    });
    const begun = await ask(service, { headers: { ...fields('zero'), 'Content-Range': 'bytes */1000' } });
    const target = begun.headers.location ?? '';
    const bytes = whole.subarray(0, 1000);
    await send(service, { target, headers: fields('one') }, bytes, [0, 500]);
    await send(service, { target, headers: fields('two') }, bytes, [500, 1000]);
    expect(service.calls).toHaveLength(1);
    expect(service.calls[0]?.headers).toMatchObject({
      authorization: 'Bearer two',
      cookie: 'c=two',
      'content-type': 'text/one',
      'x-own': 'one',
    });
  });

  test('no secret of a client is stored', async () => {
    const service = await startService(kind);
    const name = await handshake(service, 1000);
    const headers = {
      Authorization: 'Bearer swordfish',
      Cookie: 'c=swordfish',
      'Proxy-Authorization': 'swordfish',
    };
    await send(service, { ...name, headers }, whole.subarray(0, 1000), [0, 500]);
    const [id = ''] = await service.ids();
    const stored = await service.store.load(id);
    expect(stored?.record.context).toContain('"method":"POST"');
    expect(JSON.stringify(stored)).not.toContain('swordfish');
    expect(JSON.stringify(stored)).not.toContain(
      new URL(name.target, 'http://a').searchParams.get('upload_id'),
    );
  });

  describe('upload.moveTo', () => {
    /** Moves what it gets to the same place each time. */
    const moving = async (fail = 0) => {
      let left = fail;
      const inodes: number[] = [];
      const folder = (id = '') => join(service.folder, 'store', 'uploads', id.slice(0, 2), id);
      const service: Service = await startService(kind, {}, async ({ upload }, res) => {
        if (kind === 'fs') {
          for (const name of await readdir(folder(upload?.id))) {
            if (name === 'content' || name === 'whole') {
              inodes.push((await stat(join(folder(upload?.id), name))).ino);
            }
          }
        }
        try {
          await upload?.moveTo(join(service.folder, 'moved'));
        } catch (error) {
          res.writeHead(409).end(isUploadError(error) ? error.code : String(error));
          return;
        }
        if (left-- > 0) throw new Error('after it was moved');
        res.writeHead(201).end('moved');
      });
      return { service, path: join(service.folder, 'moved'), inodes };
    };

    test('makes the content a file, and the response is still there afterwards', async () => {
      const { service, path, inodes } = await moving();
      const { name, reply } = await uploadCut(service);
      expect([reply.status, reply.body.toString()]).toEqual([201, 'moved']);
      expect(sha256(await readFile(path))).toBe(sha256(whole));
      if (kind === 'fs') {
        const { ino, nlink } = await stat(path);
        expect([ino]).toEqual(inodes); // linked, not copied
        await expect.poll(async () => (await stat(path)).nlink).toBe(1);
        expect(nlink).toBeLessThanOrEqual(2);
      }
      expect((await query(service, name)).body.toString()).toBe('moved');
      expect((await send(service, name, whole)).body.toString()).toBe('moved');
      expect(service.calls).toHaveLength(1);
    });

    test('of an upload that arrived at once', async () => {
      const { service, path } = await moving();
      expect((await ask(service, { body: whole.subarray(0, 50) })).status).toBe(201);
      expect(sha256(await readFile(path))).toBe(sha256(whole.subarray(0, 50)));
    });

    test('succeeds again in a second attempt', async () => {
      const { service, path } = await moving(1);
      const { name, reply } = await uploadCut(service);
      expectProblem(reply, 500, 'handler_failed');
      expect((await query(service, name)).status).toBe(201);
      expect(service.calls.map(({ attempt }) => attempt)).toEqual([1, 2]);
      expect(sha256(await readFile(path))).toBe(sha256(whole));
    });

    test('rejects with target_exists where there is another file, which it leaves alone', async () => {
      const { service, path } = await moving();
      const other = content(whole.byteLength, 2);
      await writeFile(path, other);
      const { reply } = await uploadCut(service);
      expect([reply.status, reply.body.toString()]).toEqual([409, 'target_exists']);
      expect(sha256(await readFile(path))).toBe(sha256(other));
    });
  });
});
