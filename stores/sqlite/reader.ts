import { setImmediate as turn } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import type { UploadState } from '../../src/lifecycle.ts';
import type { UploadRecord } from '../../src/store.ts';
import { openDatabase } from './driver.ts';
import { readerPragmas } from './schema.ts';
import { type WalkFilter, walk } from './walk.ts';

/** An upload as the index has it. */
export interface IndexedHead {
  readonly record: UploadRecord;
  readonly version: number;
  readonly activeAt: number;
  /** Where the content is: a file below content/, the index itself, or nowhere any more. */
  readonly place: { readonly file: string } | 'index' | undefined;
}

export interface IndexedUpload extends IndexedHead {
  readonly received: readonly Range[];
}

interface Row {
  readonly id: string;
  readonly version: number;
  readonly state: UploadState;
  readonly created_at: number;
  readonly active_at: number;
  readonly length: number | null;
  readonly size: number;
  readonly whole: number;
  readonly attempt: number;
  readonly claim_owner: string | null;
  readonly claim_expires_at: number | null;
  readonly refused: number | null;
  readonly moved: number | null;
  readonly removed_at: number | null;
  readonly expires_after_ms: number | null;
  readonly max_length: number | null;
  readonly digest: string | null;
  readonly metadata: string;
  readonly context: string | null;
  readonly file: string | null;
  readonly response: string | null;
  /** JSON: all starts, and all ends, in no order. */
  readonly starts: string;
  readonly ends: string;
}

type RowHead = Omit<Row, 'starts' | 'ends'>;

/** What a query tells of an upload. Sizes in bytes, times in milliseconds since the epoch. */
export interface UploadSummary {
  readonly id: string;
  readonly state: UploadState;
  readonly createdAt: number;
  /** When a byte or the record last changed. */
  readonly activeAt: number;
  readonly length: number | undefined;
  /** Bytes received. */
  readonly size: number;
  readonly attempt: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A file that is no upload's. */
export interface Litter {
  readonly file: string;
  readonly owner: string;
  readonly at: number;
}

/** How long a read may wait: only for a process that repairs the index after a crash. */
const readTimeoutMs = 1000;

/**
 * Reads the index. A point query takes some microseconds and waits for no writer (that is what the write-ahead
 * log is for), so it is asked on the spot; anything longer is read a page in a turn of the event loop.
 */
export class IndexReader {
  readonly #database: Database.Database;
  readonly #upload: Database.Statement<[string], Row>;
  readonly #head: Database.Statement<[string], RowHead>;
  readonly #body: Database.Statement<[string], { readonly bytes: Buffer }>;
  readonly #litter: Database.Statement<[], Litter>;

  constructor(file: string) {
    this.#database = openDatabase(file, { timeout: readTimeoutMs, fileMustExist: true });
    for (const pragma of readerPragmas) this.#database.pragma(pragma);
    // One statement sees one state of the index: record and ranges belong together.
    this.#upload = this.#database.prepare(
      `SELECT *, (SELECT json_group_array(start) FROM ranges WHERE upload = key) AS starts,
                 (SELECT json_group_array(end) FROM ranges WHERE upload = key) AS ends
       FROM uploads WHERE id = ?`,
    );
    this.#head = this.#database.prepare('SELECT * FROM uploads WHERE id = ?');
    this.#body = this.#database.prepare(
      'SELECT bytes FROM bodies WHERE upload = (SELECT key FROM uploads WHERE id = ?)',
    );
    this.#litter = this.#database.prepare('SELECT file, owner, at FROM litter LIMIT 1000');
  }

  load(id: string): IndexedUpload | undefined {
    const row = this.#upload.get(id);
    return row && { ...headOf(row), received: receivedOf(row) };
  }

  /** All but the ranges, of which there may be a hundred thousand. */
  head(id: string): IndexedHead | undefined {
    const row = this.#head.get(id);
    return row && headOf(row);
  }

  /** The content of an upload that is kept in the index; of an empty one, and of none, no bytes. */
  body(id: string): Uint8Array {
    return this.#body.get(id)?.bytes ?? new Uint8Array();
  }

  litter(): readonly Litter[] {
    return this.#litter.all();
  }

  /** Rows of the table `uploads`, one by one, but for those that one of `except` names. */
  async *walk<Columns>(
    filter: WalkFilter,
    columns: string,
    except: readonly WalkFilter[] = [],
  ): AsyncGenerator<Columns> {
    for (const page of walk<Columns>(this.#database, filter, columns, except)) {
      yield* page;
      await turn();
    }
  }

  async *summaries(filter: WalkFilter): AsyncGenerator<UploadSummary> {
    const columns = 'id, state, created_at, active_at, length, size, attempt, uploads.metadata AS metadata';
    for await (const row of this.walk<Row>(filter, columns)) yield summaryOf(row);
  }

  close(): void {
    this.#database.close();
  }
}

const headOf = (row: RowHead): IndexedHead => ({
  record: recordOf(row),
  version: row.version,
  activeAt: row.active_at,
  place: row.file === null ? (row.whole === 1 ? 'index' : undefined) : { file: row.file },
});

const recordOf = (row: RowHead): UploadRecord => ({
  id: row.id,
  createdAt: row.created_at,
  state: row.state,
  ...(row.length !== null && { length: row.length }),
  ...(row.digest !== null && { digest: row.digest }),
  metadata: JSON.parse(row.metadata) as UploadRecord['metadata'],
  ...(row.expires_after_ms !== null && { expiresAfterMs: row.expires_after_ms }),
  ...(row.max_length !== null && { maxLength: row.max_length }),
  ...(row.context !== null && { context: row.context }),
  attempt: row.attempt,
  ...(row.claim_owner !== null && {
    claim: { owner: row.claim_owner, expiresAt: row.claim_expires_at ?? 0 },
  }),
  ...(row.response !== null && { response: row.response }),
  ...(row.refused !== null && { refused: row.refused === 1 }),
  ...(row.moved !== null && { moved: row.moved === 1 }),
  ...(row.removed_at !== null && { removedAt: row.removed_at }),
});

const summaryOf = (row: Row): UploadSummary => ({
  id: row.id,
  state: row.state,
  createdAt: row.created_at,
  activeAt: row.active_at,
  length: row.length ?? undefined,
  size: row.size,
  attempt: row.attempt,
  metadata: JSON.parse(row.metadata) as UploadSummary['metadata'],
});

const receivedOf = ({ state, whole, length, size, starts, ends }: Row): readonly Range[] => {
  if (state === 'removed') return [];
  // What was answered stays true, whatever has become of the content since.
  if (state === 'finished') return IntervalSet.from([{ start: 0, end: length ?? 0 }]).ranges();
  const received = new IntervalSet();
  // As two lists of numbers, a hundred thousand ranges are here in a third of the time that as many pairs take.
  received.addMany(numbersOf(starts), numbersOf(ends));
  if (whole === 1) received.add(0, size);
  return received.ranges();
};

const numbersOf = (json: string): Float64Array => Float64Array.from(JSON.parse(json) as number[]);
