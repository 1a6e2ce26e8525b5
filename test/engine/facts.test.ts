import { describe, expect, test } from 'vitest';
import type { UploadFacts } from '../../src/engine/facts.ts';
import { isUploadError } from '../../src/errors.ts';
import { faultyStore } from '../support/faulty-store.ts';
import {
  bring,
  content,
  Feed,
  gate,
  idle,
  newEngine,
  newId,
  newWorld,
  openSession,
  rejectsWith,
  storeKinds,
  turn,
  writeRequest,
} from '../support/model.ts';

const codeOf = (error: unknown): string => (isUploadError(error) ? error.code : String(error));

describe.each(storeKinds)('what is stated about an upload: %s', (name) => {
  test.each<[string, UploadFacts, UploadFacts, string]>([
    ['a length', { length: 1000 }, { length: 2000 }, 'length_changed'],
    ['a digest', { digest: 'sha-256=:AAAA:' }, { digest: 'sha-256=:BBBB:' }, 'digest_conflict'],
  ])('%s counts once: of two processes one wins, and the other is told', async (_, one, other, code) => {
    const world = await newWorld(name);
    const engines = [newEngine(world.open()), newEngine(world.open())] as const;
    for (let n = 0; n < 20; n++) {
      const id = newId();
      await engines[0].create(id, {});
      const outcomes = await Promise.allSettled([engines[0].query(id, one), engines[1].query(id, other)]);
      const failures = outcomes.filter((outcome) => outcome.status === 'rejected');
      expect(failures.map(({ reason }) => codeOf(reason))).toEqual([code]);
      const winner = outcomes[0]?.status === 'fulfilled' ? one : other;
      expect((await engines[0].find(id))?.record).toMatchObject(winner);
    }
  });

  test.each<[string, UploadFacts, UploadFacts, string]>([
    ['a length', { length: 1000 }, { length: 2000 }, 'length_changed'],
    ['a digest', { length: 1000, digest: 'a' }, { length: 1000, digest: 'b' }, 'digest_conflict'],
  ])('%s counts once when two processes make the upload at once', async (_, one, other, code) => {
    const world = await newWorld(name);
    const engines = [newEngine(world.open()), newEngine(world.open())] as const;
    const id = newId();
    const first = await openSession(engines[0], id, one);
    const second = await openSession(engines[1], id, other);
    await first.feed.send(first.session.transfer, content(500));
    await second.feed.send(second.session.transfer, content(500));
    const outcomes = await Promise.allSettled([first.session.finish(false), second.session.finish(false)]);
    const failures = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(failures.map(({ reason }) => codeOf(reason))).toEqual([code]);
  });

  test('a length is kept when it is first stated while another request is making the upload', async () => {
    const world = await newWorld(name);
    const making = gate();
    const begun = gate();
    const store = faultyStore(world.open(), ({ op, nth, when }) => {
      if (op !== 'create' || nth !== 1 || when !== 'before') return undefined;
      begun.open();
      return making.opened;
    });
    const engine = newEngine(store, { batchBytes: 100 });
    const id = newId();
    const first = await openSession(engine, id, { start: 0, end: 500 });
    first.session.transfer.push(content(100));
    await begun.opened;
    const second = await openSession(engine, id, { start: 500, end: 1000, length: 1000, context: 'stated' });
    making.open();
    await Promise.all([
      first.feed.send(first.session.transfer, content(500).subarray(100)),
      second.feed.send(second.session.transfer, content(1000).subarray(500)),
    ]);
    await first.session.finish(true);
    const result = await second.session.finish(true);
    expect(result).toMatchObject({ length: 1000, whole: true });
    expect((await engine.find(id))?.record).toMatchObject({ length: 1000, context: 'stated' });
  });

  test('a length is kept when it is first stated just as another process makes the upload', async () => {
    const world = await newWorld(name);
    const id = newId();
    const engine = newEngine(world.open(), { batchBytes: 100 });
    const other = newEngine(world.open());
    const { session, feed } = await openSession(engine, id, { start: 0, end: 1000, length: 1000 });
    await other.create(id, {});
    await feed.send(session.transfer, content(1000));
    expect(await session.finish(true)).toMatchObject({ length: 1000, whole: true });
  });

  test('a length may be repeated, and never be below what is stored', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const id = newId();
    const { session, feed } = await openSession(engine, id, { start: 0, end: 700 });
    await feed.send(session.transfer, content(700));
    await session.finish(true);
    await rejectsWith(engine.query(id, { length: 699 }), 'length_changed');
    expect((await engine.query(id, { length: 700 }))?.record.length).toBe(700);
    expect((await engine.query(id, { length: 700 }))?.record.length).toBe(700);
    await rejectsWith(engine.write(id, writeRequest({ length: 701 }), new Feed()), 'length_changed');
    expect(engine.usage).toEqual(idle);
  });

  test('a body that ends cleanly states the length where it may, a cut one never', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { batchBytes: 100 });
    const cut = newId();
    const first = await openSession(engine, cut, { endsContent: true });
    await first.feed.send(first.session.transfer, content(300));
    expect(await first.session.finish(false)).toMatchObject({ length: undefined, whole: false });
    const rest = await openSession(engine, cut, { start: 300, endsContent: true });
    await rest.feed.send(rest.session.transfer, content(450).subarray(300));
    expect(await rest.session.finish(true)).toMatchObject({ length: 450, whole: true });
    const silent = await openSession(engine, newId(), { endsContent: false });
    await silent.feed.send(silent.session.transfer, content(300));
    expect(await silent.session.finish(true)).toMatchObject({ length: undefined, whole: false });
  });

  test('a body without an end keeps nothing past a length that was stated meanwhile', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { batchBytes: 100 });
    const id = newId();
    const { session, feed } = await openSession(engine, id, { endsContent: true });
    await feed.send(session.transfer, content(300));
    await engine.query(id, { length: 400 });
    await feed.send(session.transfer, content(900).subarray(300));
    await session.finish(false).catch(() => undefined);
    // The length is a fact: the upload must stay usable under it.
    expect((await engine.query(id))?.received).toEqual([{ start: 0, end: 400 }]);
  });

  test('a length below what a request has brought is refused, safe or not', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { batchBytes: 10_000, checkpointMs: 60_000, flushMs: 60_000 });
    const id = newId();
    await engine.create(id, {});
    const { session, feed } = await openSession(engine, id, { endsContent: true });
    await feed.send(session.transfer, content(150));
    const later = writeRequest({ start: 50, end: 100, length: 100 });
    await rejectsWith(engine.write(id, later, new Feed()), 'length_changed');
    expect(await session.finish(true)).toMatchObject({ length: 150, whole: true });
  });

  test('a body that ends elsewhere does not change a length stated while the upload was only begun', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const id = newId();
    const first = await openSession(engine, id, { length: 1000 });
    const second = await openSession(engine, id, { endsContent: true });
    await second.feed.send(second.session.transfer, content(50));
    await rejectsWith(second.session.finish(true), 'length_changed');
    await first.session.finish(false);
    expect(await engine.query(id)).toMatchObject({
      record: { length: 1000 },
      received: [{ start: 0, end: 50 }],
    });
  });

  test('a context is set once, and a later one changes nothing', async () => {
    const world = await newWorld(name);
    const engines = [newEngine(world.open()), newEngine(world.open())] as const;
    const id = newId();
    await engines[0].create(id, {});
    await Promise.all([engines[0].query(id, { context: 'a' }), engines[1].query(id, { context: 'b' })]);
    const set = (await engines[0].find(id))?.record.context;
    expect(['a', 'b']).toContain(set);
    await engines[1].query(id, { context: 'c' });
    await bring(engines[0], id, content(10));
    expect((await engines[0].find(id))?.record.context).toBe(set);
  });

  test('a second creation is refused, and changes nothing', async () => {
    const world = await newWorld(name);
    const engines = [newEngine(world.open()), newEngine(world.open())] as const;
    const id = newId();
    const outcomes = await Promise.allSettled([
      engines[0].create(id, { length: 1 }, { metadata: { who: 'one' } }),
      engines[1].create(id, { length: 2 }, { metadata: { who: 'two' } }),
    ]);
    const failures = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(failures.map(({ reason }) => codeOf(reason))).toEqual(['exists']);
    const won = outcomes[0]?.status === 'fulfilled' ? { length: 1 } : { length: 2 };
    expect((await engines[0].find(id))?.record).toMatchObject(won);
  });

  test('another digest or length is refused when the upload is finished, too', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open());
    const id = newId();
    const { session } = await openSession(engine, id, { length: 10, digest: 'a' });
    session.transfer.push(content(10));
    await session.finish(true);
    await engine.complete(id, async () => ({ kind: 'finished', response: 'done', discard: false }));
    await rejectsWith(engine.write(id, writeRequest({ length: 9 }), new Feed()), 'length_changed');
    await rejectsWith(engine.write(id, writeRequest({ digest: 'b' }), new Feed()), 'digest_conflict');
    await rejectsWith(engine.query(id, { digest: 'b' }), 'digest_conflict');
    expect(engine.usage).toEqual(idle);
  });

  test('ranges and lengths past the bounds are refused', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { maxLength: 1000 });
    const id = newId();
    await rejectsWith(engine.create(id, { length: 1001 }), 'too_large');
    await rejectsWith(engine.write(id, writeRequest({ length: 1001 }), new Feed()), 'too_large');
    await rejectsWith(engine.write(id, writeRequest({ end: 1001 }), new Feed()), 'too_large');
    await rejectsWith(
      engine.write(id, writeRequest({ length: 10, end: 11 }), new Feed()),
      'range_past_length',
    );
    await rejectsWith(engine.write(id, writeRequest({ absent: 'refuse' }), new Feed()), 'not_found');
    expect(await engine.find(id)).toBeUndefined();
    await turn();
    expect(engine.usage).toEqual(idle);
  });

  test('a start past the longest length is refused, with or without an end', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { maxLength: 1000 });
    // Not fed: its limit would lie below its start.
    await rejectsWith(engine.write(newId(), writeRequest({ start: 1001 }), new Feed()), 'too_large');
  });

  test('a body that goes on past its range is told so, and the range itself is kept', async () => {
    const world = await newWorld(name);
    const engine = newEngine(world.open(), { maxLength: 1000 });
    const id = newId();
    const { session } = await openSession(engine, id, { start: 100, end: 200, length: 500 });
    session.transfer.push(content(150));
    await rejectsWith(session.finish(true), 'body_past_range');
    expect((await engine.query(id))?.received).toEqual([{ start: 100, end: 200 }]);
    const endless = await openSession(engine, newId(), { endsContent: true });
    endless.session.transfer.push(content(1001));
    await rejectsWith(endless.session.finish(true), 'too_large');
    expect(engine.usage).toEqual(idle);
  });
});
