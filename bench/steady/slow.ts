import { openFilesLimit } from '../lib/open-files.ts';
import { settle } from '../lib/scratch.ts';
import type { StoreKind } from '../steady-variants.ts';
import { measureSlowOnce } from '../stores/slow.ts';
import type { SlowCount, SteadySlowPlan, SteadySlowResults, SteadySlowTrial } from './slow-report.ts';

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
  const raw: SteadySlowTrial[] = [];
  for (let trial = 1; trial <= trials; trial++) {
    for (const { store, wanted, ...load } of counts) {
      const where = `${load.uploads} slow uploads, trial ${trial}/${trials}, ${store}`;
      process.stderr.write(`steady: ${where}\n`);
      try {
        const measured = await measureSlowOnce(store, await fresh(), load);
        raw.push({ trial, wanted, ...measured });
      } catch (error) {
        throw new Error(`${where}: no figure`, { cause: error });
      }
      await settle();
    }
  }
  return { trials, counts, ...(limit !== undefined && { openFilesLimit: limit }), raw };
};
