import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { IntervalSet } from '../../src/intervals.ts';
import type { UploadRecord } from '../../src/store.ts';
import { fsStore } from '../../stores/fs.ts';
import { systemError } from '../support/faulty-store.ts';
import {
  content,
  idle,
  newEngine,
  newId,
  newWorld,
  openSession,
  sha256,
  storedSum,
} from '../support/model.ts';

// The store's own calls to the operating system, made to fail one by one: what a failing disk does lies between
// the steps of one store operation.

interface SystemCall {
  readonly name: 'fdatasync' | 'writev' | 'write' | 'stat';
  readonly path: string;
  readonly when: 'before' | 'after';
}

const system = vi.hoisted(() => ({
  hook: (_: SystemCall): void | Promise<void> => undefined,
}));

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const util = await import('node:util');
  const around = async <T>(
    name: 'fdatasync' | 'writev' | 'write',
    fd: number,
    run: () => Promise<T>,
  ): Promise<T> => {
    const path = fs.readlinkSync(`/proc/self/fd/${fd}`);
    await system.hook({ name, path, when: 'before' });
    const result = await run();
    await system.hook({ name, path, when: 'after' });
    return result;
  };
  const dataSync = util.promisify(fs.fdatasync);
  const writeVector = util.promisify(fs.writev);
  const writeBytes = util.promisify(fs.write) as (
    fd: number,
    bytes: Uint8Array,
    from: number,
    count: number,
    at: number | null,
  ) => Promise<{ bytesWritten: number }>;
  const write = (
    fd: number,
    bytes: Uint8Array,
    from: number,
    count: number,
    at: number | null,
    done: (error: Error | null, written?: number) => void,
  ): void => {
    around('write', fd, () => writeBytes(fd, bytes, from, count, at)).then(
      ({ bytesWritten }) => done(null, bytesWritten),
      done,
    );
  };
  const fdatasync = (fd: number, done: (error: Error | null) => void): void => {
    around('fdatasync', fd, () => dataSync(fd)).then(() => done(null), done);
  };
  const promisedWritev = (fd: number, buffers: readonly Uint8Array[], at?: number) =>
    around('writev', fd, () => writeVector(fd, buffers, at));
  const writev = (
    fd: number,
    buffers: readonly Uint8Array[],
    at: number,
    done: (error: Error | null, written?: number) => void,
  ): void => {
    promisedWritev(fd, buffers, at).then(({ bytesWritten }) => done(null, bytesWritten), done);
  };
  Object.defineProperty(writev, util.promisify.custom, { value: promisedWritev });
  return { ...fs, default: fs, fdatasync, writev, write };
});

vi.mock('node:fs/promises', async (original) => {
  const fs = await original<typeof import('node:fs/promises')>();
  const stat = async (path: string) => {
    await system.hook({ name: 'stat', path, when: 'before' });
    const facts = await fs.stat(path);
    await system.hook({ name: 'stat', path, when: 'after' });
    return facts;
  };
  return { ...fs, default: fs, stat };
});

afterEach(() => {
  system.hook = () => undefined;
});

const length = 12_000;
const bytes = content(length);
const sizes = { batchBytes: 2000, checkpointBytes: 4000, flushMs: 1, checkpointMs: 5 };

const newRecord = (id: string, attempt = 0): UploadRecord => ({
  id,
  createdAt: 0,
  state: 'open',
  metadata: {},
  attempt,
});

/** Resumes from what is acknowledged until it is whole; each acknowledgement must hold all earlier ones. */
const upload = async (directory: string): Promise<void> => {
  const store = fsStore(directory, { durability: 'power' });
  const engine = newEngine(store, sizes);
  const id = newId();
  const acknowledged = new IntervalSet();
  for (let rounds = 0; ; rounds++) {
    if (rounds > 5) throw new Error('no end');
    const received = (await engine.query(id))?.received ?? [];
    const now = IntervalSet.from(received);
    for (const { start, end } of acknowledged.ranges()) expect(now.covers(start, end)).toBe(true);
    acknowledged.addAll(received);
    const [gap] = now.missing(0, length);
    if (gap === undefined) break;
    const { session, feed } = await openSession(engine, id, { ...gap, length });
    await feed.send(session.transfer, bytes.subarray(gap.start, gap.end), 700);
    const result = await session.finish(feed.stopped === undefined).catch(() => undefined);
    acknowledged.addAll(result?.received ?? []);
  }
  expect(await storedSum(store, id, 0, length)).toBe(sha256(bytes));
  expect(engine.usage).toEqual(idle);
};

describe('fs: the operating system’s calls', () => {
  test('each sync and write failed in turn, before and after its effect: equal sums in the end', async () => {
    let count = 0;
    system.hook = ({ when }) => {
      if (when === 'before') count++;
    };
    await upload((await newWorld('fs')).directory);
    expect(count).toBeGreaterThan(10);
    for (const when of ['before', 'after'] as const) {
      for (let nth = 1; nth <= count; nth++) {
        const world = await newWorld('fs');
        let calls = 0;
        system.hook = (call) => {
          if (call.name !== 'stat' && call.when === when && ++calls === nth) throw systemError('EIO');
        };
        await upload(world.directory);
        expect(world.descriptors()).toBe(0);
      }
    }
  });

  test.each(['content', 'journal.'])(
    'a failed sync of %s acknowledges nothing, and nobody later does it for that',
    async (file) => {
      const world = await newWorld('fs');
      const store = fsStore(world.directory, { durability: 'power' });
      const engine = newEngine(store, { ...sizes, checkpointMs: 60_000, checkpointBytes: 1_000_000 });
      const id = newId();
      const { session, feed } = await openSession(engine, id, { length });
      await feed.send(session.transfer, bytes.subarray(0, 2000));
      expect((await engine.query(id))?.received).toEqual([{ start: 0, end: 2000 }]);
      system.hook = ({ name, path, when }) => {
        if (name === 'fdatasync' && when === 'before' && path.includes(`/${file}`)) throw systemError('EIO');
      };
      await feed.send(session.transfer, bytes.subarray(2000, 4000));
      await expect(session.finish(false)).rejects.toMatchObject({ code: 'store_failed' });
      system.hook = () => undefined;
      // The entry may be in the page cache, marked clean: a power cut would lose it, so it must not count.
      expect((await engine.query(id))?.received).toEqual([{ start: 0, end: 2000 }]);
      expect(world.descriptors()).toBe(0);
    },
  );

  test('whoever appended a version first is told so, even if the next version is there at once', async () => {
    const world = await newWorld('fs');
    const [one, two] = [fsStore(world.directory), fsStore(world.directory)];
    const id = newId();
    await one.create(newRecord(id));
    let second: boolean | undefined;
    let entered = false;
    system.hook = async ({ name, path, when }) => {
      if (name !== 'write' || when !== 'after' || !path.endsWith('/records') || entered) return;
      entered = true;
      const stored = await two.load(id);
      second = await two.update(stored?.version ?? 0, newRecord(id, (stored?.record.attempt ?? 0) + 1));
    };
    const first = await one.update(1, newRecord(id, 1));
    expect(await two.load(id)).toMatchObject({ version: 3, record: { attempt: 2 } });
    expect([first, second]).toEqual([true, true]);
  });

  test('an update of an upload that is purged meanwhile says false', async () => {
    const world = await newWorld('fs');
    const store = fsStore(world.directory);
    const id = newId();
    await store.create(newRecord(id));
    system.hook = async ({ name, path, when }) => {
      if (name === 'write' && when === 'after' && path.endsWith('/records'))
        await fsStore(world.directory).purge(id);
    };
    expect(await store.update(1, newRecord(id, 1))).toBe(false);
    expect(await store.load(id)).toBeUndefined();
  });

  test('a version that could not be synced is taken back, and nobody later believes it', async () => {
    const world = await newWorld('fs');
    const store = fsStore(world.directory);
    const id = newId();
    await store.create(newRecord(id));
    system.hook = ({ name, path, when }) => {
      if (name === 'fdatasync' && when === 'before' && path.endsWith('/records')) throw systemError('EIO');
    };
    await expect(store.update(1, newRecord(id, 7))).rejects.toMatchObject({ code: 'EIO' });
    system.hook = () => undefined;
    for (const other of [store, fsStore(world.directory)]) {
      expect(await other.load(id)).toMatchObject({ version: 1, record: { attempt: 0 } });
    }
    expect(await store.update(1, newRecord(id, 8))).toBe(true);
    expect(await fsStore(world.directory).load(id)).toMatchObject({ version: 2, record: { attempt: 8 } });
  });

  test('on a full disk the answer takes the room that was kept for it', async () => {
    const world = await newWorld('fs');
    const store = fsStore(world.directory);
    const id = newId();
    await store.create({ ...newRecord(id), state: 'claimed' }, undefined, { reserve: 50_000 });
    const staging = join(world.directory, 'staging');
    expect(await readdir(staging)).toHaveLength(1);
    // Full as long as the room is kept: giving that up is what makes the next attempt succeed.
    system.hook = async ({ name, path, when }) => {
      const isFull = (await readdir(staging)).length > 0;
      if (name === 'write' && when === 'before' && path.endsWith('/records') && isFull)
        throw systemError('ENOSPC');
    };
    await expect(store.update(1, newRecord(id, 1), { reserve: 50_000 })).rejects.toMatchObject({
      code: 'ENOSPC',
    });
    expect(await readdir(staging)).toHaveLength(1);
    const answered: UploadRecord = { ...newRecord(id, 1), state: 'finished', response: 'r'.repeat(40_000) };
    expect(await store.update(1, answered)).toBe(true);
    expect(await readdir(staging)).toEqual([]);
    expect(await fsStore(world.directory).load(id)).toMatchObject({ record: answered });
    expect(world.descriptors()).toBe(0);
  });

  test('an upload that grows while it is loaded is not taken for one that has lost bytes', async () => {
    const world = await newWorld('fs');
    const store = fsStore(world.directory);
    const id = newId();
    await store.create({ id, createdAt: 0, state: 'open', metadata: {}, attempt: 0, length });
    const writer = await store.writer(id);
    const put = async (start: number, end: number): Promise<void> => {
      await writer.write([bytes.slice(start, end)], start);
      await writer.sync();
    };
    await put(0, 1000);
    let grown = false;
    system.hook = async ({ name, path, when }) => {
      if (name !== 'stat' || when !== 'after' || !path.endsWith('/content') || grown) return;
      grown = true;
      await put(1000, 5000);
    };
    const received = (await fsStore(world.directory).load(id))?.received;
    expect(grown).toBe(true);
    expect(IntervalSet.from(received ?? []).covers(0, 1000)).toBe(true);
    await writer.close();
  });

  test('an upload that is answered and handed over while it is loaded is finished, not gone', async () => {
    const world = await newWorld('fs');
    const store = fsStore(world.directory);
    const id = newId();
    const claimed: UploadRecord = {
      id,
      createdAt: 0,
      state: 'claimed',
      metadata: {},
      attempt: 1,
      length,
      claim: { owner: 'elsewhere.1.1.000000000000-1', expiresAt: Date.now() + 600_000 },
    };
    await store.create(claimed, [bytes]);
    let answered = false;
    system.hook = async ({ name, path, when }) => {
      if (name !== 'stat' || when !== 'before' || !path.endsWith('/whole') || answered) return;
      answered = true;
      const { claim: _, ...record } = claimed;
      expect(await store.update(1, { ...record, state: 'finished', response: 'done', moved: true })).toBe(
        true,
      );
      await store.discard(id);
    };
    expect(await fsStore(world.directory).load(id)).toMatchObject({
      record: { state: 'finished', response: 'done' },
    });
    expect(answered).toBe(true);
  });
});
