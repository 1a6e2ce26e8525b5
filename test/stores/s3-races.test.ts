import { S3Client } from '@aws-sdk/client-s3';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { upload } from '../../src/client/index.ts';
import { type S3Store, s3Store } from '../../stores/s3.ts';
import { Forwarder } from '../support/forwarder.ts';
import { gate } from '../support/gate.ts';
import {
  ask,
  content,
  digested,
  expectProcessed,
  handshake,
  type Name,
  open,
  part,
  query,
  type Reply,
  send,
  sha256,
} from '../support/requests.ts';
import type { Call, S3Double, S3Operation } from '../support/s3/double.ts';
import { startBucket } from '../support/s3-bucket.ts';
import { digestHandler, type Options, type Service, startService } from '../support/service.ts';

// What a bucket answers when two want the same at once, when an answer is lost, or when it has no time: over HTTP.

const KiB = 1024;
const partSize = 16 * KiB;
const patient = { timeout: 10_000, interval: 5 };
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Node extends Service {
  readonly store: S3Store;
}

/** It has found out already what the bucket can do. */
const startNode = async (
  double: S3Double,
  maxAttempts = 1,
  options: Options = {},
  handler = digestHandler,
) => {
  const client = new S3Client({ ...double.clientConfig, maxAttempts });
  cleanups.push(() => client.destroy());
  const store = s3Store({ client, bucket: double.bucket, partSize, provider: { minPart: KiB } });
  const small = { batchBytes: 8 * KiB, ...options };
  const node: Node = { ...(await startService('memory', { store, ...small }, handler)), store };
  await ask(node, { method: 'POST', body: 'first' });
  (node.calls as unknown[]).length = 0;
  return node;
};

const isRecord = ({ key }: Call): boolean => key.includes('/record/');
const isFragment = ({ key }: Call): boolean => key.includes('/fragment/');
const isConditional = ({ headers }: Call): boolean => headers['if-none-match'] === '*';

const fragments = (double: S3Double): readonly string[] =>
  double.objects().flatMap(({ key }) => (key.includes('/fragment/') ? [key] : []));

/** To its answer, however often that has to be asked for. */
const untilProcessed = async (node: Service, name: Name, bytes: Uint8Array): Promise<Reply> => {
  let reply: Reply | undefined;
  await vi.waitFor(
    async () => {
      reply = await query(node, name);
      expect(reply.status).toBe(201);
    },
    { timeout: 20_000, interval: 20 },
  );
  if (reply === undefined) throw new Error('nobody answered');
  expectProcessed(reply, bytes);
  return reply;
};

/** As long as it takes, with the library's client. */
const uploadTo = async (node: { readonly port: number }, bytes: Uint8Array): Promise<void> => {
  const retry = { minMs: 1, maxMs: 20, maxCount: 20 };
  const url = `http://127.0.0.1:${node.port}/upload`;
  const { status, body } = await upload(url, bytes, { retry }).result;
  expect([status, JSON.parse(body.toString())]).toEqual([201, { size: bytes.length, sha256: sha256(bytes) }]);
};

const sizes = [
  ['small, made with its record', 1000],
  ['large, in parts', 100_000],
] as const;

describe.each(sizes)('conditional writes of an upload that is %s', (_what, length) => {
  const bytes = content(length);

  test('are asked for again while another is said to be under way', async () => {
    const double = await startBucket({ minPartSize: KiB });
    const node = await startNode(double);
    const isOne = (call: Call): boolean => isRecord(call) && isConditional(call);
    const conflict = { what: 'status', status: 409, match: isOne } as const;
    const before = double.faults.on('PutObject', { ...conflict, nth: [1, 2, 4, 6, 7] });
    expectProcessed(await ask(node, { body: bytes }), bytes);
    expect(before.fired).toBeGreaterThanOrEqual(3);
    expect([node.calls.length, node.errors]).toEqual([1, []]);
  });

  test('that another is under way for ever is an error, and no bytes are lost by it', async () => {
    const double = await startBucket({ minPartSize: KiB });
    const node = await startNode(double);
    const conflict = double.faults.on('PutObject', { what: 'status', status: 409, match: isConditional });
    const reply = await ask(node, { body: bytes });
    expect([reply.status, node.calls.length]).toEqual([503, 0]);
    conflict.remove();
    await uploadTo(node, bytes);
    expect(node.calls).toHaveLength(1);
  });

  test('that are refused because their own first try succeeded have succeeded', async () => {
    const double = await startBucket({ minPartSize: KiB });
    for (let nth = 1, fired = 1; fired > 0; nth++) {
      const node = await startNode(double, 3);
      const fault = { nth, when: 'after', what: 'reset', match: isRecord } as const;
      const lost = double.faults.on('PutObject', fault);
      const since = double.log.length;
      expectProcessed(await ask(node, { body: bytes }), bytes);
      fired = lost.fired;
      expect([nth, node.calls.length, node.errors]).toEqual([nth, 1, []]);
      const refused = double.log.slice(since).filter(({ status }) => status === 412);
      expect([nth, refused.length]).toEqual([nth, fired]);
      if (fired === 0) expect(nth).toBeGreaterThan(2); // so many versions there are
      lost.remove();
      await node.stop();
    }
  });

  test('that are refused because their own first try was in vain, and another won, have not', async () => {
    const double = await startBucket({ minPartSize: KiB });
    const nodes = [await startNode(double, 3), await startNode(double, 3)] as const;
    // Each first try is lost before its effect: all of the second ones meet.
    const name = await handshake(nodes[0], length);
    double.faults.on('PutObject', { what: 'reset', nth: [1, 2, 3], match: isConditional });
    await Promise.all(nodes.map((node) => send(node, name, bytes)));
    for (const node of nodes) await untilProcessed(node, name, bytes);
    expect(nodes.flatMap(({ calls }) => calls)).toHaveLength(1);
  });
});

describe('two nodes that complete one upload', () => {
  test('at once, again and again: the handler is entered once', async () => {
    const double = await startBucket({ minPartSize: KiB });
    const nodes = [await startNode(double), await startNode(double)] as const;
    // So that both see all of it, and both want to be the one.
    double.faults.on('ListParts', { what: 'delay', when: 'after', delayMs: 5 });
    for (let round = 1; round <= 12; round++) {
      const bytes = content(50_000 + round, round);
      const name = await handshake(nodes[0], bytes.length);
      const middle = 20_000 + 1000 * round;
      // Each brings a half, or both the same.
      const [first, second] =
        round % 3 === 0
          ? ([[0, bytes.length] as const, [0, bytes.length] as const] as const)
          : ([[0, middle] as const, [middle, bytes.length] as const] as const);
      await Promise.all([send(nodes[0], name, bytes, first), send(nodes[1], name, bytes, second)]);
      const answers = await Promise.all(nodes.map((node) => untilProcessed(node, name, bytes)));
      expect(answers[0]?.body.equals(answers[1]?.body ?? Buffer.alloc(0))).toBe(true);
      expect([round, nodes.flatMap(({ calls }) => calls).length]).toEqual([round, round]);
      expect(double.uploads()).toEqual([]);
    }
    await nodes[0].store.gc({ olderThanMs: 0 });
    expect(fragments(double)).toEqual([]);
  });
});

describe('what comes late to an upload that another node has completed', () => {
  test.each([
    ['NoSuchUpload', { what: 'delay' }],
    ['InternalError', { what: 'status', when: 'before', status: 500 }], // as moto says it
  ] as const)(
    'a part (%s) whose bytes are in the object: its client gets the answer too',
    async (code, how) => {
      const double = await startBucket({ minPartSize: KiB });
      const nodes = [await startNode(double), await startNode(double)] as const;
      const bytes = content(5 * partSize);
      const name = await handshake(nodes[0], bytes.length);
      const held = gate();
      const late = double.faults.on('UploadPart', { nth: 1, ...how, until: held.opened });
      const slow = send(nodes[0], name, bytes);
      await expect.poll(() => late.fired, patient).toBe(1);
      expectProcessed(await send(nodes[1], name, bytes), bytes);
      const object = double.objects().find(({ key }) => key.endsWith('/content'));
      held.open();
      expectProcessed(await slow, bytes);
      const refused = double.log.filter((call) => call.operation === 'UploadPart' && call.code !== undefined);
      expect(refused.map((call) => call.code)).toContain(code);
      expect(nodes.flatMap(({ calls }) => calls)).toHaveLength(1);
      expect(nodes.flatMap(({ errors }) => errors)).toEqual([]);
      expect(double.objects().find(({ key }) => key.endsWith('/content'))).toBe(object);
      expect(double.uploads()).toEqual([]);
    },
  );

  test('a fragment is served to nobody, and gc removes it', async () => {
    const double = await startBucket({ minPartSize: KiB });
    const nodes = [await startNode(double, 1, { checkpointMs: 20 }), await startNode(double)] as const;
    const bytes = content(3 * partSize);
    const name = await handshake(nodes[0], bytes.length);
    const held = gate();
    const late = double.faults.on('PutObject', {
      match: isFragment,
      nth: 1,
      what: 'delay',
      until: held.opened,
    });
    // Other bytes than the content has there: were they served, it would show.
    const client = await open(nodes[0], {
      ...name,
      headers: { 'Content-Range': part(0, bytes.length, bytes.length) },
      length: bytes.length,
      body: new Uint8Array(1000),
    });
    await expect.poll(() => late.fired, patient).toBe(1);
    const answer = await send(nodes[1], name, bytes);
    expectProcessed(answer, bytes);
    held.open();
    await expect.poll(() => fragments(double), patient).toHaveLength(1);
    client.reset();
    for (const node of nodes) expectProcessed(await query(node, name), bytes);
    const id = nodes[1].calls[0]?.id ?? '';
    const read = async (): Promise<string> => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of nodes[0].store.read(id, 0, bytes.length)) chunks.push(chunk as Uint8Array);
      return sha256(Buffer.concat(chunks));
    };
    expect(await read()).toBe(sha256(bytes));
    expect(await nodes[0].store.gc({ olderThanMs: 0 })).toMatchObject({
      fragments: 1,
      contents: 0,
      bytes: 1000,
    });
    expect(fragments(double)).toEqual([]);
    expect(await read()).toBe(sha256(bytes));
    expect(nodes.flatMap(({ calls }) => calls)).toHaveLength(1);
  });
});

describe('a bucket that is short of time', () => {
  const bytes = content(100_000);
  const operations = [
    'CompleteMultipartUpload',
    'CreateMultipartUpload',
    'DeleteObjects',
    'GetObject',
    'HeadObject',
    'ListObjectsV2',
    'ListParts',
    'PutObject',
    'UploadPart',
  ] as const satisfies readonly S3Operation[];

  test.each(operations)(
    '503 SlowDown to %s is asked again by the SDK, and nobody sees it',
    async (operation) => {
      const double = await startBucket({ minPartSize: KiB });
      const node = await startNode(double, 3);
      const slow = double.faults.on(operation, { nth: [1, 2], what: 'status', status: 503 });
      const name = await handshake(node, bytes.length);
      // So that there is a fragment to be merged, and removed.
      expect((await send(node, name, bytes, [0, partSize + 1000])).status).toBe(308);
      expectProcessed(await send(node, name, bytes, [partSize + 1000, bytes.length]), bytes);
      expect([slow.fired, node.calls.length, node.errors]).toEqual([2, 1, []]);
      expect([fragments(double), double.uploads()]).toEqual([[], []]);
    },
  );

  test.each(operations)('503 SlowDown to %s past the retries: the client goes on', async (operation) => {
    const double = await startBucket({ minPartSize: KiB });
    const node = await startNode(double);
    const slow = double.faults.on(operation, { nth: [1, 2, 4], what: 'status', status: 503 });
    // Its connection ends in the middle of a part, so that there is a fragment to be merged, and removed.
    const forwarder = await Forwarder.start(partSize * 2 + 5000);
    cleanups.push(() => forwarder.close());
    forwarder.to(node.port);
    await uploadTo(forwarder, bytes);
    expect(slow.fired).toBeGreaterThan(0);
    expect(node.calls.length).toBeLessThanOrEqual(2);
    double.faults.clear();
    await node.store.gc({ olderThanMs: 0 });
    expect([fragments(double), double.uploads()]).toEqual([[], []]);
  });

  test.each(
    ['before', 'after'].flatMap((when) =>
      ['InternalError', 'SlowDown'].flatMap((code) =>
        [1, 3].map((attempts) => [code, when, attempts] as const),
      ),
    ),
  )('%s in the body of a 200, %s the object is made, with %i attempts', async (code, when, attempts) => {
    const double = await startBucket({ minPartSize: KiB });
    const node = await startNode(double, attempts);
    const fault = {
      nth: [1, 2],
      what: 'status',
      status: 200,
      code,
      when: when === 'after' ? 'after' : 'before',
    } as const;
    const failed = double.faults.on('CompleteMultipartUpload', fault);
    await uploadTo(node, bytes);
    expect(failed.fired).toBeGreaterThan(0);
    expect(node.calls).toHaveLength(1);
    expect(double.uploads()).toEqual([]);
  });
});

describe.each(sizes)(
  'the content of an upload that is %s, read from bodies that end too soon',
  (_what, length) => {
    const bytes = content(length);
    /** The record and its content may be one object; of the record the first bytes are asked for. */
    const isContent = ({ key, headers }: Call): boolean =>
      key.endsWith('/content') || (key.includes('/record/') && !headers.range?.startsWith('bytes=0-'));

    test.each([
      ['cut', undefined],
      ['cut', 0],
      ['cut', 300],
      ['short', undefined],
      ['short', 0],
      ['short', 300],
    ] as const)('the first two times (%s, %j): the handler gets all of it', async (what, afterBytes) => {
      const double = await startBucket({ minPartSize: KiB });
      const node = await startNode(double);
      const fault = {
        match: isContent,
        nth: [1, 2],
        what,
        ...(afterBytes !== undefined && { afterBytes }),
      } as const;
      const cut = double.faults.on('GetObject', fault);
      expectProcessed(await ask(node, { body: bytes }), bytes);
      expect([cut.fired, node.calls.length]).toEqual([2, 1]);
    });

    test.each(['cut', 'short'] as const)(
      'always (%s), a few bytes on each time: all of it or an error',
      async (what) => {
        const double = await startBucket({ minPartSize: KiB });
        const node = await startNode(double);
        const name = await handshake(node, length);
        double.faults.on('GetObject', { match: isContent, what, afterBytes: Math.ceil(length / 20) });
        const reply = await send(node, name, bytes);
        // What came just before its connection broke may be lost with it, and then nothing has moved.
        if (what === 'short' || reply.status === 201) expectProcessed(reply, bytes);
        else expect(reply.status).toBeGreaterThanOrEqual(500);
        double.faults.clear();
        await untilProcessed(node, name, bytes);
      },
    );

    test.each(['cut', 'short'] as const)('always (%s), and nothing more comes: an error', async (what) => {
      const double = await startBucket({ minPartSize: KiB });
      const ends: string[] = [];
      const node = await startNode(double, 1, {}, async (req, res) => {
        req.once('end', () => ends.push('end'));
        req.once('error', () => ends.push('error'));
        await digestHandler(req, res);
      });
      ends.length = 0;
      const name = await handshake(node, length);
      // What comes up to the middle comes; and behind it never a byte.
      let reads = 0;
      const isFirst = (call: Call): boolean => isContent(call) && ++reads === 1;
      const first = double.faults.on('GetObject', { match: isFirst, what, afterBytes: length >> 1 });
      const isLater = (call: Call): boolean => isContent(call) && reads > 1;
      const others = double.faults.on('GetObject', { match: isLater, what, afterBytes: 0 });
      const reply = await send(node, name, bytes);
      expect(first.fired).toBe(1);
      expect(others.fired).toBeGreaterThan(0);
      expect(reply.status).toBeGreaterThanOrEqual(500);
      expect(ends).not.toContain('end');
      expect(node.calls).toHaveLength(1);
      double.faults.clear();
      const answer = await untilProcessed(node, name, bytes);
      expect(digested(answer)).toEqual({ size: length, sha256: sha256(bytes) });
      expect(ends.at(-1)).toBe('end');
    });
  },
);
