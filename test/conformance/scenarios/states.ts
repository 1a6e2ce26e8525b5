import assert from 'node:assert/strict';
import { access } from 'node:fs/promises';
import type { Store } from '../../../src/store.ts';
import { sha256 } from '../content.ts';
import { idsOf, readSum, refuses, rejectsWith } from '../expect.ts';
import type { Capability, Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import type { TrackedUpload } from '../tracked-upload.ts';

// Each operation of the contract on an upload in each state it can be in.

interface Situation {
  /** As in "an upload that is …". */
  readonly name: string;
  readonly exists: boolean;
  /** Which bytes there are to read and to write. */
  readonly content: 'none' | 'part' | 'whole';
  readonly isOpen?: boolean;
  readonly make: (upload: TrackedUpload, store: Store) => Promise<void>;
}

const finish = async (upload: TrackedUpload, store: Store): Promise<void> => {
  await upload.createWhole(store);
  await upload.claim(store);
  await upload.finish(store);
};

const situations: readonly Situation[] = [
  { name: 'never seen', exists: false, content: 'none', make: async () => undefined },
  {
    name: 'open',
    exists: true,
    content: 'part',
    isOpen: true,
    make: async (upload, store) => {
      await upload.create(store);
      await upload.put(store, { start: 0, end: 2000 });
    },
  },
  {
    name: 'claimed',
    exists: true,
    content: 'whole',
    make: async (upload, store) => {
      await upload.create(store);
      await upload.put(store, { start: 0, end: upload.length });
      await upload.claim(store);
    },
  },
  { name: 'finished', exists: true, content: 'whole', make: finish },
  {
    name: 'finished and handed over',
    exists: true,
    content: 'none',
    make: async (upload, store) => {
      await finish(upload, store);
      await upload.handOver(store);
    },
  },
  {
    name: 'removed',
    exists: true,
    content: 'none',
    make: async (upload, store) => {
      await upload.create(store);
      await upload.put(store, { start: 0, end: 2000 });
      await upload.remove(store);
    },
  },
  {
    name: 'purged',
    exists: false,
    content: 'none',
    make: async (upload, store) => {
      await finish(upload, store);
      await upload.purge(store);
    },
  },
];

interface Operation {
  readonly name: string;
  /** In words, what it must come to. */
  readonly outcome: (situation: Situation) => string;
  readonly needs?: (situation: Situation) => readonly Capability[];
  readonly run: (upload: TrackedUpload, store: Store, situation: Situation, stage: Stage) => Promise<void>;
}

const operations: readonly Operation[] = [
  {
    name: 'create',
    outcome: ({ exists }) => (exists ? 'rejects with exists' : 'makes it'),
    run: async (upload, store, { exists }) => {
      if (!exists) return upload.createWhole(store);
      // Neither may touch what is there.
      const record = upload.changed({ attempt: 99, length: 3 });
      await rejectsWith(store.create(record), 'exists', 'create');
      await rejectsWith(store.create(record, [new Uint8Array(3)]), 'exists', 'create with content');
    },
  },
  {
    name: 'load',
    outcome: ({ exists }) => (exists ? 'gives the record and what is received' : 'gives undefined'),
    run: (upload, store) => upload.verify(store),
  },
  {
    name: 'update',
    outcome: ({ exists }) => (exists ? 'replaces the version in force' : 'says false'),
    run: async (upload, store, { exists }) => {
      if (exists) await upload.update(store, { refused: true });
      else assert.equal(await store.update(Math.max(upload.version, 1), upload.changed({})), false);
    },
  },
  {
    name: 'a writer',
    outcome: ({ content }) => (content === 'none' ? 'is refused with gone' : 'takes the bytes'),
    run: async (upload, store, { content }) => {
      if (content === 'none') await rejectsWith(store.writer(upload.id), 'gone', 'writer');
      else await upload.put(store, { start: 0, end: 1000 }, { start: 1000, end: 2000 });
    },
    // Bytes that are stored already are written again where offsets are free.
    needs: ({ content }) => (content === 'none' ? [] : ['sparse']),
  },
  {
    name: 'read',
    outcome: ({ content }) => (content === 'none' ? 'errors with gone' : 'gives the bytes'),
    needs: ({ isOpen }) => (isOpen ? ['readOpen'] : []),
    run: async (upload, store, { content }) => {
      const read = readSum(store, upload.id, 500, 1500);
      if (content === 'none') await rejectsWith(read, 'gone', 'read');
      else assert.equal(await read, sha256(upload.bytes(500, 1500)));
    },
  },
  {
    name: 'discard',
    outcome: () => 'leaves no content, and is harmless when repeated',
    run: async (upload, store) => {
      for (let n = 0; n < 3; n++) await upload.discard(store);
    },
  },
  {
    name: 'purge',
    outcome: () => 'leaves nothing, and is harmless when repeated',
    run: async (upload, store) => {
      for (let n = 0; n < 3; n++) await upload.purge(store);
    },
  },
  {
    name: 'list',
    outcome: ({ exists }) => (exists ? 'gives its id once' : 'does not give its id'),
    run: async (upload, store, { exists }) => {
      const ids = (await idsOf(store.list())).filter((id) => id === upload.id);
      assert.equal(ids.length, exists ? 1 : 0);
    },
  },
  {
    name: 'link',
    outcome: ({ content }) =>
      content === 'whole' ? 'gives the content a second name' : 'rejects, and makes no file',
    needs: () => ['link'],
    run: async (upload, store, { content }, stage) => {
      const target = stage.target(upload.id);
      if (content === 'whole') return store.link?.(upload.id, target, upload.length);
      await refuses(store.link?.(upload.id, target, upload.length) ?? Promise.resolve(), 'link');
      await refuses(access(target), 'looking for the target');
    },
  },
];

/** A link of what is incomplete is nothing a caller may ask for. */
const isMeant = (operation: Operation, { isOpen = false }: Situation): boolean =>
  operation.name !== 'link' || !isOpen;

const each = situations.flatMap((situation) =>
  operations
    .filter((operation) => isMeant(operation, situation))
    .map(
      (operation): Scenario => ({
        name: `an upload that is ${situation.name}: ${operation.name} ${operation.outcome(situation)}`,
        needs: operation.needs?.(situation) ?? [],
        run: async (stage) => {
          const upload = stage.upload();
          await situation.make(upload, stage.store);
          await operation.run(upload, stage.store, situation, stage);
        },
      }),
    ),
);

const again = situations.map(
  (situation): Scenario => ({
    name: `an upload that is ${situation.name} is that, in every operation, when the data is opened again`,
    needs: ['persistent'],
    run: async (stage) => {
      const possible = operations.filter(
        (operation) =>
          isMeant(operation, situation) &&
          (operation.needs?.(situation) ?? []).every((need) => stage.supports[need]),
      );
      const uploads = stage.uploads(possible.length);
      for (const upload of uploads) await situation.make(upload, stage.store);
      const store = await stage.reopen();
      for (const [n, operation] of possible.entries()) {
        await operation.run(uploads[n] as TrackedUpload, store, situation, stage);
      }
    },
  }),
);

export const stateScenarios: readonly Scenario[] = [...each, ...again];
