import { describe, expect, test } from 'vitest';
import type { Process, Verdict } from '../../src/engine/completion.ts';
import type { Engine } from '../../src/engine.ts';
import { self } from '../../src/owner.ts';
import type { Store, UploadRecord } from '../../src/store.ts';
import { type FaultyStore, faultyStore, systemError } from '../support/faulty-store.ts';
import {
  content,
  deadOwner,
  gate,
  idle,
  newEngine,
  newId,
  newWorld,
  storeKinds,
  wholeUpload,
} from '../support/model.ts';

const finished = (response: string): Verdict => ({ kind: 'finished', response, discard: false });

const mustNotRun: Process = () => Promise.reject(new Error('must not run'));

/** Claims succeed and renewals fail, as over a disk that has gone away for a while. */
const withoutRenewals = (store: Store): FaultyStore => {
  let claims = 0;
  return faultyStore(store, ({ op, when, record }) => {
    if (op === 'update' && when === 'before' && record?.state === 'claimed' && ++claims > 1) {
      throw systemError('EIO');
    }
  });
};

/** A whole upload whose handler `owner` is said to be running. */
const claimedBy = async (store: Store, owner: string, expiresAt: number): Promise<string> => {
  const id = newId();
  const record: UploadRecord = {
    id,
    createdAt: Date.now(),
    state: 'claimed',
    length: 100,
    metadata: {},
    attempt: 1,
    claim: { owner, expiresAt },
  };
  await store.create(record, [content(100)]);
  return id;
};

/** Resolves once the lease of another has lapsed and this one's handler has answered. */
const takenOver = (engine: Engine, id: string): Promise<void> =>
  expect
    .poll(async () => (await engine.complete(id, async () => finished('second'))).kind, { interval: 5 })
    .toBe('finished');

const inAnHour = (): number => Date.now() + 3_600_000;

describe.each(storeKinds)('a claim: %s', (name) => {
  test('that lapsed is taken over though its owner lives, and what the first says late is not stored', async () => {
    const world = await newWorld(name);
    const first = newEngine(withoutRenewals(world.open()), { leaseMs: 200 });
    const second = newEngine(world.open());
    const id = await wholeUpload(first);
    const late = gate();
    const entered = gate();
    const losing = first.complete(id, async ({ attempt }) => {
      entered.open();
      await late.opened;
      return finished(`from attempt ${attempt}`);
    });
    await entered.opened;
    const process: Process = async ({ attempt }) => finished(`from attempt ${attempt}`);
    await expect
      .poll(async () => (await second.complete(id, process)).kind, { interval: 5 })
      .toBe('finished');
    late.open();
    expect(await losing).toMatchObject({ kind: 'finished', record: { response: 'from attempt 2' } });
    expect((await first.find(id))?.record).toMatchObject({ response: 'from attempt 2', attempt: 2 });
    expect(first.usage).toEqual(idle);
  });

  test('that was taken over is not given back by the one who lost it', async () => {
    const world = await newWorld(name);
    const first = newEngine(withoutRenewals(world.open()), { leaseMs: 200 });
    const second = newEngine(world.open());
    const id = await wholeUpload(first);
    const [late, entered, slow] = [gate(), gate(), gate()];
    const losing = first.complete(id, async () => {
      entered.open();
      await late.opened;
      return { kind: 'failed' };
    });
    await entered.opened;
    let taken = false;
    const winning = async (): Promise<string> => {
      for (;;) {
        const answer = await second.complete(id, async () => {
          taken = true;
          await slow.opened;
          return finished('second');
        });
        if (answer.kind === 'finished') return answer.record.response ?? '';
      }
    };
    const won = winning();
    await expect.poll(() => taken, { interval: 5 }).toBe(true);
    late.open();
    expect(await losing).toEqual({ kind: 'failed' });
    expect((await second.find(id))?.record).toMatchObject({ state: 'claimed', attempt: 2 });
    slow.open();
    expect(await won).toBe('second');
    expect((await second.find(id))?.record).toMatchObject({ state: 'finished', response: 'second' });
  });

  test('that took longer to make than it lasts, and was taken over meanwhile, enters no handler', async () => {
    const world = await newWorld(name);
    const [claimed, late] = [gate(), gate()];
    const slow = faultyStore(world.open(), async ({ op, when, record }) => {
      if (op !== 'update' || when !== 'after' || record?.state !== 'claimed') return;
      claimed.open();
      await late.opened;
    });
    const first = newEngine(slow, { leaseMs: 200 });
    const second = newEngine(world.open());
    const id = await wholeUpload(first);
    const losing = first.complete(id, mustNotRun);
    await claimed.opened;
    await takenOver(second, id);
    late.open();
    expect(await losing).toMatchObject({ kind: 'finished', record: { response: 'second', attempt: 2 } });
    expect(first.usage).toEqual(idle);
  });

  test('… and was not, is renewed first', async () => {
    const world = await newWorld(name);
    const late = gate();
    const slow = faultyStore(world.open(), async ({ op, nth, when, record }) => {
      if (op === 'update' && when === 'after' && record?.state === 'claimed' && nth <= 2) await late.opened;
    });
    const engine = newEngine(slow, { leaseMs: 300 });
    const id = await wholeUpload(engine);
    const completing = engine.complete(id, async ({ attempt, claim }) => {
      expect(claim?.expiresAt).toBeGreaterThan(Date.now());
      return finished(`from attempt ${attempt}`);
    });
    await expect
      .poll(async () => ((await engine.find(id))?.record.claim?.expiresAt ?? Infinity) < Date.now(), {
        interval: 5,
      })
      .toBe(true);
    late.open();
    expect(await completing).toMatchObject({ record: { response: 'from attempt 1' } });
  });

  test('that lapsed while the content was prepared, and was taken over, enters no handler', async () => {
    const world = await newWorld(name);
    const [preparing, late] = [gate(), gate()];
    const slow: Store = {
      ...withoutRenewals(world.open()),
      prepare: async () => {
        preparing.open();
        await late.opened;
      },
    };
    const first = newEngine(slow, { leaseMs: 200 });
    const second = newEngine(world.open());
    const id = await wholeUpload(second);
    const losing = first.complete(id, mustNotRun);
    await preparing.opened;
    await takenOver(second, id);
    late.open();
    expect(await losing).toMatchObject({ kind: 'finished', record: { response: 'second', attempt: 2 } });
  });

  test('under which the content cannot be prepared is given back', async () => {
    const world = await newWorld(name);
    const store = world.open();
    const broken = Object.assign(faultyStore(store), { prepare: () => Promise.reject(systemError('EIO')) });
    const engine = newEngine(broken);
    const id = await wholeUpload(engine);
    await expect(engine.complete(id, mustNotRun)).rejects.toMatchObject({ code: 'store_failed' });
    expect((await engine.find(id))?.record).toMatchObject({ state: 'open', attempt: 1 });
    expect((await engine.find(id))?.record.claim).toBeUndefined();
  });

  test('that is renewed outlives its lease by far', async () => {
    const world = await newWorld(name);
    const renewed = gate();
    let renewals = 0;
    const store = faultyStore(world.open(), ({ op, when, record }) => {
      if (op === 'update' && when === 'after' && record?.state === 'claimed' && ++renewals === 5)
        renewed.open();
    });
    const first = newEngine(store, { leaseMs: 600 });
    const second = newEngine(world.open());
    const id = await wholeUpload(first);
    const answer = await first.complete(id, async () => {
      await renewed.opened;
      expect(await second.complete(id, mustNotRun)).toEqual({ kind: 'running' });
      return finished('after four renewals');
    });
    expect(answer).toMatchObject({ record: { response: 'after four renewals', attempt: 1 } });
  });

  test('of a dead process is taken over at once', async () => {
    const store = (await newWorld(name)).open();
    const id = await claimedBy(store, deadOwner(), inAnHour());
    const answer = await newEngine(store).complete(id, async ({ attempt }) => finished(`attempt ${attempt}`));
    expect(answer).toMatchObject({ kind: 'finished', record: { response: 'attempt 2' } });
  });

  test('of a process number that another process has now is taken over at once', async () => {
    const store = (await newWorld(name)).open();
    const [machine, pid] = self.split('.');
    const id = await claimedBy(store, `${machine}.${pid}.1.000000000000`, inAnHour());
    expect(await newEngine(store).complete(id, async () => finished('mine'))).toMatchObject({
      kind: 'finished',
    });
  });

  test('of a living process is believed until its lease has lapsed', async () => {
    const store = (await newWorld(name)).open();
    const [machine, , born] = self.split('.');
    const parent = `${machine}.${process.pid}.${born}.ffffffffffff-1`;
    const engine = newEngine(store);
    const held = await claimedBy(store, parent, inAnHour());
    expect(await engine.complete(held, mustNotRun)).toEqual({ kind: 'running' });
    const lapsed = await claimedBy(store, parent, Date.now() - 1);
    expect(await engine.complete(lapsed, async () => finished('mine'))).toMatchObject({ kind: 'finished' });
  });

  test('of another machine is believed until its lease has lapsed, whatever its number', async () => {
    const store = (await newWorld(name)).open();
    const engine = newEngine(store);
    const id = await claimedBy(store, 'elsewhere.1.1.000000000000-1', inAnHour());
    expect(await engine.complete(id, mustNotRun)).toEqual({ kind: 'running' });
    expect((await engine.find(id))?.record.attempt).toBe(1);
  });

  test('that is held refuses removal, and one that is finished does not', async () => {
    const store = (await newWorld(name)).open();
    const engine = newEngine(store);
    const id = await claimedBy(store, `${self}-77`, inAnHour());
    await expect(engine.abort(id)).rejects.toMatchObject({ code: 'complete' });
    await expect(engine.remove(id)).rejects.toMatchObject({ code: 'complete' });
  });
});

describe.each(storeKinds)('retryPending: %s', (name) => {
  test('answers whole uploads that have no answer, and leaves all others alone', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const pending = [await wholeUpload(engine), await wholeUpload(engine)];
    const incomplete = newId();
    await engine.create(incomplete, { length: 10 });
    const unknownLength = newId();
    await engine.create(unknownLength, {});
    const done = await wholeUpload(engine);
    await engine.complete(done, async () => finished('before'));
    const removed = newId();
    await engine.create(removed, { length: 10 });
    await engine.abort(removed);
    const store = world.open();
    const abandoned = await claimedBy(store, deadOwner(), inAnHour());
    const held = await claimedBy(store, 'elsewhere.1.1.000000000000-1', inAnHour());

    const restarted = newEngine(store);
    const ran: string[] = [];
    const process: Process = async ({ id }) => {
      ran.push(id);
      return finished('after');
    };
    expect(await restarted.retryPending(process)).toEqual({ finished: 3, failed: 0, exhausted: 0, held: 1 });
    expect(ran.sort()).toEqual([...pending, abandoned].sort());
    expect((await restarted.find(done))?.record.response).toBe('before');
    expect((await restarted.find(held))?.record).toMatchObject({ state: 'claimed', attempt: 1 });
    expect((await restarted.find(incomplete))?.record).toMatchObject({ state: 'open', attempt: 0 });
    expect(await restarted.retryPending(process)).toEqual({ finished: 0, failed: 0, exhausted: 0, held: 1 });
    expect(restarted.usage).toEqual(idle);
  });

  test('runs a handler that fails maxAttempts times in all, and goes on with the others', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { maxAttempts: 3 });
    const failing = await wholeUpload(engine);
    const throwing = await wholeUpload(engine);
    const attempts: number[] = [];
    const process: Process = async ({ id, attempt }) => {
      attempts.push(attempt);
      if (id === throwing) throw new Error('the handler broke');
      return { kind: 'failed' };
    };
    for (let n = 0; n < 3; n++) {
      expect(await engine.retryPending(process)).toEqual({ finished: 0, failed: 2, exhausted: 0, held: 0 });
    }
    expect(await engine.retryPending(process)).toEqual({ finished: 0, failed: 0, exhausted: 2, held: 0 });
    expect(attempts).toEqual([1, 1, 2, 2, 3, 3]);
    expect((await engine.find(failing))?.received).toEqual([{ start: 0, end: 5000 }]);
  });
});
