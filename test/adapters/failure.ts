import { describe, expect, test } from 'vitest';
import { memoryStore } from '../../stores/memory.ts';
import { faultyStore, type StoreOp, systemError } from '../support/faulty-store.ts';
import { ask, part, query, type Reply, send, sha256 } from '../support/requests.ts';
import {
  begin,
  essence,
  httpError,
  post,
  type Route,
  type Seen,
  type Start,
  soon,
  stored,
  text,
} from './support.ts';

const whole = text(300_000);
const sum = sha256(whole);

const expectDone = (reply: Reply): void => {
  expect([reply.status, String(reply.body)]).toEqual([201, sum]);
};

/** What comes of a route that fails, by whatever way leads to its framework's error handler. */
export const routeFailureTests = (start: Start): void => {
  describe.each(['hold', 'stream'] as const)('a route that fails (%s mode)', (mode) => {
    test('with 5xx: its error handler answers, and the next query is attempt 2 with all bytes', async () => {
      const answer = ({ attempt, body }: Seen) => {
        if (attempt === 1) throw httpError(502, 'the database is away');
        return { status: 201, body: sha256(Buffer.from(body)) };
      };
      const app = await start({ mode }, { answer });
      const name = await begin(app, whole.byteLength);
      const reply = await send(app, name, whole);
      expect([reply.status, reply.headers['x-failed'], String(reply.body)]).toEqual([
        502,
        'yes',
        'the database is away',
      ]);
      expectDone(await query(app, name));
      expectDone(await query(app, name));
      expect(app.log.attempts).toEqual([1, 2]);
      expect(app.log.failures).toHaveLength(1);
    });

    test('before its parser, too', async () => {
      let entered = 0;
      const guard = async () => {
        if (++entered === 1) throw new Error('the guard is asleep');
      };
      const app = await start({ mode }, { guard });
      const name = await begin(app, whole.byteLength);
      const reply = await send(app, name, whole);
      expect([reply.status, String(reply.body)]).toEqual([500, 'the guard is asleep']);
      // In stream mode the failure ends the request at its first byte, and the rest is still to come.
      const again = mode === 'hold' ? await query(app, name) : await send(app, name, whole);
      expectDone(again);
      expect(app.log.attempts).toEqual([2]);
    });

    test('with nothing but the error handler that the framework has by itself', async () => {
      const answer = ({ attempt, body }: Seen) => {
        if (attempt === 1) throw new Error('on purpose');
        return { status: 201, body: sha256(Buffer.from(body)) };
      };
      const app = await start({ mode }, { answer, isBare: true });
      const name = await begin(app, whole.byteLength);
      expect((await soon(send(app, name, whole))).status).toBe(500);
      expectDone(await query(app, name));
      expect(app.log.attempts).toEqual([1, 2]);
    });

    test('with 4xx: its answer is final, and replayed', async () => {
      const answer = () => {
        throw httpError(422, 'not a film');
      };
      const app = await start({ mode }, { answer });
      const name = await begin(app, whole.byteLength);
      const replies = [await send(app, name, whole), await query(app, name), await query(app, name)];
      for (const reply of replies) {
        expect([reply.status, reply.headers['x-failed'], String(reply.body)]).toEqual([
          422,
          'yes',
          'not a film',
        ]);
      }
      expect(app.log.attempts).toEqual([1]);
    });

    test('of a plain upload: the client gets the answer, and nothing is kept', async () => {
      const answer = () => {
        throw httpError(500, 'no');
      };
      const app = await start({ mode }, { answer });
      expect((await post(app, whole)).status).toBe(500);
      await expect.poll(async () => (await stored(app.log.store)).length).toBe(0);
    });
  });
};

/** What comes of a store that fails. `handler` is told where the adapter knows an error handler. */
export const storeFailureTests = (start: Start): void => {
  describe.each(['hold', 'stream'] as const)('a store that fails (%s mode)', (mode) => {
    const failing = async (op: StoreOp, route: Route = {}) => {
      const store = faultyStore(memoryStore());
      const app = await start({ mode, store }, route);
      const name = await begin(app, whole.byteLength);
      store.hook = (call) => {
        if (call.op === op && call.when === 'before') throw systemError('EIO');
      };
      return { store, app, name };
    };
    const expectFailed = (app: Awaited<ReturnType<Start>>, reply: Reply): void => {
      expect([reply.status, reply.headers['x-failed'], reply.headers['retry-after']]).toEqual([
        503,
        'yes',
        undefined,
      ]);
      expect(app.log.failures).toMatchObject([
        { code: 'store_failed', statusCode: 503, headers: { 'Retry-After': '1' } },
      ]);
      expect(app.log.failures[0]).toBeInstanceOf(Error);
      expect(app.log.seen).toEqual([]);
    };

    test('at the handshake: 503 by the error handler', async () => {
      const { app } = await failing('create');
      expectFailed(app, await ask(app, { headers: { 'Content-Range': 'bytes */10' } }));
    });

    test('at a query', async () => {
      const { app, name, store } = await failing('load');
      expectFailed(app, await soon(query(app, name)));
      store.hook = () => undefined;
      expect((await query(app, name)).status).toBe(308);
    });

    test.each(['load', 'update'] as const)('before a body (%s)', async (op) => {
      const { app, name, store } = await failing(op);
      expectFailed(app, await soon(send(app, name, whole)));
      store.hook = () => undefined;
      expectDone(await send(app, name, whole));
      expect(app.log.attempts).toHaveLength(1);
    });

    test.each(['writer', 'write'] as const)(
      'while a body is coming (%s): it can be gone on with',
      async (op) => {
        const { app, name, store } = await failing(op);
        const reply = await soon(send(app, name, whole));
        // In stream mode the route is at work on the upload already, and goes on with what comes next.
        if (mode === 'hold') expectFailed(app, reply);
        else expect([reply.status, JSON.parse(String(reply.body)).code]).toEqual([503, 'store_failed']);
        store.hook = () => undefined;
        expectDone(await send(app, name, whole));
        expect(app.log.attempts).toEqual([1]);
      },
    );

    test.each([false, true])(
      'before more of a body than a connection holds: it is read, and the answer comes',
      async (isBare) => {
        const big = text(24_000_000);
        const { app, name, store } = await failing('load', { isBare });
        const reply = await soon(send(app, name, big), 5000);
        if (isBare) expect([reply.status, reply.headers['retry-after']]).toEqual([503, '1']);
        else expectFailed(app, reply);
        store.hook = () => undefined;
        expect((await query(app, name)).status).toBe(308);
      },
    );

    test('a refusal of the client is no failure: it does not reach the error handler', async () => {
      const app = await start({ mode, maxLength: 1000 });
      expect((await post(app, whole)).status).toBe(413);
      const unknown = { target: `/upload?upload_id=${'A'.repeat(22)}`, headers: {} };
      expect((await query(app, unknown)).status).toBe(404);
      const headers = { 'Content-Range': part(0, 3, 2) };
      expect((await ask(app, { headers, body: 'abc' })).status).toBe(400);
      expect(app.log.failures).toEqual([]);
    });

    test('what the error handler says of a failure is of that request only', async () => {
      const { app, name, store } = await failing('load');
      const failed = essence(await query(app, name));
      store.hook = () => undefined;
      expect(failed.status).toBe(503);
      expectDone(await send(app, name, whole));
      expect((await query(app, name)).headers).not.toHaveProperty('x-failed');
    });
  });
};
