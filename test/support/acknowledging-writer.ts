// Brings one upload into a folder as a process of its own, and prints every acknowledgement as a line of JSON:
//
//     node --import tsx acknowledging-writer.ts DIRECTORY ID LENGTH SEED
//
// Meant to be killed. Goes on from what is stored; ends when that is everything.
import { Engine } from '../../src/engine.ts';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import { fsStore } from '../../stores/fs.ts';
import { seededContent } from './seeded-content.ts';

const [directory = '', id = '', lengthText, seed] = process.argv.slice(2);
const length = Number(lengthText);
const bytes = seededContent(length, Number(seed));
const chunk = 16 * 1024;

const engine = new Engine(fsStore(directory, { durability: 'process' }), {
  batchBytes: 64 * 1024,
  flushMs: 5,
  memoryBudget: 1024 * 1024,
  checkpointBytes: 128 * 1024,
  checkpointMs: 5,
  aheadBytes: 1024 * 1024,
  resumeTimeoutMs: 60_000,
  maxLength: length,
  onError: (error) => console.error(error),
  leaseMs: 60_000,
  reserveBytes: 1024,
  expiresAfterMs: 3_600_000,
  tombstoneMs: 3_600_000,
  maxAttempts: 3,
});

const acknowledge = (received: readonly Range[]): void => {
  process.stdout.write(`${JSON.stringify(received)}\n`);
};

const send = async ({ start, end }: Range): Promise<void> => {
  let wake: (() => void) | undefined;
  const session = await engine.write(
    id,
    { absent: 'create', start, end, length, endsContent: false },
    {
      resume: () => wake?.(),
      stop: (reason) => {
        throw reason;
      },
    },
  );
  if (session.kind !== 'writing') throw new Error(session.kind);
  const acknowledging: Promise<void>[] = [];
  session.onCheckpoint(() =>
    acknowledging.push(session.stored().then((stored) => acknowledge(stored?.received ?? []))),
  );
  for (let at = start; at < end; at += chunk) {
    if (!session.transfer.push(bytes.slice(at, Math.min(at + chunk, end)))) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    // As a socket would: each chunk in a turn of its own.
    await new Promise((resolve) => setImmediate(resolve));
  }
  acknowledge((await session.finish(true)).received);
  await Promise.all(acknowledging);
};

const stored = await engine.query(id);
if (stored !== undefined) acknowledge(stored.received);
const missing = IntervalSet.from(stored?.received ?? []).missing(0, length);
// Each gap from its middle and from its start at once, so that there are holes at any moment.
await Promise.all(
  missing.flatMap(({ start, end }) => {
    const middle = start + Math.floor((end - start) / 2);
    return [
      { start: middle, end },
      { start, end: middle },
    ]
      .filter((range) => range.start < range.end)
      .map(send);
  }),
);
await engine.close();
