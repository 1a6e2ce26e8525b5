// @uploadx/core with its own disk storage, as its documentation sets it up. Not synced.
import { createServer } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import { DiskStorage, uploadx } from '@uploadx/core';
import { announce, directory, listenLoopback } from './support.js';

const storage = new DiskStorage({ directory });
// It refuses requests until then, and tells nobody when it is.
while (!storage.isReady) await turn();

announce(await listenLoopback(createServer(uploadx({ storage }))));
