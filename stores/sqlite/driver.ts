import { createRequire } from 'node:module';
import type Database from 'better-sqlite3';
import { systemCode, UploadError } from '../../src/errors.ts';

// better-sqlite3 is the application's to install: only who uses this store needs it.

const require = createRequire(import.meta.url);

/** Where the package is. Throws `not_supported` when it is not installed. */
export const driverPath = (): string => {
  try {
    return require.resolve('better-sqlite3');
  } catch (cause) {
    throw missing(cause);
  }
};

export const openDatabase = (file: string, options: Database.Options): Database.Database => {
  try {
    const Driver = require('better-sqlite3') as typeof Database;
    return new Driver(file, options);
  } catch (cause) {
    throw systemCode(cause) === 'MODULE_NOT_FOUND' ? missing(cause) : cause;
  }
};

const missing = (cause: unknown): UploadError =>
  new UploadError(
    'not_supported',
    'sqliteStore needs the package better-sqlite3: npm install better-sqlite3@12',
    { cause },
  );
