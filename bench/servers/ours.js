// This library with its file store, from the build output: what a user installs. Arguments: directory, durability.
import { listen, resumable } from '../../dist/src/index.js';
import { fsStore } from '../../dist/stores/fs.js';
import { announce, directory } from './support.js';

const durability = process.argv[3];

// The others only count bytes, so this handler doesn't read the stored body back either.
const listener = resumable({ store: fsStore(directory, { durability }) }, (req, res) =>
  res.end(String(req.upload.length)),
);

announce(await listen(listener, { port: 0, host: '127.0.0.1' }));
