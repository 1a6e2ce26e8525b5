import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { isUploadError } from '../../../src/errors.ts';
import { KiB, rangesOf, sha256 } from '../content.ts';
import { readBytes, readSum, rejectsWith } from '../expect.ts';
import { seededRandom } from '../random.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import type { TrackedUpload } from '../tracked-upload.ts';

/** Completed, so that it can be read from every store; made whole, or in parts. */
const completed = async (
  stage: Stage,
  length: number,
  made: 'whole' | 'in parts',
): Promise<TrackedUpload> => {
  const upload = stage.upload({ length });
  if (made === 'whole') {
    await upload.createWhole(stage.store);
  } else {
    await upload.create(stage.store);
    await upload.put(stage.store, ...rangesOf(length, Math.ceil(length / 3)));
  }
  await upload.claim(stage.store);
  return upload;
};

const ways = ['whole', 'in parts'] as const;

const subRanges = ways.map(
  (made): Scenario => ({
    name: `read: every part of a small content, the empty ones too, of an upload made ${made}`,
    run: async (stage) => {
      const upload = await completed(stage, 24, made);
      for (const store of new Set([stage.store, await stage.another()])) {
        for (let start = 0; start <= 24; start++) {
          for (let end = start; end <= 24; end++) {
            const bytes = await readBytes(store, upload.id, start, end);
            assert.equal(bytes.toString('hex'), Buffer.from(upload.bytes(start, end)).toString('hex'));
          }
        }
      }
    },
  }),
);

const largeRanges = ways.map(
  (made): Scenario => ({
    name: `read: any part of 700 KiB, made ${made}`,
    bytes: 700 * KiB,
    run: async (stage) => {
      const upload = await completed(stage, 700 * KiB, made);
      const random = seededRandom(7);
      const edges = [0, 1, 64 * KiB, 256 * KiB - 1, 256 * KiB, 256 * KiB + 1, 512 * KiB, 700 * KiB];
      const bounds = [...edges, ...Array.from({ length: 8 }, () => random.below(700 * KiB))];
      for (let n = 0; n < 30; n++) {
        const [start, end] = [random.pick(bounds), random.pick(bounds)].sort((a, b) => a - b) as [
          number,
          number,
        ];
        const sum = await readSum(stage.store, upload.id, start, end);
        assert.equal(sum, sha256(upload.bytes(start, end)), `the bytes ${start}-${end}`);
      }
    },
  }),
);

export const readScenarios: readonly Scenario[] = [
  ...subRanges,
  ...largeRanges,
  {
    name: 'read: ten readers at once of one upload, each at its own pace',
    bytes: 300 * KiB,
    run: async (stage) => {
      const upload = await completed(stage, 300 * KiB, 'whole');
      const stores = [stage.store, await stage.another()];
      const sums = await Promise.all(
        Array.from({ length: 10 }, (_, n) =>
          readSum(stores[n % 2] ?? stage.store, upload.id, n * KiB, upload.length),
        ),
      );
      assert.deepEqual(
        sums,
        sums.map((_, n) => sha256(upload.bytes(n * KiB))),
      );
    },
  },
  {
    name: 'read: a slow consumer gets every byte',
    bytes: 600 * KiB,
    run: async (stage) => {
      const upload = await completed(stage, 600 * KiB, 'in parts');
      const chunks: Uint8Array[] = [];
      for await (const chunk of stage.store.read(upload.id, 0, upload.length)) {
        chunks.push(chunk as Uint8Array);
        for (let n = 0; n < 20; n++) await turn();
      }
      assert.equal(sha256(Buffer.concat(chunks)), upload.sum);
    },
  },
  {
    name: 'read: a stream that is destroyed, before its first byte or after, ends and lets go of all it holds',
    bytes: 600 * KiB,
    run: async (stage) => {
      const { store } = stage;
      const upload = await completed(stage, 600 * KiB, 'whole');
      const unread = store.read(upload.id, 0, upload.length);
      const closed = once(unread, 'close');
      unread.destroy();
      await closed;
      for (let n = 0; n < 3; n++) {
        const stream = store.read(upload.id, 0, upload.length);
        await once(stream, 'readable');
        stream.read(n === 0 ? 1 : undefined);
        stream.destroy();
        await once(stream, 'close');
      }
      for await (const _ of store.read(upload.id, 0, upload.length)) break;
      assert.equal(await readSum(store, upload.id, 0, upload.length), upload.sum);
    },
  },
  {
    name: 'read: what is received can be read while the upload is open, and while it is written',
    needs: ['readOpen', 'sparse'],
    bytes: 300 * KiB,
    run: async (stage) => {
      const { store } = stage;
      const other = await stage.another();
      const upload = stage.upload({ length: 300 * KiB });
      await upload.create(store);
      const writer = await upload.writer(store);
      await writer.put({ start: 100 * KiB, end: 200 * KiB });
      const reading = [store, other].map((view) => readSum(view, upload.id, 110 * KiB, 190 * KiB));
      await writer.put({ start: 200 * KiB, end: 300 * KiB }, { start: 0, end: 100 * KiB });
      for (const sum of await Promise.all(reading))
        assert.equal(sum, sha256(upload.bytes(110 * KiB, 190 * KiB)));
      await writer.close();
    },
  },
  {
    name: 'read: past the end of the content errors with gone, and with no byte too many before',
    run: async (stage) => {
      const upload = await completed(stage, 5000, 'whole');
      await rejectsWith(readSum(stage.store, upload.id, 5000, 5001), 'gone', 'reading past the end');
      await rejectsWith(readSum(stage.store, upload.id, 4000, 6000), 'gone', 'reading over the end');
    },
  },
  {
    name: 'read: content that is discarded under a reader is read to its end, or is gone; nothing else is read',
    bytes: 700 * KiB,
    run: async (stage) => {
      const { store } = stage;
      const upload = await completed(stage, 700 * KiB, 'whole');
      await upload.finish(store);
      const chunks: Uint8Array[] = [];
      try {
        for await (const chunk of store.read(upload.id, 0, upload.length)) {
          if (chunks.length === 0) await upload.handOver(store);
          chunks.push(chunk as Uint8Array);
        }
        assert.equal(sha256(Buffer.concat(chunks)), upload.sum);
      } catch (error) {
        if (!isUploadError(error, 'gone')) throw error;
        const read = Buffer.concat(chunks);
        assert.equal(sha256(read), sha256(upload.bytes(0, read.length)));
      }
    },
  },
];
