import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { memoryStore } from '../../stores/memory.ts';
import { faultyStore } from '../support/faulty-store.ts';
import { gate } from '../support/gate.ts';
import { ask, part, query, sha256 } from '../support/requests.ts';
import {
  begin,
  leave,
  type Seen,
  type Start,
  sending,
  soon,
  text,
  untilIdle,
  untilStored,
} from './support.ts';

const whole = text(300_000);
const sum = sha256(whole);
type Gate = ReturnType<typeof gate>;

const ways = ['RST', 'FIN'] as const;

/** Tells that it was come to, and waits. */
const waiting = (arrived: Gate, go: Gate) => (): Promise<void> => {
  arrived.open();
  return go.opened;
};

/** What every adapter promises of clients that go away: the route works for the upload, not for the connection. */
export const departureTests = (start: Start): void => {
  describe.each(['hold', 'stream'] as const)('a client that goes away (%s mode)', (mode) => {
    test.each(ways)('before the parser reads (%s): the parser gets the whole body', async (how) => {
      const arrived = gate();
      const go = gate();
      const app = await start({ mode }, { guard: waiting(arrived, go) });
      const name = await begin(app, whole.byteLength);
      const upload = await sending(app, name, whole);
      await arrived.opened;
      await untilStored(app.log.store, whole.byteLength);
      await leave(upload, how);
      go.open();
      await untilIdle(app);
      const reply = await soon(query(app, name));
      expect([reply.status, String(reply.body)]).toEqual([201, sum]);
      expect(app.log.attempts).toEqual([1]);
      expect([app.log.guarded, app.log.errors]).toEqual([1, []]);
    });

    test.each(ways)('before the route answers (%s): the answer is stored', async (how) => {
      const arrived = gate();
      const go = gate();
      const answer = async () => {
        arrived.open();
        await go.opened;
        return { status: 201, headers: { 'X-One': '1' }, body: 'done' };
      };
      const app = await start({ mode }, { answer });
      const name = await begin(app, whole.byteLength);
      const upload = await sending(app, name, whole);
      await arrived.opened;
      await leave(upload, how);
      go.open();
      await untilIdle(app);
      const reply = await soon(query(app, name));
      expect([reply.status, reply.headers['x-one'], String(reply.body)]).toEqual([201, '1', 'done']);
      expect(app.log.attempts).toEqual([1]);
      expect(app.log.errors).toEqual([]);
    });

    test.each([
      ['RST', 'error'],
      ['FIN', 'end'],
    ] as const)('at the very moment in which the parser or the route goes on (%s)', async (how, event) => {
      for (const place of ['guard', 'answer'] as const) {
        const arrived = gate();
        const go = gate();
        const wait = waiting(arrived, go);
        const answer = async ({ body }: Seen) => {
          await (place === 'answer' && wait());
          return { status: 201, body: Readable.from([sha256(Buffer.from(body))]) };
        };
        const app = await start({ mode }, place === 'guard' ? { guard: wait } : { answer });
        const name = await begin(app, whole.byteLength);
        const upload = await sending(app, name, whole);
        await arrived.opened;
        await untilStored(app.log.store, whole.byteLength);
        upload.socket.once(event, go.open); // some turns before 'close'
        await leave(upload, how);
        await untilIdle(app);
        const reply = await soon(query(app, name));
        expect([place, reply.status, String(reply.body)]).toEqual([place, 201, sum]);
        expect([app.log.attempts, app.log.failures, app.log.errors]).toEqual([[1], [], []]);
      }
    });

    test.each([
      ['RST', 100, 'firstlast'],
      ['FIN', 100, 'firstlast'],
      // Too long to be kept: of such an answer status and headers are.
      ['RST', 3, ''],
      ['FIN', 3, ''],
    ] as const)(
      'while it answers with a stream (%s, %i bytes are kept)',
      async (how, responseBytes, kept) => {
        const arrived = gate();
        const go = gate();
        const parts = async function* () {
          yield 'first';
          arrived.open();
          await go.opened;
          yield 'last';
        };
        const answer = () => ({ status: 201, headers: { 'X-One': '1' }, body: Readable.from(parts()) });
        const app = await start({ mode, responseBytes }, { answer });
        const name = await begin(app, whole.byteLength);
        const upload = await sending(app, name, whole);
        await arrived.opened;
        await leave(upload, how);
        go.open();
        await untilIdle(app);
        const reply = await soon(query(app, name));
        expect([reply.status, reply.headers['x-one'], String(reply.body)]).toEqual([201, '1', kept]);
        expect(app.log.attempts).toEqual([1]);
        expect(app.log.errors).toEqual([]);
      },
    );
  });

  test.each([
    ['RST', 'close', 200_000],
    ['FIN', 'close', 200_000],
    ['RST', 'error', 200_000],
    ['FIN', 'end', 200_000],
    ['RST', 'close', 1000],
    ['FIN', 'close', 1000],
    ['RST', 'error', 1000],
    ['FIN', 'end', 1000],
  ] as const)(
    'a client that has gone before the route is entered (%s, at %s, %i bytes are kept)',
    async (...how) => {
      const [leaving, event, responseBytes] = how;
      const claimed = gate();
      const go = gate();
      const store = faultyStore(memoryStore(), async ({ record, when }) => {
        if (record?.state !== 'claimed' || when !== 'before') return;
        claimed.open();
        await go.opened;
      });
      const body = text(100_000, 4);
      const answer = (seen: Seen) => {
        expect(seen.body).toBe(String(whole));
        return { status: 201, body: Readable.from([body.subarray(0, 9), body.subarray(9)]) };
      };
      const app = await start({ store, responseBytes }, { answer });
      const name = await begin(app, whole.byteLength);
      const upload = await sending(app, name, whole);
      await claimed.opened;
      upload.socket.once(event, go.open);
      await leave(upload, leaving);
      await untilIdle(app);
      const reply = await soon(query(app, name));
      const expected = responseBytes < body.byteLength ? '' : String(body);
      expect([reply.status, String(reply.body)]).toEqual([201, expected]);
      expect([app.log.attempts, app.log.failures, app.log.errors]).toEqual([[1], [], []]);
    },
  );

  test.each(ways)('in stream mode half-way (%s), and the rest comes on another connection', async (how) => {
    const arrived = gate();
    const go = gate();
    const app = await start({ mode: 'stream', flushMs: 1, checkpointMs: 1 }, { guard: waiting(arrived, go) });
    const name = await begin(app, whole.byteLength);
    const upload = await sending(app, name, whole, [0, 100_000]);
    await arrived.opened;
    await untilStored(app.log.store, 100_000);
    await leave(upload, how);
    go.open();
    const headers = { ...name.headers, 'Content-Range': part(100_000, 300_000, 300_000) };
    const reply = await ask(app, { ...name, headers, body: whole.subarray(100_000) });
    expect([reply.status, String(reply.body)]).toEqual([201, sum]);
    expect(app.log.attempts).toEqual([1]);
  });
};
