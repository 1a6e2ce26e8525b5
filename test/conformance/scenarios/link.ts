import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import type { Store } from '../../../src/store.ts';
import { contentOf, KiB, rangesOf, sha256 } from '../content.ts';
import { rejectsWith } from '../expect.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import type { TrackedUpload } from '../tracked-upload.ts';

const makeWhole = async (stage: Stage, length = 5000): Promise<TrackedUpload> => {
  const upload = stage.upload({ length });
  await upload.createWhole(stage.store);
  await upload.claim(stage.store);
  return upload;
};

const makeInParts = async (stage: Stage, length = 5000): Promise<TrackedUpload> => {
  const upload = stage.upload({ length });
  await upload.create(stage.store);
  const writer = await upload.writer(stage.store);
  for (const range of rangesOf(length, Math.ceil(length / 3))) await writer.put(range);
  await writer.close();
  await upload.claim(stage.store);
  return upload;
};

const makers = [
  ['made whole', makeWhole],
  ['written in parts', makeInParts],
] as const;

const link = async (store: Store, { id, length }: TrackedUpload, target: string): Promise<void> => {
  assert.ok(store.link, 'a store that links has a link');
  await store.link(id, target, length);
};

const assertLinked = async ({ content }: TrackedUpload, target: string): Promise<void> => {
  const linked = await readFile(target);
  assert.equal(linked.length, content.length, 'bytes at the target');
  assert.equal(sha256(linked), sha256(content), 'the sum of the target');
};

const ofEach = makers.flatMap(([how, make]): Scenario[] => [
  {
    name: `link: content ${how} is at the target, every byte and no more, and can still be read here`,
    needs: ['link'],
    bytes: 300 * KiB,
    run: async (stage) => {
      for (const length of [1, 1000, 300 * KiB]) {
        const upload = await make(stage, length);
        const target = stage.target(upload.id);
        await link(stage.store, upload, target);
        await assertLinked(upload, target);
        await upload.verify(stage.store);
        await upload.finish(stage.store);
      }
    },
  },
  {
    name: `link: content ${how} outlives at the target what is discarded and purged here`,
    needs: ['link'],
    run: async (stage) => {
      const { store } = stage;
      const upload = await make(stage);
      await link(store, upload, stage.target());
      await upload.finish(store);
      await upload.handOver(store);
      await assertLinked(upload, stage.target());
      await upload.purge(await stage.another());
      await assertLinked(upload, stage.target());
      const next = stage.upload({ id: upload.id, name: 'another' });
      await next.createWhole(store);
      await assertLinked(upload, stage.target());
    },
  },
  {
    name: `link: to a target that is this content ${how} already is success, by name or by bytes`,
    needs: ['link'],
    run: async (stage) => {
      const upload = await make(stage);
      const other = await stage.another();
      for (const store of [stage.store, other, stage.store])
        await link(store, upload, stage.target('linked'));
      await writeFile(stage.target('copied'), upload.content);
      for (const store of [stage.store, other]) await link(store, upload, stage.target('copied'));
      for (const name of ['linked', 'copied']) await assertLinked(upload, stage.target(name));
    },
  },
  {
    name: `link: of content ${how} to another file is refused with target_exists, and leaves that alone`,
    needs: ['link'],
    run: async (stage) => {
      const upload = await make(stage);
      const changed = upload.bytes();
      changed[4999] = (changed[4999] ?? 0) ^ 1;
      const others = [
        contentOf('another', 5000),
        changed,
        upload.bytes(0, 4999),
        contentOf('longer', 5001),
        contentOf('none', 0),
      ];
      const target = stage.target();
      for (const other of others) {
        await writeFile(target, other);
        await rejectsWith(link(stage.store, upload, target), 'target_exists', 'link');
        assert.equal(sha256(await readFile(target)), sha256(other), 'the file that was there');
      }
      await upload.verify(stage.store);
      await rm(target);
      await link(stage.store, upload, target);
      await assertLinked(upload, target);
    },
  },
]);

export const linkScenarios: readonly Scenario[] = [
  ...ofEach,
  {
    name: 'link: an empty content is an empty file',
    needs: ['link'],
    run: async (stage) => {
      const [whole, written] = [stage.upload({ length: 0 }), stage.upload({ length: 0 })];
      await whole.createWhole(stage.store);
      await written.create(stage.store);
      for (const upload of [whole, written]) {
        await link(stage.store, upload, stage.target(upload.id));
        await assertLinked(upload, stage.target(upload.id));
      }
    },
  },
  {
    name: 'link: bytes that were stored past the length do not go along, and the upload goes on without them',
    needs: ['link', 'sparse'],
    run: async (stage) => {
      const { store } = stage;
      const upload = stage.upload({ length: 4000 });
      await upload.create(store);
      await upload.put(store, { start: 0, end: 4000 });
      // By a process that had not heard of the length yet.
      const late = await store.writer(upload.id);
      await late.write([contentOf('past the length', 900)], 4000);
      await late.sync();
      await late.close();
      upload.acknowledged.add(4000, 4900);
      const claimed = await stage.another();
      await upload.claim(claimed);
      await link(store, upload, stage.target());
      await assertLinked(upload, stage.target());
      const stored = await claimed.load(upload.id);
      assert.ok(
        stored?.received[0] !== undefined && stored.received[0].end >= 4000,
        'its own bytes are received',
      );
      await upload.finish(claimed);
      await upload.handOver(store);
      await assertLinked(upload, stage.target());
    },
  },
  {
    name: 'link: ten at once, over several instances, to one target are one file',
    needs: ['link'],
    run: async (stage) => {
      const stores = await stage.several(3);
      const upload = await makeInParts(stage);
      await Promise.all(
        Array.from({ length: 10 }, (_, n) => link(stores[n % 3] as Store, upload, stage.target())),
      );
      await assertLinked(upload, stage.target());
    },
  },
  {
    name: 'link: of two uploads at once to one target one wins, and the other is refused',
    needs: ['link'],
    run: async (stage) => {
      for (let round = 0; round < 5; round++) {
        const uploads = [await makeWhole(stage), await makeInParts(stage)];
        const target = stage.target(String(round));
        const outcomes = await Promise.allSettled(uploads.map((upload) => link(stage.store, upload, target)));
        const winners = uploads.filter((_, n) => outcomes[n]?.status === 'fulfilled');
        assert.equal(winners.length, 1, 'so many links to one target');
        await assertLinked(winners[0] as TrackedUpload, target);
        const [lost] = outcomes.filter((outcome) => outcome.status === 'rejected');
        await rejectsWith(Promise.reject(lost?.reason), 'target_exists', 'the other link');
      }
    },
  },
  {
    name: 'link: goes on working when the data is opened again',
    needs: ['link', 'persistent'],
    run: async (stage) => {
      for (const [how, make] of makers) {
        const upload = await make(stage);
        const store = await stage.reopen();
        await link(store, upload, stage.target(how));
        await link(await stage.reopen(), upload, stage.target(how));
        await assertLinked(upload, stage.target(how));
      }
    },
  },
];
