import { Committer } from '../../stores/sqlite/committer.ts';
import type { StepHook } from '../conformance/world.ts';

// What SQLite does on a disk is its own affair, and out of sight. For the store it is one step: a commit that succeeds
// or fails.

/** By the database they watch. */
const hooks = new Map<string, StepHook>();
const files = new WeakMap<Committer, string>();

/** Around every commit to the database from now on; with `undefined`, no more. */
export const interceptCommits = (database: string, hook: StepHook | undefined): void => {
  if (hook === undefined) hooks.delete(database);
  else hooks.set(database, hook);
};

const { open } = Committer;
Committer.open = async (file, power) => {
  const committer = await open.call(Committer, file, power);
  files.set(committer, file);
  return committer;
};

const { commit } = Committer.prototype;
Committer.prototype.commit = async function (change) {
  const hook = hooks.get(files.get(this) ?? '');
  hook?.({ name: 'commit', when: 'before' });
  const touched = await commit.call(this, change);
  hook?.({ name: 'commit', when: 'after' });
  return touched;
};
