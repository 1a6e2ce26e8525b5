import { describe, test } from 'vitest';
import { storeSuite } from '../conformance/store.ts';
import { doubleWorld } from '../support/s3-world.ts';

/** A scenario is hundreds of requests over HTTP, with a client that signs each. */
const timeoutMs = 180_000;

describe('s3, on the double', () =>
  storeSuite({
    test: (name, run) => test(name, run, timeoutMs),
    skip: (name, reason) => test.skip(`${name} (${reason})`),
    factory: doubleWorld,
  }));
