// The thread that changes the index. better-sqlite3 is synchronous, and a commit waits for the disk or for another
// process: here it holds up nobody. It knows SQL and nothing of uploads. In JavaScript, because a thread starts
// from a file that Node can read as it is, before and after the build.
import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';

/**
 * @typedef {{ driver: string, file: string, busyTimeoutMs: number, pragmas: string[], migrations: string[], statements: string[] }} Setup
 * @typedef {{ statement: import('better-sqlite3').Statement, values: unknown[] }} Step
 * @typedef {{ code: string, message: string }} Failure
 */

/** @type {Setup} */
const { driver, file, busyTimeoutMs, pragmas, migrations, statements: texts } = workerData;

/** How soon a database that was busy is tried again while it is being opened. */
const retryMs = 10;

/**
 * @param {unknown} error
 * @returns {Failure}
 */
const failure = (error) => {
  const { code = 'SQLITE_ERROR', message } = /** @type {Error & { code?: string }} */ (error);
  return { code, message };
};

/** @param {import('better-sqlite3').Database} database */
const migrate = (database) => {
  const version = /** @type {number} */ (database.pragma('user_version', { simple: true }));
  if (version > migrations.length) throw new Error(`the index has schema ${version}, from a newer release`);
  for (const script of migrations.slice(version)) database.exec(script);
  database.pragma(`user_version = ${migrations.length}`);
};

const open = () => {
  /** @type {typeof import('better-sqlite3')} */
  const Database = createRequire(import.meta.url)(driver);
  const database = new Database(file, { timeout: busyTimeoutMs });
  try {
    for (const pragma of pragmas) database.pragma(pragma);
    database.transaction(() => migrate(database)).immediate();
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
};

/** SQLite itself does not wait for another process that is just making the write-ahead log, or removing it. */
const openPatiently = () => {
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  for (const deadline = Date.now() + busyTimeoutMs; ; ) {
    try {
      return open();
    } catch (error) {
      if (!failure(error).code.startsWith('SQLITE_BUSY') || Date.now() > deadline) throw error;
      Atomics.wait(sleeper, 0, 0, retryMs);
    }
  }
};

/**
 * Carries out batches, which come as one flat array each (committer.ts), until it is told to close.
 * @param {import('better-sqlite3').Database} database
 */
const serve = (database) => {
  const statements = texts.map((text) => database.prepare(text));
  const begin = database.prepare('BEGIN IMMEDIATE');
  const commit = database.prepare('COMMIT');
  const rollback = database.prepare('ROLLBACK');

  /**
   * @param {unknown[]} flat
   * @returns {Step[][]}
   */
  const unflatten = (flat) => {
    let at = 0;
    const next = () => /** @type {number} */ (flat[at++]);
    /** @returns {Step} */
    const step = () => {
      const statement = /** @type {import('better-sqlite3').Statement} */ (statements[next()]);
      const count = next();
      at += count;
      return { statement, values: flat.slice(at - count, at) };
    };
    const changes = [];
    while (at < flat.length) changes.push(Array.from({ length: next() }, step));
    return changes;
  };

  /**
   * All in one transaction, so that they cost one sync.
   * @param {Step[][]} changes
   */
  const commitAll = (changes) => {
    begin.run();
    try {
      const results = changes.map(carryOut);
      commit.run();
      return results;
    } catch (error) {
      if (database.inTransaction) rollback.run();
      throw error;
    }
  };

  /**
   * One that cannot be carried out keeps no other from being so.
   * @param {Step[][]} changes
   * @returns {(number | Failure)[]}
   */
  const commitEach = (changes) =>
    changes.map((change) => {
      try {
        return commitAll([change])[0] ?? 0;
      } catch (error) {
        return failure(error);
      }
    });

  /** @param {Step[][]} changes */
  const take = (changes) => {
    try {
      return commitAll(changes);
    } catch (error) {
      return changes.length === 1 ? [failure(error)] : commitEach(changes);
    }
  };

  parentPort?.on('message', (/** @type {unknown[] | 'close'} */ message) => {
    if (message !== 'close') return parentPort?.postMessage(take(unflatten(message)));
    database.close();
    parentPort?.close();
  });
};

/**
 * The number of rows the first step touched; 0 means that the others were left out.
 * @param {Step[]} change
 */
const carryOut = (change) => {
  let touched = 0;
  for (const [n, { statement, values }] of change.entries()) {
    const { changes } = statement.run(values);
    if (n > 0) continue;
    if (changes === 0) return 0;
    touched = changes;
  }
  return touched;
};

try {
  serve(openPatiently());
  parentPort?.postMessage('ready');
} catch (error) {
  parentPort?.postMessage(failure(error));
}
