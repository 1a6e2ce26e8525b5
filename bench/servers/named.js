// This library where the URL names the upload, so that anybody who knows the number of one can ask for its
// state. Arguments: directory, durability, kind of store.
import { listen, resumable } from '../../dist/src/index.js';
import { uploadId } from '../../dist/src/protocol/identity.js';
import { disjointAnswers } from './disjoint.js';
import { length, nameIn, nameOf, pathOf } from './names.js';
import { loadStore, storeAnswers } from './store.js';
import { announce } from './support.js';

/** Enough for a store that commits in groups, few enough to cost no memory worth mentioning. */
const createsInFlight = 256;

const [, , , durability, kind] = process.argv;

const idOf = (number) => uploadId({ by: 'name', name: nameOf(number) }, { owner: '', path: pathOf(number) });

const openStore = await loadStore(kind);
const started = performance.now();
const store = openStore(durability);
const first = await store.load(idOf(0));
const opening = { ms: performance.now() - started, found: first !== undefined };

/** Makes that many open uploads, by the store itself: requests would take ten times as long. */
const populate = async (count) => {
  let next = 0;
  const work = async () => {
    while (next < count) {
      const id = idOf(next++);
      await store.create({ id, createdAt: Date.now(), state: 'open', length, metadata: {}, attempt: 0 });
    }
  };
  const begun = performance.now();
  await Promise.all(Array.from({ length: createsInFlight }, work));
  return { seconds: (performance.now() - begun) / 1000 };
};

const listener = resumable({ store, identify: (req) => nameIn(req.url) }, (req, res) =>
  res.end(String(req.upload.length)),
);

announce(await listen(listener, { port: 0, host: '127.0.0.1' }), {
  ...storeAnswers(store),
  ...disjointAnswers(store, idOf),
  populate,
  opening: () => opening,
});
