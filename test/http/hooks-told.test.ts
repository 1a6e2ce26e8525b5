import { describe, expect, test } from 'vitest';
import type { UploadStatus } from '../../src/http/hooks.ts';
import type { Handler } from '../../src/index.ts';
import { gate } from '../support/gate.ts';
import {
  ask,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  type Name,
  open,
  part,
  query,
  send,
  untilStored,
} from '../support/requests.ts';
import { digestHandler, type Options, type Service, startService, storeKinds } from '../support/service.ts';

// What an application is told of. What it may refuse: hooks.test.ts.

const whole = content(100_000);
const unknown: Name = { target: '/upload?upload_id=AAAAAAAAAAAAAAAAAAAAAA', headers: {} };
const onPurpose = new Error('on purpose');
const bothModes = storeKinds.flatMap((kind) => [[kind, 'hold'] as const, [kind, 'stream'] as const]);

/** Sends the beginning of the whole, and stays connected. */
const begin = (service: Service, name: Name, end: number) =>
  open(service, {
    ...name,
    headers: { ...name.headers, 'Content-Range': part(0, whole.byteLength, whole.byteLength) },
    length: whole.byteLength,
    body: whole.subarray(0, end),
  });

describe.each(bothModes)('onComplete (%s, %s)', (kind, mode) => {
  const answering: Handler = (req, res) => {
    req.resume().on('end', () => {
      res.writeHead(req.url === '/refused' ? 422 : 201).end('answered');
    });
  };

  test('is called once, when the answer is stored and nobody has it yet', async () => {
    const told: unknown[] = [];
    const entered = gate();
    const go = gate();
    const service = await startService(
      kind,
      {
        mode,
        metadata: () => ({ by: 'ann' }),
        onComplete: async (upload, answer) => {
          const stored = await service.store.load(upload.id);
          told.push([upload, answer, stored?.record.state, stored?.record.response?.length]);
          entered.open();
          await go.opened;
        },
      },
      answering,
    );
    const name = await handshake(service, whole.byteLength);
    let answers = 0;
    const replies = [send(service, name, whole)].map((reply) => reply.finally(() => answers++));
    await entered.opened;
    // In this process everybody waits for whoever completes.
    if (mode === 'hold') replies.push(query(service, name).finally(() => answers++));
    expect((await query(service, unknown)).status).toBe(404); // time enough for an answer to arrive
    expect(answers).toBe(0);
    go.open();
    for (const reply of await Promise.all(replies)) {
      expect([reply.status, reply.body.toString()]).toEqual([201, 'answered']);
    }
    for (const again of [await query(service, name), await send(service, name, whole)]) {
      expect(again.status).toBe(201);
    }
    const [id] = await service.ids();
    const upload = {
      id,
      state: 'finished',
      length: whole.byteLength,
      received: [{ start: 0, end: whole.byteLength }],
      metadata: { by: 'ann' },
      attempt: 1,
    };
    expect(told).toEqual([[upload, { status: 201 }, 'finished', expect.any(Number)]]);
  });

  test.each([
    ['an ordinary request', { body: whole }, 201],
    ['a chunked one', { body: whole, chunk: 10_000 }, 201],
    ['an empty one', { headers: { 'Content-Range': 'bytes */0' } }, 201],
    ['one whose content is refused', { target: '/refused', body: whole }, 422],
    ['one whose content is not what was announced', { headers: wrongDigest(), body: whole }, 400],
  ])('is told of %s', async (_what, request, status) => {
    const told: unknown[] = [];
    const service = await startService(
      kind,
      { mode, onComplete: ({ length, attempt }, answer) => void told.push([length, attempt, answer.status]) },
      answering,
    );
    expect((await ask(service, request)).status).toBe(status);
    expect(told).toEqual([['body' in request ? whole.byteLength : 0, 1, status]]);
  });

  test.each<[string, Handler]>([
    ['throws', () => Promise.reject(onPurpose)],
    ['answers "not now"', (_req, res) => res.writeHead(503).end()],
    ['answers "not you"', (_req, res) => res.writeHead(401).end()],
    ['destroys its response', (_req, res) => res.destroy()],
  ])('is not called where the handler %s, but for the attempt after it', async (_how, fail) => {
    const told: unknown[] = [];
    let entered = 0;
    const service = await startService(
      kind,
      { mode, onComplete: (upload, answer) => void told.push([upload.attempt, answer.status]) },
      (req, res) => (++entered === 1 ? fail(req, res) : answering(req, res)),
    );
    const name = await handshake(service, 1000);
    await send(service, name, whole.subarray(0, 1000));
    expect(told).toEqual([]);
    expect((await query(service, name)).status).toBe(201);
    expect(told).toEqual([[2, 201]]);
  });

  test('is called by retryPending too, for an answer that nobody asks for', async () => {
    const told: unknown[] = [];
    let entered = 0;
    const service = await startService(
      kind,
      {
        mode,
        onComplete: (upload, answer) => void told.push([upload.attempt, upload.state, answer]),
      },
      (req, res) => (++entered === 1 ? res.writeHead(503).end() : answering(req, res)),
    );
    const name = await handshake(service, 1000);
    await send(service, name, whole.subarray(0, 1000));
    expect(await service.listener.retryPending()).toMatchObject({ finished: 1 });
    expect(told).toEqual([[2, 'finished', { status: 201 }]]);
    await service.listener.retryPending();
    await query(service, name);
    expect(told).toHaveLength(1);
  });

  test('what it throws is reported, and the answer goes out', async () => {
    const service = await startService(
      kind,
      {
        mode,
        onComplete: () => {
          throw onPurpose;
        },
      },
      answering,
    );
    const name = await handshake(service, whole.byteLength);
    for (const reply of [await send(service, name, whole), await query(service, name)]) {
      expect([reply.status, reply.body.toString()]).toEqual([201, 'answered']);
    }
    expect(service.errors).toEqual([onPurpose]);
  });
});

function wrongDigest() {
  return { 'Repr-Digest': `sha-256=:${Buffer.alloc(32).toString('base64')}:` };
}

describe.each(bothModes)('onAbort (%s, %s)', (kind, mode) => {
  const start = async (options: Options = {}, handler: Handler = digestHandler) => {
    const told: [UploadStatus, string][] = [];
    const service = await startService(
      kind,
      {
        mode,
        metadata: () => ({ by: 'ann' }),
        onAbort: (upload, reason) => void told.push([upload, reason]),
        ...options,
      },
      handler,
    );
    return { service, told };
  };

  /** The first 300 bytes of a known upload are stored. */
  const partly = async (service: Service): Promise<{ name: Name; status: UploadStatus | undefined }> => {
    const name = await handshake(service, whole.byteLength);
    await send(service, name, whole, [0, 300]);
    const [id = ''] = await service.ids();
    return { name, status: await service.listener.find(id) };
  };

  test('a client that cancels its upload: aborted, with what there was', async () => {
    const { service, told } = await start();
    const { name, status } = await partly(service);
    expect(status).toMatchObject({ received: [{ start: 0, end: 300 }], metadata: { by: 'ann' } });
    expect((await ask(service, { ...name, method: 'DELETE' })).status).toBe(204);
    expect(told).toEqual([[status, 'aborted']]);
    expectProblem(await ask(service, { ...name, method: 'DELETE' }), 410, 'gone');
    expect(told).toHaveLength(1);
  });

  test('an upload that nobody has gone on with: expired', async () => {
    // A handler that waits for the rest keeps it, as long as it does.
    const { service, told } = await start({ resumeTimeoutMs: 1, onCreate: () => ({ expiresAfterMs: 600 }) });
    const { name, status } = await partly(service);
    await expect.poll(async () => (await query(service, name)).status).toBe(410);
    expect(told).toEqual([]);
    expect(await service.listener.expire()).toMatchObject({ expired: 1 });
    expect(told).toEqual([[status, 'expired']]);
    expect(await service.listener.expire()).toMatchObject({ expired: 0 });
    expect(told).toHaveLength(1);
  });

  test('an upload that the application removes: removed', async () => {
    const { service, told } = await start();
    const { name, status } = await partly(service);
    await service.listener.remove(status?.id ?? '');
    expect(told).toEqual([[status, 'removed']]);
    expectProblem(await query(service, name), 410, 'gone');
  });

  test.each([
    ['with a length', { length: whole.byteLength }, whole.byteLength],
    ['chunked', {}, undefined],
  ])('a client that cannot come back (%s): dropped', async (_how, framing, length) => {
    const { service, told } = await start();
    const client = await open(service, { ...framing, body: whole.subarray(0, 300) });
    await expect.poll(() => service.listener.usage().heldBytes + service.calls.length).toBeGreaterThan(0);
    client.reset();
    await expect
      .poll(() => told)
      .toMatchObject([[{ state: 'open', length, metadata: { by: 'ann' } }, 'dropped']]);
    await expect.poll(() => service.ids()).toEqual([]);
    expect(service.errors).toEqual([]);
  });

  test('a client that cannot come back, and is told that its handler failed: dropped', async () => {
    const { service, told } = await start({}, (_req, res) => res.writeHead(503).end());
    expect((await ask(service, { body: whole })).status).toBe(503);
    await expect.poll(() => told.map(([, reason]) => reason)).toEqual(['dropped']);
    expect(await service.ids()).toEqual([]);
  });

  test('not called of a client that may come back', async () => {
    const { service, told } = await start();
    const name = await handshake(service, whole.byteLength);
    const client = await begin(service, name, 300);
    await untilStored(service, name, 'bytes=0-299');
    client.reset();
    await client.closed;
    expectProcessed(await send(service, name, whole, [300, whole.byteLength]), whole);
    expect(told).toEqual([]);
  });

  test('not called of a complete upload, by whatever it goes', async () => {
    const kept = await start();
    expectProcessed(await ask(kept.service, { body: whole }), whole);
    const [id = ''] = await kept.service.ids();
    await kept.service.listener.remove(id);
    const { service, told } = await start({ keepCompletedMs: 1 });
    const name = await handshake(service, whole.byteLength);
    expectProcessed(await send(service, name, whole), whole);
    await expect.poll(async () => (await service.listener.expire()).expired).toBe(1);
    expect([told, kept.told]).toEqual([[], []]);
  });

  test('what it throws is reported, and the upload is gone', async () => {
    const { service } = await start({
      onAbort: () => {
        throw onPurpose;
      },
    });
    const { name } = await partly(service);
    expect((await ask(service, { ...name, method: 'DELETE' })).status).toBe(204);
    expectProblem(await query(service, name), 410, 'gone');
    expect(service.errors).toEqual([onPurpose]);
  });

  test('is awaited before the client is told', async () => {
    const go = gate();
    const entered = gate();
    const { service } = await start({
      onAbort: async () => {
        entered.open();
        await go.opened;
      },
    });
    const { name } = await partly(service);
    let isAnswered = false;
    const answered = ask(service, { ...name, method: 'DELETE' }).finally(() => {
      isAnswered = true;
    });
    await entered.opened;
    expectProblem(await query(service, name), 410, 'gone'); // it is so already
    expect(isAnswered).toBe(false);
    go.open();
    expect((await answered).status).toBe(204);
  });
});
