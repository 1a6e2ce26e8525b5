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
 * Pages through the uploads that a filter names, each by an index. Between two pages the index may change: what
 * comes or goes meanwhile may be in it or not, and what changes may be in it twice.
 */
export function* walk<Row>(
  database: Database.Database,
  filter: WalkFilter,
  columns: string,
): Generator<readonly Row[]> {
  for (const path of pathsOf(filter)) yield* along<Row>(database, path, columns);
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
const pathsOf = (filter: WalkFilter): Path[] => {
  const { states, idleSince, metadata } = filter;
  const conditions = conditionsOf(filter);
  const along = (from: string, order: readonly string[], more: readonly Condition[] = conditions): Path => ({
    from,
    where: more.map(([text]) => text),
    values: more.flatMap(([, values]) => values),
    order,
  });
  if (metadata !== undefined) {
    // CROSS: from the metadata to the uploads, whatever else is asked.
    return [
      along('metadata AS named CROSS JOIN uploads ON uploads.key = named.upload', [
        'named.value',
        'named.upload',
      ]),
    ];
  }
  if (filter.undiscarded || filter.refused || (states === undefined && idleSince === undefined)) {
    return [along('uploads', ['uploads.key'])];
  }
  // One state after another, since the index is in the order of states first.
  return (states ?? everyState).map((state) =>
    along('uploads', ['active_at', 'size', 'uploads.key'], conditionsOf({ ...filter, states: [state] })),
  );
};

type Condition = readonly [text: string, values: readonly Value[]];

const conditionsOf = ({ states, idleSince, refused, undiscarded, metadata }: WalkFilter): Condition[] => {
  const conditions: Condition[] = [];
  if (metadata !== undefined) conditions.push(['named.name = ?', [metadata.name]]);
  if (metadata?.value !== undefined) conditions.push(['named.value = ?', [metadata.value]]);
  if (states?.length === 1) conditions.push(['state = ?', states]);
  else if (states !== undefined) conditions.push([`state IN (${states.map(() => '?').join(', ')})`, states]);
  if (idleSince !== undefined) conditions.push(['active_at <= ?', [idleSince]]);
  // As the partial indexes have it.
  if (refused) conditions.push(['refused = 1', []]);
  if (undiscarded)
    conditions.push(["(state = 'removed' OR moved = 1) AND (file IS NOT NULL OR whole = 1)", []]);
  return conditions;
};
