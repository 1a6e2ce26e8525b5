import '../support/faulty-fs.ts'; // first: stores keep functions of `node:fs` for themselves when they are loaded
import { describe, test } from 'vitest';
import { sqliteStore } from '../../stores/sqlite.ts';
import { storeSuite } from '../conformance/store.ts';
import { folderWorld } from '../support/folder-world.ts';

const skip = (name: string, reason: string): void => test.skip(`${name} (${reason})`);

// What most scenarios upload is 5,000 bytes long, and what the failing ones do 6,000: so some contents are in the index
// and some in files.
const power = folderWorld((directory) => sqliteStore({ directory, inlineBytes: 5500 }));

describe('sqlite, power', () => storeSuite({ test, skip, factory: power }));

const process = folderWorld((directory) => sqliteStore({ directory, durability: 'process' }), {
  hasSteps: false, // they are the same, and take a minute
});

describe('sqlite, process', () => storeSuite({ test, skip, factory: process }));
