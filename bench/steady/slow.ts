import { openFilesLimit } from '../lib/open-files.ts';
import { inTurn } from '../lib/trials.ts';
import type { StoreKind } from '../steady-variants.ts';
import { measureSlowOnce } from '../stores/slow.ts';
import type { SlowCount, SteadySlowPlan, SteadySlowResults } from './slow-report.ts';

// Ten thousand uploads that trickle in: what does each of them hold of the server's memory?

/** What a server has open for each upload: its connection, its content, and in `fs` its journal. */
const filesPerUpload: Readonly<Record<StoreKind, number>> = { fs: 3, sqlite: 2 };
/** Beside these: what Node, the database and the harness need. */
const otherFiles = 100;

/** As many as wanted, or as many as the system lets one process have open. */
const possible = (wanted: number, store: StoreKind, limit: number | undefined): number =>
  limit === undefined ? wanted : Math.min(wanted, Math.floor((limit - otherFiles) / filesPerUpload[store]));

export const measureSteadySlow = async (
  stores: readonly StoreKind[],
  fresh: () => Promise<string>,
  { trials, loads }: SteadySlowPlan,
): Promise<SteadySlowResults> => {
  const limit = await openFilesLimit();
  const counts: SlowCount[] = loads.flatMap((load) =>
    stores.map((store) => ({ ...load, store, uploads: possible(load.wanted, store, limit) })),
  );
  const cases = counts.map((count) => ({ ...count, name: `${count.uploads} in ${count.store}` }));
  const raw = await inTurn('steady: slow uploads', cases, trials, async ({ store, wanted, ...load }) => ({
    wanted,
    ...(await measureSlowOnce(store, await fresh(), load)),
  }));
  return { trials, counts, ...(limit !== undefined && { openFilesLimit: limit }), raw };
};
