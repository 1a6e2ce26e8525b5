import { askFor } from '../lib/ask.ts';
import { Child } from '../lib/child.ts';
import { max, min, quantile } from '../lib/stats.ts';
import { inTurn } from '../lib/trials.ts';
import type { StoreKind } from '../steady-variants.ts';
import { namedServer } from '../stores-variants.ts';
import type { RangesPlan, RangesResults, RangesTrial } from './ranges-report.ts';

// An upload in a hundred thousand pieces: does the next one cost what the second did?

const startTimeoutMs = 20_000;
const scatterTimeoutMs = 300_000;
/** For some dozen writes, however slow each is. */
const writeTimeoutMs = 300_000;
/** Before the first figure. */
const warmUp = { ranges: 100, samples: 100 };

interface Sent {
  readonly ms: number;
  readonly listed: number;
}

interface Processes {
  readonly server: Child;
  readonly client: Child;
  readonly port: number;
}

/**
 * Writes to fresh uploads that have so many ranges, by requests and at the store. An upload is written to for as long
 * as that makes it longer by a tenth at most, and once at least.
 */
const measureAt = async (
  { server, client, port }: Processes,
  ranges: number,
  samples: number,
  nextNumber: () => number,
): Promise<Pick<RangesTrial, 'request' | 'write' | 'listed'>> => {
  const each = Math.max(1, Math.min(samples, Math.floor(ranges / 20)));
  const requests: number[] = [];
  const writes: number[] = [];
  const listed: number[] = [];
  while (requests.length < samples) {
    const number = nextNumber();
    const known = await askFor<number>(server, 'scatter', { number, ranges }, scatterTimeoutMs);
    if (known !== ranges) throw new Error(`an upload of ${ranges} ranges has ${known}`);
    const next = { number, first: ranges, ranges: each };
    const sent = await askFor<Sent[]>(client, 'send', { ...next, port }, writeTimeoutMs);
    requests.push(...sent.map(({ ms }) => ms));
    listed.push(...sent.map((one) => one.listed));
    const more = { ...next, first: ranges + each };
    writes.push(...(await askFor<number[]>(server, 'write', more, writeTimeoutMs)));
  }
  const figures = (ms: readonly number[]) => ({ p50Ms: quantile(ms, 0.5), p99Ms: quantile(ms, 0.99) });
  return {
    request: figures(requests),
    write: figures(writes),
    listed: { least: min(listed), most: max(listed) },
  };
};

const measure = async (
  store: StoreKind,
  directory: string,
  { counts, samples }: RangesPlan,
): Promise<ReadonlyArray<Omit<RangesTrial, 'trial'>>> => {
  const { script, args } = namedServer(store, directory);
  const server = new Child(script, args);
  const client = new Child(new URL('../servers/disjoint-client.js', import.meta.url), []);
  try {
    const processes = { server, client, port: await server.port(startTimeoutMs) };
    let number = 0;
    const nextNumber = (): number => number++;
    await measureAt(processes, warmUp.ranges, warmUp.samples, nextNumber);
    const rows: Array<Omit<RangesTrial, 'trial'>> = [];
    for (const ranges of counts) {
      rows.push({ store, ranges, ...(await measureAt(processes, ranges, samples, nextNumber)) });
    }
    return rows;
  } finally {
    await Promise.all([server.stop(), client.stop()]);
  }
};

export const measureRanges = async (
  stores: readonly StoreKind[],
  fresh: () => Promise<string>,
  plan: RangesPlan,
): Promise<RangesResults> => {
  const cases = stores.map((name) => ({ name }));
  const raw = await inTurn('steady: ranges', cases, plan.trials, async ({ name }) =>
    measure(name, await fresh(), plan),
  );
  return { ...plan, raw };
};
