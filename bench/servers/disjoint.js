// How a server makes an upload that consists of nothing but gaps, and adds to it.
import { length, rangeBytes, startOf } from './slots.js';

const content = Buffer.alloc(rangeBytes, 'resumable');
/** Ranges made safe at once where nobody looks at the time. */
const batch = 1000;

/** What the harness asks of a server with this store, whose uploads are numbered. */
export const disjointAnswers = (store, idOf) => ({
  /** Makes upload `number` with so many ranges. */
  scatter: async ({ number, ranges }) => {
    const id = idOf(number);
    await store.create({ id, createdAt: Date.now(), state: 'open', length, metadata: {}, attempt: 0 });
    const writer = await store.writer(id);
    for (let n = 0; n < ranges; n++) {
      await writer.write([content], startOf(n));
      if ((n + 1) % batch === 0) await writer.sync();
    }
    await writer.sync();
    await writer.close();
    return (await store.load(id)).received.length;
  },
  /** Adds ranges from number `first` on, each made safe by itself. Resolves with the milliseconds of each. */
  write: async ({ number, first, ranges }) => {
    const writer = await store.writer(idOf(number));
    const ms = [];
    for (let n = first; n < first + ranges; n++) {
      const begun = performance.now();
      await writer.write([content], startOf(n));
      await writer.sync();
      ms.push(performance.now() - begun);
    }
    await writer.close();
    return ms;
  },
});
