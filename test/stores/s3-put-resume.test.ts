import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PutProgress, PutState } from '../../stores/s3.ts';
import {
  type DirectWorld,
  directWorld,
  expectNeverFalls,
  failingAfter,
  partSize,
  settled,
  silentAfter,
  streamOf,
  sumOf,
} from '../support/s3-direct.ts';
import { seededContent } from '../support/seeded-content.ts';

let world: DirectWorld;
beforeEach(async () => {
  world = await directWorld();
});
afterEach(() => world.close());

const content = seededContent(10 * partSize + 123);
/** As it would come to another process. */
const sent = (state: PutState | undefined): PutState => JSON.parse(JSON.stringify(state));
const until = async (isSo: () => boolean): Promise<void> => {
  while (!isSo()) await delay(2);
};

const isPart =
  (number: number) =>
  ({ partNumber }: { readonly partNumber?: number }): boolean =>
    partNumber === number;

describe('a state', () => {
  /** Of an upload whose source breaks off after so many bytes. */
  const brokenAt = async (bytes: number): Promise<PutState> => {
    const put = world.store.putStream('a', failingAfter(content.subarray(0, bytes), new Error('broke off')));
    await settled(put.result);
    return sent(put.state());
  };

  test.each([partSize + 1, 3 * partSize, 3 * partSize + 1, content.byteLength])(
    'goes on from the last part, %i bytes having been read',
    async (bytes) => {
      const state = await brokenAt(bytes);
      expect(state.offset).toBe(Math.floor(bytes / partSize) * partSize);
      const before = world.double.calls.UploadPart;
      const progress: PutProgress[] = [];
      const options = { state, onProgress: (now: PutProgress) => progress.push(now) };
      const rest = content.subarray(state.offset);
      const { size } = await world.store.putStream('a', streamOf(rest), options).result;
      expect(size).toBe(content.byteLength);
      expect(world.sum('a')).toBe(sumOf(content));
      expect(world.double.calls.UploadPart - before).toBe(Math.ceil(rest.byteLength / partSize));
      expect(progress[0]).toMatchObject({ state: 'reading', read: state.offset, stored: state.offset });
      expectNeverFalls(progress);
    },
  );

  test('of a source that has no more makes the object of what is there', async () => {
    const state = await brokenAt(3 * partSize);
    await world.store.putStream('a', Readable.from([]), { state }).result;
    expect(world.sum('a')).toBe(sumOf(content.subarray(0, 3 * partSize)));
  });

  test.each([0, 1, 2 * partSize])('without parts takes %i bytes', async (size) => {
    world.double.faults.on('UploadPart', { nth: 1, what: 'status', status: 500 });
    const state = await brokenAt(partSize + 1);
    expect(state).toMatchObject({ parts: [], offset: 0 });
    await world.store.putStream('a', streamOf(content.subarray(0, size)), { state }).result;
    expect(world.sum('a')).toBe(sumOf(content.subarray(0, size)));
    expect(world.double.uploads()).toEqual([]);
  });

  test('after a completion that failed has only whole parts', async () => {
    world.double.faults.on('CompleteMultipartUpload', { nth: 1, what: 'status', status: 500 });
    const put = world.store.putStream('a', streamOf(content));
    await expect(put.result).rejects.toMatchObject({ code: 'store_failed' });
    const state = sent(put.state());
    expect(state.offset).toBe(10 * partSize);
    const longer = seededContent(12 * partSize);
    await world.store.putStream('a', streamOf(longer.subarray(state.offset)), { state }).result;
    expect(world.sum('a')).toBe(sumOf(longer));
  });

  test('may break off again and again', async () => {
    let state: PutState | undefined;
    for (let times = 0; times < 8; times++) {
      const rest = content.subarray(state?.offset ?? 0).subarray(0, partSize + 500);
      const put = world.store.putStream('a', failingAfter(rest, new Error('again')), state && { state });
      await settled(put.result);
      state = sent(put.state());
    }
    expect(state?.offset).toBe(8 * partSize);
    await world.store.putStream('a', streamOf(content.subarray(8 * partSize)), state && { state }).result;
    expect(world.sum('a')).toBe(sumOf(content));
  });

  test('taken in the middle has no gap', async () => {
    world.double.faults.on('UploadPart', { match: isPart(3), what: 'delay', delayMs: 100 });
    const put = world.store.putStream('a', silentAfter(content));
    await until(() => world.double.calls.UploadPart >= 5);
    const offset = put.state()?.offset;
    await put.abort();
    expect(offset).toBeLessThanOrEqual(2 * partSize);
  });

  test('that names an upload that is gone is a clear error, before the source is read', async () => {
    const state = await brokenAt(3 * partSize);
    await world.store.putStream('a', streamOf(content), { state }).abort();
    const source = streamOf(content.subarray(state.offset));
    const put = world.store.putStream('a', source, { state });
    await expect(put.result).rejects.toMatchObject({
      code: 'gone',
      id: 'a',
      message: 'the multipart upload is no more: it was completed, aborted or has expired',
    });
    expect(source.readableDidRead).toBe(false);
  });

  test('that names a part that is not there, or is another, is gone', async () => {
    const state = await brokenAt(3 * partSize);
    const [first] = state.parts;
    const other = { ...state, parts: state.parts.map(({ number }) => ({ number, etag: first?.etag ?? '' })) };
    const put = world.store.putStream('a', streamOf(content.subarray(state.offset)), { state: other });
    await expect(put.result).rejects.toMatchObject({ code: 'gone', offset: partSize });
    await put.abort();
  });

  test('of another key, with a gap, or of another offset is refused', async () => {
    const state = await brokenAt(3 * partSize);
    const { parts, offset } = state;
    const unusable = [
      { ...state, key: 'b' },
      { ...state, offset: offset + 1 },
      { ...state, parts: parts.slice(1), offset: offset - partSize },
    ];
    for (const bad of unusable) {
      const put = world.store.putStream('a', streamOf(content), { state: bad });
      await expect(put.result).rejects.toMatchObject({ code: 'invalid_argument' });
    }
    await world.store.putStream('a', streamOf(content), { state }).abort();
  });
});
