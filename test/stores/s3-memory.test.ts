import { S3Client } from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { PartMemory } from '../../stores/s3/memory.ts';
import { type S3StoreOptions, s3Store } from '../../stores/s3.ts';
import { gate } from '../support/gate.ts';
import type { RawClient } from '../support/raw-client.ts';
import {
  ask,
  content,
  expectProcessed,
  handshake,
  type Name,
  open,
  part,
  query,
  send,
  untilStored,
} from '../support/requests.ts';
import { type S3Double, type S3DoubleOptions, startS3Double } from '../support/s3/double.ts';
import { type Options, type Service, startService } from '../support/service.ts';

// What the store holds in memory, seen through requests over HTTP and a bucket that takes its time.

const KiB = 1024;
const partSize = 64 * KiB;
const cleanups: (() => unknown)[] = [];
/** Every memory that a store has, and the most it ever held; the store keeps both to itself. */
const peaks = new Map<PartMemory, number>();

beforeEach(() => {
  peaks.clear();
  const { take, release } = PartMemory.prototype;
  const note = (memory: PartMemory): void => {
    peaks.set(memory, Math.max(peaks.get(memory) ?? 0, memory.used));
  };
  // Those are what lets somebody in.
  vi.spyOn(PartMemory.prototype, 'take').mockImplementation(function (this: PartMemory, ...args) {
    const taken = take.apply(this, args);
    note(this);
    return taken;
  });
  vi.spyOn(PartMemory.prototype, 'release').mockImplementation(function (this: PartMemory, ...args) {
    release.apply(this, args);
    note(this);
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const startBucket = async (options: S3DoubleOptions = {}): Promise<S3Double> => {
  const double = await startS3Double({ minPartSize: KiB, ...options });
  cleanups.push(async () => {
    await double.close();
    expect(double.unknown).toEqual([]);
  });
  return double;
};

/** Time alone makes nothing safe here: what is held stays held until its part is whole, or memory is short. */
const startNode = (
  double: S3Double,
  storeOptions: Partial<S3StoreOptions>,
  options: Options = {},
): Promise<Service> => {
  const client = new S3Client({ ...double.clientConfig, maxAttempts: 1 });
  cleanups.push(() => client.destroy());
  const store = s3Store({
    client,
    bucket: double.bucket,
    partSize,
    provider: { minPart: KiB },
    spillMs: 600_000,
    ...storeOptions,
  });
  const patient = { flushMs: 5, checkpointMs: 600_000, batchBytes: 16 * KiB };
  return startService('memory', { store, ...patient, ...options });
};

const memory = (): PartMemory => {
  const [only, ...others] = peaks.keys();
  if (only === undefined || others.length > 0) throw new Error('not one store has held something');
  return only;
};

const untilHeld = (bytes: number): Promise<void> =>
  vi.waitFor(() => expect(memory().used).toBe(bytes), { timeout: 10_000, interval: 5 });

const fragments = (double: S3Double): number => {
  const puts = double.log.filter(({ operation }) => operation === 'PutObject');
  return puts.filter(({ key }) => key.includes('/fragment/')).length;
};

/** A client that has announced all of its content, has sent so much of it, and is silent. */
const begin = async (
  node: Service,
  bytes: Uint8Array,
  sent: number,
): Promise<{ readonly name: Name; readonly client: RawClient }> => {
  const name = await handshake(node, bytes.length);
  const headers = { 'Content-Range': part(0, bytes.length, bytes.length) };
  const client = await open(node, { ...name, headers, length: bytes.length, body: bytes.subarray(0, sent) });
  return { name, client };
};

/** To its answer, however often that has to be asked for. */
const untilProcessed = (node: Service, name: Name, bytes: Uint8Array): Promise<void> =>
  vi.waitFor(async () => expectProcessed(await query(node, name), bytes), { timeout: 20_000, interval: 50 });

describe('clients that have fallen silent', () => {
  // As many as fill what may be held without completing a part; and more than the memory has room for.
  test.each([2, 6])('%i of them block nobody, and one request goes at a time', async (count) => {
    const double = await startBucket();
    const node = await startNode(double, { concurrency: 1, memoryBudget: 2 * partSize });
    const contents = Array.from({ length: count }, (_, i) => content(2 * partSize, i + 1));
    const idle = await Promise.all(contents.map((bytes) => begin(node, bytes, partSize / 2)));
    await untilHeld(partSize);

    const third = content(500_000, 30);
    expectProcessed(await ask(node, { target: '/upload', body: third }), third);
    // They were not woken, only relieved of what they had sent.
    expect(fragments(double)).toBeGreaterThan(0);
    for (const { client } of idle) expect(client.socket.destroyed).toBe(false);

    await Promise.all(
      idle.map(async ({ client }, i) => {
        const bytes = contents[i] ?? Buffer.alloc(0);
        await client.write(bytes.subarray(partSize / 2));
        expectProcessed(await client.response(), bytes);
      }),
    );
    await untilHeld(0);
  });

  test('block nobody while the bucket is slow to take what they have left', async () => {
    const double = await startBucket();
    const node = await startNode(double, { concurrency: 1, memoryBudget: 2 * partSize });
    double.faults.on('PutObject', { what: 'delay', delayMs: 150 });
    double.faults.on('UploadPart', { what: 'delay', delayMs: 50 });
    const bytes = content(2 * partSize, 4);
    const idle = await Promise.all([begin(node, bytes, partSize / 2), begin(node, bytes, partSize / 2)]);
    await untilHeld(partSize);
    const third = content(500_000, 5);
    expectProcessed(await ask(node, { body: third }), third);
    for (const { name, client } of idle) {
      client.reset();
      await untilStored(node, name, `bytes=0-${partSize / 2 - 1}`);
    }
    await untilHeld(0);
  });
});

describe('a budget below what would be sent at once', () => {
  const length = 100_001;
  const ranges = 4;

  // One byte; less than a part; and more than one, but less than the 32 parts that eight uploads have at once.
  test.each([1, 10_000, 60_000])(
    '%i bytes: all of it arrives',
    async (memoryBudget) => {
      const double = await startBucket();
      const node = await startNode(double, { memoryBudget, concurrency: 4 });
      const uploads = await Promise.all(
        Array.from({ length: 8 }, async (_, i) => {
          const bytes = content(length, i + 1);
          return { bytes, name: await handshake(node, length) };
        }),
      );
      await Promise.all(
        uploads.flatMap(({ name, bytes }) =>
          Array.from({ length: ranges }, async (_, i) => {
            const [start, end] = [i, i + 1].map((at) => Math.floor((at * length) / ranges));
            const reply = await send(node, name, bytes, [start ?? 0, end ?? length]);
            expect([201, 308, 503]).toContain(reply.status);
          }),
        ),
      );
      await Promise.all(uploads.map(({ name, bytes }) => untilProcessed(node, name, bytes)));
      expect(node.calls).toHaveLength(uploads.length);
      await untilHeld(0);
      expect(double.uploads()).toEqual([]);
      expect(double.objects().filter(({ key }) => key.includes('/fragment/'))).toEqual([]);
    },
    60_000,
  );
});

test('a slow bucket holds clients back: no more is held than the budget', async () => {
  const double = await startBucket();
  const memoryBudget = 256 * KiB;
  const node = await startNode(double, { memoryBudget, concurrency: 4, partSize: 32 * KiB });
  double.faults.on('UploadPart', { what: 'delay', delayMs: 20 });
  double.faults.on('PutObject', { what: 'delay', delayMs: 20 });
  await Promise.all(
    Array.from({ length: 20 }, async (_, i) => {
      const bytes = content(400_000, i + 1);
      expectProcessed(await ask(node, { body: bytes }), bytes);
    }),
  );
  // A batch is let in as a whole when there is room for it, and only one that is larger than the budget enters alone:
  // this budget has room for several. What waits to be let in is the engine's, and in its own budget.
  const peak = peaks.get(memory()) ?? 0;
  expect(peak).toBeGreaterThan(memoryBudget / 2);
  expect(peak).toBeLessThanOrEqual(memoryBudget);
  await untilHeld(0);
}, 60_000);

describe('the memory of a client that goes away in the middle of a part', () => {
  test('is given back, and what it sent is kept', async () => {
    const double = await startBucket();
    const node = await startNode(double, { memoryBudget: partSize });
    const bytes = content(2 * partSize);
    for (const end of ['reset', 'finish'] as const) {
      const { name, client } = await begin(node, bytes, partSize / 2);
      await untilHeld(partSize / 2);
      client[end]();
      await untilHeld(0);
      await untilStored(node, name, `bytes=0-${partSize / 2 - 1}`);
    }
  });

  test('is given back where nobody could go on with the upload', async () => {
    const double = await startBucket();
    const node = await startNode(double, { memoryBudget: partSize });
    for (let i = 0; i < 4; i++) {
      const client = await open(node, { length: 2 * partSize, body: content(partSize / 2) });
      await untilHeld(partSize / 2);
      client.reset();
      await untilHeld(0);
    }
    await expect.poll(() => double.uploads()).toEqual([]);
    expect(double.objects().filter(({ key }) => /fragment|content/.test(key))).toEqual([]);
  });

  test('is given back when the part that is under way has got there, or has failed', async () => {
    const double = await startBucket();
    const node = await startNode(double, { memoryBudget: 2 * partSize });
    const bytes = content(3 * partSize);
    for (const what of ['delay', 'reset'] as const) {
      const held = gate();
      double.faults.clear();
      double.faults.on('UploadPart', { nth: 1, what, until: held.opened });
      const before = double.calls.UploadPart;
      const { client, name } = await begin(node, bytes, partSize + 1000);
      await expect.poll(() => double.calls.UploadPart).toBe(before + 1);
      client.reset();
      await client.closed;
      expect(memory().used).toBeGreaterThanOrEqual(partSize);
      held.open();
      await untilHeld(0);
      expectProcessed(await send(node, name, bytes), bytes);
    }
    await untilHeld(0);
  });

  test('is there for the next: it need not divide a part', async () => {
    const double = await startBucket();
    const node = await startNode(double, { memoryBudget: 2 * partSize });
    const bytes = content(2 * partSize);
    for (let i = 0; i < 5; i++) {
      const { client, name } = await begin(node, bytes, partSize - 1000);
      await untilHeld(partSize - 1000);
      client.reset();
      await untilStored(node, name, `bytes=0-${partSize - 1001}`);
    }
    const before = fragments(double);
    const next = content(4 * partSize, 9);
    expectProcessed(await ask(node, { body: next }), next);
    expect(fragments(double)).toBe(before);
  });
});
