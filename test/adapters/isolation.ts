import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Store } from '../../src/store.ts';
import { ask, type Name, part, query, type Reply, send, sha256 } from '../support/requests.ts';
import { begin, essence, type Options, post, type Start, sending, stored, text } from './support.ts';

const whole = text(300_000);
const half = 150_000;
const sum = sha256(whole);
const other = text(300_000, 2);
const alice = { 'X-User': 'alice' };
const mallory = { 'X-User': 'mallory' };

/** Each of these alone keeps users apart; and what one is told of another's upload. */
const fences: readonly (readonly [string, number, Options])[] = [
  ['owner', 404, { owner: (req) => String(req.headers['x-user']) }],
  ...([404, 403] as const).map((refusal): readonly [string, number, Options] => [
    `authorize with metadata, and ${refusal}`,
    refusal,
    {
      metadata: (req) => ({ user: String(req.headers['x-user']) }),
      authorize: (req, upload) =>
        upload === undefined || upload.metadata.user === req.headers['x-user'] ? undefined : refusal,
    },
  ]),
];

/** Whatever one could try with the address of another's upload. */
const attempts: readonly (readonly [string, (app: { port: number }, name: Name) => Promise<Reply>])[] = [
  ['a query', (app, name) => query(app, name)],
  ['a query with the length', (app, name) => query(app, name, whole.byteLength)],
  ['other bytes', (app, name) => send(app, name, other)],
  ['the rest', (app, name) => send(app, name, other, [half, other.byteLength])],
  ['a part of what is there', (app, name) => send(app, name, other, [10, 20])],
  ['a whole body', (app, name) => ask(app, { ...name, body: other })],
  [
    'a chunked body',
    (app, name) =>
      ask(app, {
        ...name,
        headers: { ...name.headers, 'Content-Range': 'bytes 0-*/*' },
        body: other,
        chunk: 9999,
      }),
  ],
  ['PUT', (app, name) => ask(app, { ...name, method: 'PUT', body: other })],
  [
    'the end of an unknown length',
    (app, name) =>
      ask(app, { ...name, headers: { ...name.headers, 'Content-Range': part(0, 5, '*') }, body: 'other' }),
  ],
  ['DELETE', (app, name) => ask(app, { ...name, method: 'DELETE' })],
];

const digestOf = async (store: Store, end: number): Promise<string> => {
  const [upload] = await stored(store);
  const chunks: Buffer[] = [];
  for await (const chunk of store.read(upload?.record.id ?? '', 0, end)) chunks.push(chunk as Buffer);
  return sha256(Buffer.concat(chunks));
};

/** One user can neither see nor touch what another has uploaded. */
export const isolationTests = (start: Start): void => {
  describe.each(fences)('users are kept apart by %s alone', (_by, status, options) => {
    const tryAll = async (app: Awaited<ReturnType<Start>>, { target, headers }: Name): Promise<void> => {
      const theirs = { target, headers: { ...headers, ...mallory } };
      const token = randomBytes(16).toString('base64url');
      const unknown = { ...theirs, target: `/upload?upload_id=${token}` };
      for (const [what, attempt] of attempts) {
        const reply = await attempt(app, theirs);
        expect([what, reply.status]).toEqual([what, status]);
        expect(reply.headers).not.toHaveProperty('range');
        expect(String(reply.body)).not.toMatch(/alice|150000|300000/);
        if (status === 404)
          expect([what, essence(reply)]).toEqual([what, essence(await attempt(app, unknown))]);
      }
    };

    test.each(['hold', 'stream'] as const)(
      'from an open upload, and from its answer (%s mode)',
      async (mode) => {
        const app = await start({ ...options, mode });
        const { store, seen } = app.log;
        const name = await begin(app, whole.byteLength, alice);
        expect((await send(app, name, whole, [0, half])).headers.range).toBe(`bytes=0-${half - 1}`);
        const entered = seen.length;
        const before = await stored(store);
        const content = await digestOf(store, half);

        await tryAll(app, name);
        expect(await stored(store)).toEqual(before);
        expect(await digestOf(store, half)).toBe(content);
        expect(seen).toHaveLength(entered);

        const reply = await send(app, name, whole, [half, whole.byteLength]);
        expect([reply.status, String(reply.body)]).toEqual([201, sum]);
        const after = await stored(store);
        await tryAll(app, name);
        expect(await stored(store)).toEqual(after);
        expect(await digestOf(store, whole.byteLength)).toBe(sum);
        expect(essence(await query(app, name)).body).toBe(sum);
        expect(app.log.attempts).toEqual([1]);
      },
    );

    test('from a connection that is sending', async () => {
      const app = await start(options);
      const name = await begin(app, whole.byteLength, alice);
      const { client } = await sending(app, name, whole, [0, half]);
      await expect.poll(() => app.uploads.usage().liveUploads).toBe(1);
      await tryAll(app, name);
      await client.write(whole.subarray(half));
      const reply = await client.response();
      expect([reply.status, String(reply.body)]).toEqual([201, sum]);
    });

    test('and each has what is their own', async () => {
      const app = await start(options);
      const names = [
        await begin(app, whole.byteLength, alice),
        await begin(app, other.byteLength, mallory),
      ] as const;
      expect(String((await send(app, names[0], whole)).body)).toBe(sum);
      expect(String((await send(app, names[1], other)).body)).toBe(sha256(other));
      expect(String((await post(app, other, mallory)).body)).toBe(sha256(other));
      expect(String((await query(app, names[0])).body)).toBe(sum);
    });
  });
};
