import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { KiB, rangesOf, sha256 } from '../content.ts';
import type { Scenario } from '../scenario.ts';
import { someClaim } from '../tracked-upload.ts';

// What has resolved is safe. Each scenario is a row of operations with a power cut after each.

export const powerScenarios: readonly Scenario[] = [
  {
    name: 'power cut: an upload that was made, with content or without, is there',
    needs: ['cutPower'],
    bytes: 300 * KiB,
    run: async (stage) => {
      for (const length of [0, 1, 5000, 300 * KiB]) {
        await stage.upload({ length }).createWhole(stage.store, { metadata: { name: 'film.mp4' } });
        await stage.cutPower();
        await stage.verify();
        await stage.upload({ length }).create(stage.store, { context: 'c'.repeat(20 * KiB) });
        await stage.cutPower();
        await stage.verify();
      }
    },
  },
  {
    name: 'power cut: an acknowledged range is there, by one writer or by many',
    needs: ['cutPower'],
    run: async (stage) => {
      const upload = stage.upload();
      await upload.create(stage.store);
      for (const [n, range] of rangesOf(upload.length, 500).entries()) {
        const writer = await upload.writer(stage.store);
        await writer.put(range);
        if (n % 3 === 0) await writer.close();
        await stage.cutPower();
        await stage.verify();
      }
    },
  },
  {
    name: 'power cut: an acknowledged range is there, whatever a writer before it has left undone',
    needs: ['cutPower'],
    run: async (stage) => {
      const upload = stage.upload();
      await upload.create(stage.store);
      for (const range of rangesOf(upload.length, 1000)) {
        const { store } = stage;
        await (await upload.writer(store)).close();
        const undone = await upload.writer(store);
        await undone.write(range);
        await undone.close();
        const writer = await upload.writer(store);
        await writer.put(range);
        await stage.cutPower();
        await stage.verify();
      }
    },
  },
  {
    name: 'power cut: of bytes that were written and not synced none is acknowledged later',
    needs: ['cutPower', 'sparse'],
    run: async (stage) => {
      const upload = stage.upload();
      await upload.create(stage.store);
      const writer = await upload.writer(stage.store);
      await writer.put({ start: 0, end: 1000 });
      await writer.write({ start: 2000, end: 4000 });
      const store = await stage.cutPower();
      await stage.verify();
      await upload.put(store, { start: 1000, end: 2000 });
      await stage.cutPower();
      await stage.verify();
    },
  },
  {
    name: 'power cut: an update that won is in force, and so is every one after it',
    needs: ['cutPower'],
    run: async (stage) => {
      const upload = stage.upload();
      await upload.createWhole(
        stage.store,
        { state: 'claimed', attempt: 1, claim: someClaim },
        { reserve: 9000 },
      );
      for (let attempt = 2; attempt < 6; attempt++) {
        await upload.update(stage.store, { attempt, context: 'c'.repeat(attempt * KiB) }, { reserve: 9000 });
        if (attempt % 2 === 0) await stage.cutPower();
        await stage.verify();
      }
      await upload.finish(stage.store, 'r'.repeat(8 * KiB));
      await stage.cutPower();
      await stage.verify();
      await upload.update(stage.store, { state: 'removed', removedAt: 1, response: undefined });
      await stage.cutPower();
      await upload.discard(stage.store);
      await stage.verify();
    },
  },
  {
    name: 'power cut: what several instances have found, each in what the others made, is there',
    needs: ['cutPower', 'multiProcess', 'sparse'],
    run: async (stage) => {
      const upload = stage.upload();
      await upload.create(stage.store);
      for (const [n, range] of rangesOf(upload.length, 1000).entries()) {
        const other = await stage.another();
        await upload.put(other, range);
        await upload.verify(stage.store);
        await upload.update(stage.store, { attempt: n });
        await upload.verify(other);
        await stage.cutPower();
        await stage.verify();
      }
    },
  },
  {
    name: 'power cut: what was linked is at its target, every byte and no more',
    needs: ['cutPower', 'link', 'sparse'],
    run: async (stage) => {
      for (const past of [0, 700]) {
        const upload = stage.upload({ length: 4000 });
        await upload.create(stage.store);
        await upload.put(stage.store, { start: 0, end: 4000 });
        const late = await stage.store.writer(upload.id);
        await late.write([new Uint8Array(past)], 4000);
        await late.sync();
        await late.close();
        if (past > 0) upload.acknowledged.add(4000, 4000 + past);
        await upload.claim(stage.store);
        await stage.store.link?.(upload.id, stage.target(upload.id), 4000);
        await upload.finish(stage.store);
        await upload.update(stage.store, { moved: true });
        await stage.cutPower();
        const linked = await readFile(stage.target(upload.id));
        assert.equal(linked.length, 4000, 'bytes at the target');
        assert.equal(sha256(linked), upload.sum, 'the sum of the target');
      }
    },
  },
];
