import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { IntervalSet, type Range } from '../../src/intervals.ts';
import { bring, content, newEngine, newId, newWorld, sha256, storedSum } from '../support/model.ts';

const script = fileURLToPath(new URL('../support/acknowledging-writer.ts', import.meta.url));
const tsx = import.meta.resolve('tsx');
const length = 3 * 1024 * 1024;
const lanes = 4;
const roundsPerLane = 5;

/** The same numbers in every run. */
const seeded = (seed: number) => {
  let state = seed;
  return (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
};

/** Runs a writer and kills it at its `killAt`th acknowledgement; resolves with all that it printed. */
const writeAndKill = async (args: readonly string[], killAt: number): Promise<readonly Range[][]> => {
  const child = spawn(process.execPath, ['--import', tsx, script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'close');
  const printed: Range[][] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    // What is cut off in the middle of a line was not told to anybody.
    if (!line.endsWith(']')) continue;
    printed.push(JSON.parse(line) as Range[]);
    if (printed.length === killAt) child.kill('SIGKILL');
  }
  const [code, signal] = (await exited) as [number | null, NodeJS.Signals | null];
  // The last acknowledgement may be the end of the writer too: then the kill comes to nothing.
  expect(printed.length >= killAt ? ['SIGKILL', 0] : [0]).toContain(signal ?? code);
  return printed;
};

test('a process killed at any acknowledgement has told nothing that is not there', {
  timeout: 60_000,
}, async () => {
  const world = await newWorld('fs');
  let kills = 0;
  const lane = async (seed: number): Promise<void> => {
    const random = seeded(seed);
    const id = newId();
    const bytes = content(length, seed);
    const told = new IntervalSet();
    for (let round = 0; round < roundsPerLane; round++) {
      const args = [world.directory, id, String(length), String(seed)];
      const printed = await writeAndKill(args, 1 + random(6));
      for (const ranges of printed) told.addAll(ranges);
      kills++;
      const store = world.open();
      const stored = IntervalSet.from((await newEngine(store).query(id))?.received ?? []);
      for (const { start, end } of told.ranges()) expect(stored.covers(start, end)).toBe(true);
      for (const { start, end } of stored.ranges()) {
        expect(await storedSum(store, id, start, end)).toBe(sha256(bytes.subarray(start, end)));
      }
    }
    const engine = newEngine(world.open());
    const received = (await engine.query(id))?.received ?? [];
    for (const gap of IntervalSet.from(received).missing(0, length)) await bring(engine, id, bytes, gap);
    expect(await storedSum(engine.store, id, 0, length)).toBe(sha256(bytes));
  };
  // All of them, so that no process outlives the test.
  const ended = await Promise.allSettled(Array.from({ length: lanes }, (_, n) => lane(n + 1)));
  for (const outcome of ended) if (outcome.status === 'rejected') throw outcome.reason;
  expect(kills).toBe(lanes * roundsPerLane);
});
