import { describeMachine, type Machine, machineLines } from './machine.ts';
import { scratchIsMemory } from './scratch.ts';
import { type Target, targetLine } from './targets.ts';

/** Where and how a run was made: part of its results. */
export interface Conditions {
  readonly machine: Machine;
  readonly date: string;
  readonly command: string;
  readonly scratchIsMemory: boolean;
}

/** Of a run that began at `startedAt`. */
export const conditionsOf = async (command: string, startedAt: Date): Promise<Conditions> => ({
  machine: describeMachine(),
  date: startedAt.toISOString(),
  command,
  scratchIsMemory: await scratchIsMemory(),
});

/** What a report begins with; `more` goes below the machine. */
export const reportHead = (title: string, run: Conditions, more: readonly string[] = []): string[] => [
  `## ${title}`,
  '',
  ...machineLines(run.machine),
  ...more,
  `Date: ${run.date}`,
  `Command: ${run.command}`,
  ...(run.scratchIsMemory ? ['Note: the temporary directory is in memory; set TMPDIR to a disk.'] : []),
];

export const section = (
  title: string,
  table: string,
  notes: readonly string[],
  targets: readonly Target[],
): string[] => ['', `### ${title}`, '', table, '', ...notes, '', ...targets.map(targetLine)];
