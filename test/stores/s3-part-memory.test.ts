import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IntervalSet } from '../../src/intervals.ts';
import { BufferPool } from '../../stores/s3/buffer-pool.ts';
import { type Holder, PartMemory } from '../../stores/s3/memory.ts';
import { PartBuffer } from '../../stores/s3/part-buffer.ts';
import { sumOf } from '../support/s3-direct.ts';
import { seededContent } from '../support/seeded-content.ts';

const part = 8;

/** As a writer: what it takes fills its part, and a part that is full is on its way until `arrive`. */
class Upload implements Holder {
  heldBytes = 0;
  activeAt = 0;
  spills = 0;
  readonly underway: number[] = [];
  readonly #memory: PartMemory;
  /** Whether it counts as active after a write; or as silent at once. */
  readonly #isQuick: boolean;

  constructor(memory: PartMemory, isQuick = false) {
    this.#memory = memory;
    this.#isQuick = isQuick;
    memory.add(this);
  }

  get missingBytes(): number {
    return this.heldBytes === 0 ? 0 : part - this.heldBytes;
  }

  async write(bytes: number): Promise<void> {
    await this.#memory.take(this, bytes);
    if (this.#isQuick) this.activeAt = Date.now();
    this.heldBytes += bytes;
    if (this.heldBytes >= part) this.#send();
    this.#memory.release(0, false);
  }

  spill(): void {
    this.spills++;
    this.#send();
  }

  /** The oldest of what is on its way has got there. */
  arrive(): boolean {
    const bytes = this.underway.shift();
    if (bytes !== undefined) this.#memory.release(bytes);
    return bytes !== undefined;
  }

  #send(): void {
    const bytes = this.heldBytes;
    this.heldBytes = 0;
    this.underway.push(bytes);
    this.#memory.leave(bytes);
  }
}

describe('the memory of all uploads', () => {
  test('is never used beyond its limit, and whoever waits goes on, whatever its clients do', async () => {
    const step = fc.record({
      upload: fc.nat(5),
      bytes: fc.integer({ min: 1, max: 6 }),
      arrives: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.integer({ min: 6, max: 40 }),
        async (steps, limit) => {
          const memory = new PartMemory(limit);
          const uploads = Array.from({ length: 6 }, () => new Upload(memory));
          const writes: Promise<void>[] = [];
          for (const { upload: at, bytes, arrives } of steps) {
            const upload = uploads[at] as Upload;
            if (arrives) upload.arrive();
            else writes.push(upload.write(bytes));
            await turn();
            expect(memory.used).toBeLessThanOrEqual(limit);
          }
          // Clients stay silent now: what is on its way arrives, and that is enough for everybody who waits.
          let done = false;
          const all = Promise.all(writes).then(() => {
            done = true;
          });
          while (uploads.some((upload) => upload.arrive()) || !done) {
            await turn();
            if (done) continue;
            expect(uploads.some(({ underway }) => underway.length > 0)).toBe(true);
          }
          await all;
          const held = uploads.reduce((sum, { heldBytes }) => sum + heldBytes, 0);
          expect(memory.used).toBe(held);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('lets what is larger than all of it in alone', async () => {
    const memory = new PartMemory(4);
    const upload = new Upload(memory);
    await upload.write(10);
    expect(memory.used).toBe(10);
    let isIn = false;
    const next = upload.write(1).then(() => {
      isIn = true;
    });
    await turn();
    expect(isIn).toBe(false);
    upload.arrive();
    await next;
  });

  test('gives its second half to the fullest, so that parts become complete and nothing is sent twice', async () => {
    const memory = new PartMemory(4 * part);
    const uploads = Array.from({ length: 20 }, () => new Upload(memory, true));
    const whole = async (upload: Upload): Promise<void> => {
      for (let at = 0; at < 10 * part; at++) await upload.write(1);
    };
    let isDone = false;
    const all = Promise.all(uploads.map(whole)).then(() => {
      isDone = true;
    });
    let largest = 0;
    while (!isDone) {
      await turn();
      largest = Math.max(largest, ...uploads.map(({ underway }) => underway.length));
      for (const upload of uploads) upload.arrive();
    }
    await all;
    expect(uploads.map(({ spills }) => spills)).toEqual(uploads.map(() => 0));
  });

  test('takes from whoever is silent before it takes from whoever waits', async () => {
    const memory = new PartMemory(12);
    const [silent, active] = [new Upload(memory), new Upload(memory)];
    await silent.write(5);
    await active.write(7);
    const write = active.write(1);
    await turn();
    expect([silent.spills, active.spills]).toEqual([1, 0]);
    silent.arrive();
    await write;
  });
});

describe('a part that is arriving', () => {
  const range = { start: 1000, end: 2000 };
  const bytes = seededContent(1000);

  test.each([
    ['', 1000],
    [', and is too large for memory in one piece', 999],
  ])('is what came, in whatever order and however often%s', (_, inMemory) => {
    const pool = new BufferPool(10_000);
    const piece = fc.tuple(fc.nat(999), fc.integer({ min: 1, max: 400 }));
    fc.assert(
      fc.property(
        fc.array(piece, { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 50 }),
        (pieces, cut) => {
          const buffer = new PartBuffer(1, range, { pool, inMemory });
          let added = 0;
          for (const [at, length] of pieces) {
            const end = Math.min(1000, at + length);
            const chunks: Uint8Array[] = [];
            for (let from = at; from < end; from += cut)
              chunks.push(bytes.slice(from, Math.min(end, from + cut)));
            added += buffer.add(chunks, 1000 + at, end - at);
            for (const chunk of chunks) chunk.fill(0); // they are their sender's again
          }
          expect(added).toBe(buffer.size);
          const check = (): void => {
            const runs = [...buffer.runs(), ...buffer.joinedRuns(300)];
            expect(runs.every(({ start, end, bytes: run }) => end - start === run.byteLength)).toBe(true);
            const found = IntervalSet.from(runs);
            expect(found.ranges()).toEqual(buffer.held.ranges());
            for (const { start, end, bytes: run } of runs) {
              expect(sumOf(run)).toBe(sumOf(bytes.subarray(start - 1000, end - 1000)));
            }
          };
          check();
          const joined = buffer.joined();
          expect(joined.byteLength).toBe(1000);
          for (const { start, end } of buffer.held.ranges()) {
            expect(sumOf(joined.subarray(start - 1000, end - 1000))).toBe(
              sumOf(bytes.subarray(start - 1000, end - 1000)),
            );
          }
          check();
          buffer.end();
        },
      ),
    );
  });
});

test('memory for parts is used again, up to a bound, and only where it is of the same size', () => {
  const pool = new BufferPool(3000);
  const buffers = Array.from({ length: 4 }, () => pool.take(1000));
  expect(new Set(buffers).size).toBe(4);
  for (const buffer of buffers) pool.give(buffer);
  expect(buffers).not.toContain(pool.take(999));
  const again = Array.from({ length: 4 }, () => pool.take(1000));
  expect(again.filter((buffer) => buffers.includes(buffer))).toHaveLength(2); // one has made room for the 999
});
