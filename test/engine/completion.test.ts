import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Completion, Process, Verdict } from '../../src/engine/completion.ts';
import { faultyStore, systemError } from '../support/faulty-store.ts';
import {
  bring,
  content,
  gate,
  idle,
  newEngine,
  newId,
  newWorld,
  openSession,
  rejectsWith,
  storedSum,
  storeKinds,
  turn,
  wholeUpload,
} from '../support/model.ts';

const finished = (response: string): Verdict => ({ kind: 'finished', response, discard: false });

describe.each(storeKinds)('completion: %s', (name) => {
  test('of 50 who ask at once, one runs the handler and all get its answer', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const id = await wholeUpload(engine);
    let entered = 0;
    const process: Process = async ({ attempt }) => {
      entered++;
      await turn();
      return finished(`answer ${attempt}`);
    };
    const answers = await Promise.all(Array.from({ length: 50 }, () => engine.complete(id, process)));
    expect(entered).toBe(1);
    for (const answer of answers) {
      expect(answer).toMatchObject({ kind: 'finished', record: { response: 'answer 1' } });
    }
    expect(await engine.complete(id, process)).toMatchObject({ record: { response: 'answer 1' } });
    expect(entered).toBe(1);
    expect((await engine.find(id))?.record).toMatchObject({ response: 'answer 1', attempt: 1 });
    expect((await engine.find(id))?.record.claim).toBeUndefined();
    expect(engine.usage).toEqual(idle);
  });

  test('of 50 who ask three engines at once, one runs the handler and one answer is stored', async () => {
    const world = await newWorld(name);
    const engines = [1, 2, 3].map(() => newEngine(world.open()));
    const id = await wholeUpload(engines[0]!);
    let entered = 0;
    const running = gate();
    const process: Process = async () => {
      const n = ++entered;
      await running.opened;
      return finished(`answer ${n}`);
    };
    const asked = Array.from({ length: 50 }, (_, n) => engines[n % 3]!.complete(id, process));
    await expect.poll(() => entered, { interval: 1 }).toBe(1);
    expect(await Promise.race(asked)).toEqual({ kind: 'running' });
    running.open();
    const answers: Completion[] = await Promise.all(asked);
    expect(entered).toBe(1);
    const texts = answers.map((answer) =>
      answer.kind === 'finished' ? answer.record.response : answer.kind,
    );
    expect(new Set(texts)).toEqual(new Set(['answer 1', 'running']));
    for (const engine of engines) {
      expect(await engine.complete(id, process)).toMatchObject({ record: { response: 'answer 1' } });
      expect(engine.usage).toEqual(idle);
    }
    expect(entered).toBe(1);
  });

  test('a handler that throws gives the claim back, and the next run is attempt 2', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const id = await wholeUpload(engine);
    const attempts: number[] = [];
    const failing: Process = async ({ attempt }) => {
      attempts.push(attempt);
      throw new Error('the handler broke');
    };
    const asked = [engine.complete(id, failing), engine.complete(id, failing)];
    for (const promise of asked) await expect(promise).rejects.toThrow('the handler broke');
    expect((await engine.find(id))?.record).toMatchObject({ state: 'open', attempt: 1 });
    expect((await engine.find(id))?.record.claim).toBeUndefined();
    const answer = await engine.complete(id, async ({ attempt }) => {
      attempts.push(attempt);
      return finished('second');
    });
    expect(attempts).toEqual([1, 2]);
    expect(answer).toMatchObject({ kind: 'finished', record: { response: 'second', attempt: 2 } });
    expect((await engine.find(id))?.received).toEqual([{ start: 0, end: 5000 }]);
  });

  test('a handler that has no answer gives the claim back just the same', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const other = newEngine(world.open());
    const id = await wholeUpload(engine);
    expect(await engine.complete(id, async () => ({ kind: 'failed' }))).toEqual({ kind: 'failed' });
    expect((await engine.find(id))?.record).toMatchObject({ state: 'open', attempt: 1 });
    expect(await other.complete(id, async ({ attempt }) => finished(`attempt ${attempt}`))).toMatchObject({
      record: { response: 'attempt 2' },
    });
  });

  test('gives whoever ran the handler the record that is stored', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const id = await wholeUpload(engine);
    const answer = await engine.complete(id, async () => finished('done'));
    expect(answer).toEqual({ kind: 'finished', record: (await engine.find(id))?.record });
  });

  test('needs every byte, and an upload that exists', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const process: Process = () => Promise.reject(new Error('must not run'));
    const id = newId();
    await rejectsWith(engine.complete(id, process), 'not_found');
    const { session, feed } = await openSession(engine, id, { length: 100 });
    await feed.send(session.transfer, content(99));
    await session.finish(false);
    await rejectsWith(engine.complete(id, process), 'invalid_argument');
    expect((await engine.find(id))?.record).toMatchObject({ state: 'open', attempt: 0 });
    await bring(engine, id, content(100), { start: 99, end: 100 });
    expect(await engine.complete(id, async () => finished('now'))).toMatchObject({ kind: 'finished' });
  });

  test('of an empty upload works as of any other', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const id = await wholeUpload(engine, new Uint8Array());
    expect(await engine.complete(id, async ({ length }) => finished(`${length} bytes`))).toMatchObject({
      record: { response: '0 bytes' },
    });
  });

  test('discards the content when it was handed over, after the answer is stored', async () => {
    const world = await newWorld(name);
    const order: string[] = [];
    const store = faultyStore(world.open(), ({ op, when, record }) => {
      if (when === 'after' && (op === 'update' || op === 'discard')) order.push(record?.state ?? op);
    });
    const engine = newEngine(store);
    const id = await wholeUpload(engine);
    await engine.complete(id, async () => ({ kind: 'finished', response: 'moved', discard: true }));
    expect(order).toEqual(['claimed', 'finished', 'discard']);
    const found = await engine.find(id);
    expect(found?.record).toMatchObject({ state: 'finished', response: 'moved', moved: true });
    await expect(storedSum(store, id, 0, 5000)).rejects.toMatchObject({ code: 'gone' });
    expect(await engine.complete(id, () => Promise.reject(new Error('must not run')))).toMatchObject({
      record: { response: 'moved' },
    });
  });

  test('an answer that cannot be stored is no answer: the handler runs again once the claim has lapsed', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open(), ({ op, when, record }) => {
      if (op === 'update' && when === 'before' && record?.response === 'lost') throw systemError('EIO');
    });
    const engine = newEngine(store, { leaseMs: 30 });
    const id = await wholeUpload(engine);
    await rejectsWith(
      engine.complete(id, async () => finished('lost')),
      'store_failed',
    );
    expect((await engine.find(id))?.record.response).toBeUndefined();
    await expect
      .poll(async () => (await engine.complete(id, async ({ attempt }) => finished(`kept ${attempt}`))).kind)
      .toBe('finished');
    expect((await engine.find(id))?.record.response).toBe('kept 2');
    expect(engine.usage).toEqual(idle);
  });

  test('no room for an answer refuses before the handler runs', async () => {
    const world = await newWorld(name);
    const store = faultyStore(world.open(), ({ op, when, record }) => {
      if (op === 'update' && when === 'before' && record?.state === 'claimed') throw systemError('ENOSPC');
    });
    const engine = newEngine(store);
    const id = await wholeUpload(engine);
    await rejectsWith(
      engine.complete(id, () => Promise.reject(new Error('must not run'))),
      'no_space',
    );
    expect((await engine.find(id))?.record).toMatchObject({ state: 'open', attempt: 0 });
  });
});

describe('what fs keeps in staging for an answer', () => {
  const staged = (directory: string): Promise<string[]> => readdir(join(directory, 'staging'));

  test('is one file, which serves the next upload too, and goes with the store', async () => {
    const world = await newWorld('fs');
    const engine = newEngine(world.open());
    const seen = new Set<string>();
    for (let n = 0; n < 3; n++) {
      const id = await wholeUpload(engine);
      await engine.complete(id, async () => {
        for (const name of await staged(world.directory)) seen.add(name);
        return finished('done');
      });
    }
    expect(seen.size).toBe(1);
    await engine.close();
    expect(await staged(world.directory)).toEqual([]);
  });

  test('is given up by those who asked for it and lost the claim', async () => {
    const world = await newWorld('fs');
    const engines = [1, 2, 3].map(() => newEngine(world.open()));
    for (let n = 0; n < 10; n++) {
      const id = await wholeUpload(engines[0]!);
      await Promise.all(engines.map((engine) => engine.complete(id, async () => finished('done'))));
    }
    expect((await staged(world.directory)).length).toBeLessThanOrEqual(engines.length);
    await Promise.all(engines.map((engine) => engine.close()));
    expect(await staged(world.directory)).toEqual([]);
  });
});
