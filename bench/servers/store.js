// This library's stores by name, and what the harness wants to know of one beside the figures.
import { createHash } from 'node:crypto';
import { directory } from './support.js';

// Each is loaded only when it is asked for: its modules must not weigh on the other's figures.
const factories = {
  fs: async () => {
    const { fsStore } = await import('../../dist/stores/fs.js');
    return (durability) => fsStore(directory, { durability });
  },
  sqlite: async () => {
    const { sqliteStore } = await import('../../dist/stores/sqlite.js');
    return (durability) => sqliteStore({ directory, durability });
  },
};

/** Resolves with what opens a store of this kind under a durability. */
export const loadStore = (kind) => {
  if (!Object.hasOwn(factories, kind)) throw new Error(`no such store: ${kind}`);
  return factories[kind]();
};

/** How many uploads there are. */
const count = async (store) => {
  let uploads = 0;
  for await (const _id of store.list()) uploads++;
  return uploads;
};

/** Of up to `size` uploads, each as likely as any other, the SHA-256 of what can be read back. */
const sample = async (store, size) => {
  const ids = [];
  let seen = 0;
  for await (const id of store.list()) {
    const at = seen < size ? seen : Math.floor(Math.random() * (seen + 1));
    if (at < size) ids[at] = id;
    seen++;
  }
  const sums = [];
  for (const id of ids) {
    const stored = await store.load(id);
    // One whose client was cut off unanswered may be removed between the two looks.
    if (stored === undefined) continue;
    const sum = createHash('sha256');
    for await (const chunk of store.read(id, 0, stored.record.length)) sum.update(chunk);
    sums.push(sum.digest('hex'));
  }
  return sums;
};

/** How many uploads there are, and the bytes received of the one with the fewest. */
const received = async (store) => {
  let uploads = 0;
  let leastBytes = Number.POSITIVE_INFINITY;
  for await (const id of store.list()) {
    const ranges = (await store.load(id))?.received ?? [];
    uploads++;
    leastBytes = Math.min(
      leastBytes,
      ranges.reduce((total, { start, end }) => total + end - start, 0),
    );
  }
  return { uploads, leastBytes: uploads === 0 ? 0 : leastBytes };
};

export const storeAnswers = (store) => ({
  count: () => count(store),
  sample: (size) => sample(store, size),
  received: () => received(store),
});
