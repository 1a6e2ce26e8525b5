import { describe, test } from 'vitest';
import { storeSuite } from '../conformance/store.ts';
import { doubleWorld } from '../support/s3-world.ts';

const skip = (name: string, reason: string): void => test.skip(`${name} (${reason})`);

describe('s3, on the double', () => storeSuite({ test, skip, factory: doubleWorld }));
