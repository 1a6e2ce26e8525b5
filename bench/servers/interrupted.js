// This library under interruption: it answers an upload with its id, by which the harness has it read back.
// Arguments: directory, durability, kind of store; and `checkpoints`, if it is to say often what it has.
import { createHash } from 'node:crypto';
import { listen, resumable } from '../../dist/src/index.js';
import { loadStore } from './store.js';
import { announce } from './support.js';

const [, , , durability, kind, checkpoints] = process.argv;
const openStore = await loadStore(kind);
const store = openStore(durability);

// A 103 tells what is safe, so there is one per checkpoint at most; of the default's 16 MiB and one second a client
// that is cut every 16 MiB would hear nothing.
const often = checkpoints === undefined ? {} : { checkpointBytes: 2 ** 20, checkpointPushMs: 0 };

const listener = resumable({ store, ...often }, (req, res) => res.end(req.upload.id));

const sums = async (ids) => {
  const out = [];
  for (const id of ids) {
    const { record } = await store.load(id);
    const sum = createHash('sha256');
    for await (const chunk of store.read(id, 0, record.length)) sum.update(chunk);
    out.push(sum.digest('hex'));
  }
  return out;
};

announce(await listen(listener, { port: 0, host: '127.0.0.1' }), { sums });
