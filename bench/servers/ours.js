// This library with one of its stores, from the build output: what a user installs. Arguments: directory,
// durability, kind of store.
import { listen, resumable } from '../../dist/src/index.js';
import { loadStore, storeAnswers } from './store.js';
import { announce } from './support.js';

const [, , , durability, kind = 'fs'] = process.argv;
const openStore = await loadStore(kind);
const store = openStore(durability);

// The others only count bytes, so this handler doesn't read the stored body back either.
const listener = resumable({ store }, (req, res) => res.end(String(req.upload.length)));

announce(await listen(listener, { port: 0, host: '127.0.0.1' }), storeAnswers(store));
