import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { Range } from '../../../src/intervals.ts';
import type { Store, StoredUpload } from '../../../src/store.ts';
import { KiB, sha256 } from '../content.ts';
import { idsOf, readSum } from '../expect.ts';
import { someClaim } from '../tracked-upload.ts';
import type { Ledger } from './ledger.ts';

/**
 * The life of an upload, written so that it goes on from wherever it was broken off: each call looks at what there is,
 * and does what is left.
 */
export interface Journey {
  /** As in "an upload that is …". */
  readonly name: string;
  readonly carry: (store: Store, ledger: Ledger, target: string | undefined) => Promise<void>;
  /** Asserts what is true at its end, for whoever opens the data. */
  readonly arrive: (store: Store, ledger: Ledger, target: string | undefined) => Promise<void>;
}

const response = 'r'.repeat(5 * KiB);
const reserve = 8 * KiB;
const claimed = { state: 'claimed', attempt: 1, claim: someClaim } as const;
const finished = { state: 'finished', claim: undefined, response };
const tombstone = {
  state: 'removed',
  response: undefined,
  length: undefined,
  moved: undefined,
  removedAt: 1,
};

const mustLoad = async (store: Store, ledger: Ledger): Promise<StoredUpload> => {
  const stored = await ledger.load(store);
  assert.ok(stored, 'the upload is missing');
  return stored;
};

const halves = ({ start, end }: Range): Range[] => {
  const middle = Math.ceil((start + end) / 2);
  return [
    { start, end: middle },
    { start: middle, end },
  ];
};

/** Claims it, reads it as a handler does, and stores the answer. */
const complete = async (store: Store, ledger: Ledger): Promise<void> => {
  let stored = await mustLoad(store, ledger);
  if (stored.record.state === 'open') {
    await ledger.update(store, stored, claimed, { reserve });
    stored = await mustLoad(store, ledger);
  }
  if (stored.record.state !== 'claimed') return;
  await store.prepare?.(ledger.id);
  assert.equal(
    await readSum(store, ledger.id, 0, ledger.length),
    ledger.sum(),
    'the content that a handler reads',
  );
  await ledger.update(store, stored, finished);
};

const assertCompleted: Journey['arrive'] = async (store, ledger) => {
  const { record, received } = await mustLoad(store, ledger);
  assert.deepEqual([record.state, record.response === response], ['finished', true]);
  assert.deepEqual(received, [{ start: 0, end: ledger.length }]);
  assert.equal(await readSum(store, ledger.id, 0, ledger.length), ledger.sum(), 'the content in the end');
};

const writtenInParts: Journey = {
  name: 'written in parts and completed',
  carry: async (store, ledger) => {
    if ((await ledger.load(store)) === undefined) await ledger.create(store);
    const { record } = await mustLoad(store, ledger);
    if (record.state === 'open') {
      // Two checkpoints, so that there is something to lose when the second fails.
      for (const half of halves({ start: 0, end: ledger.length })) {
        const missing = ledger.acknowledged.missing(half.start, half.end);
        if (missing.length > 0) await ledger.put(store, missing.flatMap(halves));
      }
    }
    await complete(store, ledger);
  },
  arrive: assertCompleted,
};

const madeWhole: Journey = {
  name: 'made whole and claimed in one step, written once more, and completed',
  carry: async (store, ledger) => {
    if ((await ledger.load(store)) === undefined) await ledger.createWhole(store, claimed, { reserve });
    const { record } = await mustLoad(store, ledger);
    if (record.state === 'claimed' && store.supports.sparse) {
      await ledger.put(store, halves({ start: 0, end: ledger.length }));
    }
    await complete(store, ledger);
  },
  arrive: assertCompleted,
};

const handOver = async (store: Store, ledger: Ledger, target: string | undefined): Promise<void> => {
  const ids = await idsOf(store.list([{ states: ['finished'] }]));
  if ((await mustLoad(store, ledger)).record.state !== 'finished') return;
  assert.ok(ids.includes(ledger.id), 'list misses the upload');
  if (target !== undefined) await store.link?.(ledger.id, target, ledger.length);
  await ledger.update(store, await mustLoad(store, ledger), { moved: true });
};

const handedOver: Journey = {
  name: 'made whole, handed over, removed and purged',
  carry: async (store, ledger, target) => {
    const stored = await ledger.load(store);
    if (stored === undefined && ledger.isEnding) return;
    if (stored === undefined) await ledger.createWhole(store);
    await complete(store, ledger);
    if ((await mustLoad(store, ledger)).record.moved !== true) await handOver(store, ledger, target);
    await ledger.discard(store);
    const moved = await mustLoad(store, ledger);
    if (moved.record.state === 'finished') await ledger.update(store, moved, tombstone);
    await ledger.discard(store);
    await ledger.purge(store);
  },
  arrive: async (store, ledger, target) => {
    assert.equal(await store.load(ledger.id), undefined);
    assert.deepEqual(await idsOf(store.list()), []);
    if (target !== undefined)
      assert.equal(sha256(await readFile(target)), ledger.sum(), 'the file at the target');
  },
};

export const journeys: readonly Journey[] = [writtenInParts, madeWhole, handedOver];
