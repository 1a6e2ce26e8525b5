import type { Store } from '../../src/store.ts';

/**
 * One moment of one step that a store takes on its medium: a call to the operating system, a request to a server,
 * a commit. Steps that only look have no `after`.
 */
export interface Step {
  /**
   * What is done, for whoever reads of a failure: `write`, `sync`, `rename`. One name means something: a `commit` makes
   * all that it is about safe at once. If it fails after its effect, that is safe without anybody having been told, and
   * may count. A `part` is one of several such commits that one sync takes: each of them counts by itself.
   */
  readonly name: string;
  /**
   * - `before`: nothing has happened yet. A hook that throws keeps it from happening.
   * - `after`: it has happened. A hook that throws hides that, as a connection does that breaks before the answer.
   */
  readonly when: 'before' | 'after';
}

/**
 * Called around every step, synchronously and in the step's own asynchronous context. What it throws is that step's
 * failure, as if the medium had failed.
 */
export type StepHook = (step: Step) => void;

/**
 * A place where uploads are kept: a folder, a bucket, a database. The suite makes one for each scenario, so that
 * none sees what another has left, and several at a time.
 */
export interface StoreWorld {
  /**
   * An instance over this place's data, which is empty at first.
   *
   * Called once, unless the store says that more can be: with `supports.multiProcess` while others are open, each as
   * another process would have it; with `supports.persistent` after the ones before were closed. With both, also after
   * one that was stopped at some step, or by a power cut, and is closed only in the end.
   */
  open(): Store | Promise<Store>;

  /**
   * Removes everything. Called once all instances are closed, so this is also the place to find out whether one has
   * kept a file, a socket or a timer: a rejection fails the scenario.
   */
  dispose(): Promise<void>;

  /** Needed where `supports.link`: an empty folder that content can be linked into. Goes with `dispose`. */
  readonly directory?: string;

  /**
   * Where it is given, the suite also lets each step fail, and ends the store at each step. From now on `hook` is
   * called around every step of every instance of this place; with `undefined`, no more.
   *
   * What must be steps: whatever can fail in reality, for want of room above all. What must be none: giving back what
   * is held (closing a file), since a process that ends does that too.
   */
  intercept?(hook: StepHook | undefined): void;

  /**
   * Where it is given, the suite also proves that what is called safe survives a power cut: loses all that the store
   * has not synced. What was open goes on as if nothing had happened, is asked nothing any more, and is closed in the
   * end.
   */
  cutPower?(): Promise<void>;
}

export type WorldFactory = () => StoreWorld | Promise<StoreWorld>;
