import type Database from 'better-sqlite3';
import type { UploadState } from '../../src/lifecycle.ts';
import type { ListFilter } from '../../src/store.ts';

/** What uploads a walk is for; each field narrows it. */
export interface WalkFilter extends ListFilter {
  /** Only uploads with this metadata: of that name, and where it is given of that value. */
  readonly metadata?: { readonly name: string; readonly value?: string };
}

/** Rows that are read in one turn of the event loop: less than a millisecond. */
const pageRows = 500;

const everyState: readonly UploadState[] = ['open', 'claimed', 'finished', 'removed'];

type Value = string | number;

/** A way through an index: where a page begins is behind the last row of the one before. */
interface Path {
  readonly from: string;
  readonly where: readonly string[];
  readonly values: readonly Value[];
  /** The columns the index is in order of. */
  readonly order: readonly string[];
}

/**
 * Pages through the uploads that a filter names, each by an index, but for those that one of `except` names. Between two pages the index may change: what
 * comes or goes meanwhile may be in it or not, and what changes may be in it twice.
 */
export function* walk<Row>(
  database: Database.Database,
  filter: WalkFilter,
  columns: string,
  except: readonly WalkFilter[] = [],
): Generator<readonly Row[]> {
  for (const path of pathsOf(filter, except.map(negation))) yield* along<Row>(database, path, columns);
}

function* along<Row>(
  database: Database.Database,
  { from, where, values, order }: Path,
  columns: string,
): Generator<readonly Row[]> {
  const cursor = order.map((column, n) => `${column} AS cursor${n}`).join(', ');
  const select = (conditions: readonly string[]): Database.Statement<Value[], Row & Record<string, Value>> =>
    database.prepare(
      `SELECT ${columns}, ${cursor} FROM ${from} WHERE ${conditions.join(' AND ') || 'true'}
       ORDER BY ${order.join(', ')} LIMIT ${pageRows}`,
    );
  const first = select(where);
  const next = select([...where, `(${order.join(', ')}) > (${order.map(() => '?').join(', ')})`]);
  let rows = first.all(...values);
  while (rows.length > 0) {
    yield rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < pageRows) return;
    rows = next.all(...values, ...order.map((_, n) => last[`cursor${n}`] as Value));
  }
}

/** The narrowest index there is for a filter; what else the filter says is looked up in the rows. */
const pathsOf = (filter: WalkFilter, besides: readonly Condition[]): Path[] => {
  const { states, idleSince, metadata } = filter;
  const along = (from: string, order: readonly string[], conditions = conditionsOf(filter)): Path => {
    const every = [...conditions, ...besides];
    return { from, where: every.map(([text]) => text), values: every.flatMap(([, values]) => values), order };
  };
  if (metadata !== undefined) {
    // CROSS: from the metadata to the uploads, whatever else is asked.
    const named = 'metadata AS named CROSS JOIN uploads ON uploads.key = named.upload';
    return [along(named, ['named.value', 'named.upload'])];
  }
  if (
    filter.undiscarded ||
    filter.refused ||
    filter.ownExpiry ||
    (states === undefined && idleSince === undefined)
  ) {
    return [along('uploads', ['uploads.key'])];
  }
  // One state after another, since the index is in the order of states first.
  return (states ?? everyState).map((state) =>
    along('uploads', ['active_at', 'size', 'uploads.key'], conditionsOf({ ...filter, states: [state] })),
  );
};

type Condition = readonly [text: string, values: readonly Value[]];

const conditionsOf = (filter: WalkFilter): Condition[] => {
  const { states, idleSince, refused, ownExpiry, undiscarded, metadata } = filter;
  const conditions: Condition[] = [];
  if (metadata !== undefined) conditions.push(['named.name = ?', [metadata.name]]);
  if (metadata?.value !== undefined) conditions.push(['named.value = ?', [metadata.value]]);
  if (states?.length === 1) conditions.push(['state = ?', states]);
  else if (states !== undefined) conditions.push([`state IN (${states.map(() => '?').join(', ')})`, states]);
  if (idleSince !== undefined) conditions.push(['active_at <= ?', [idleSince]]);
  // As the partial indexes have it.
  if (refused) conditions.push(['refused = 1', []]);
  if (ownExpiry) conditions.push(["state = 'open' AND expires_after_ms IS NOT NULL", []]);
  if (undiscarded)
    conditions.push(["(state = 'removed' OR moved = 1) AND (file IS NOT NULL OR whole = 1)", []]);
  return conditions;
};

/** Whatever the filter does not name. Of metadata it says nothing: nobody asks for both. */
const negation = ({ metadata: _, ...filter }: WalkFilter): Condition => {
  const conditions = conditionsOf(filter);
  const text = conditions.map(([condition]) => `(${condition})`).join(' AND ') || 'true';
  return [`(${text}) IS NOT true`, conditions.flatMap(([, values]) => values)];
};
