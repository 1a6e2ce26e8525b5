import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Store, StoreCapabilities, StoreWriter } from '../../src/store.ts';
import { idsOf } from './expect.ts';
import { together } from './together.ts';
import { TrackedUpload, type UploadPlan } from './tracked-upload.ts';
import type { StoreWorld, WorldFactory } from './world.ts';

/** What one scenario works on: a world of its own, and all that was opened and uploaded in it. */
export class Stage {
  readonly world: StoreWorld;
  readonly #factory: WorldFactory;
  readonly #instances = new Set<Store>();
  readonly #writers = new Set<StoreWriter>();
  readonly #uploads = new Map<string, TrackedUpload>();
  #store: Store | undefined;

  private constructor(world: StoreWorld, factory: WorldFactory) {
    this.world = world;
    this.#factory = factory;
  }

  /** Runs something in a new world, and puts everything away after it. */
  static async perform<T>(factory: WorldFactory, run: (stage: Stage) => Promise<T>): Promise<T> {
    const stage = new Stage(await factory(), factory);
    let result: T;
    try {
      await stage.reopen();
      result = await run(stage);
    } catch (error) {
      await stage.#leave().catch(() => undefined); // the first failure is the one to report: others may come of it
      throw error;
    }
    await stage.#leave();
    return result;
  }

  /** The same in yet another world. */
  elsewhere<T>(run: (stage: Stage) => Promise<T>): Promise<T> {
    return Stage.perform(this.#factory, run);
  }

  /** The instance at hand. */
  get store(): Store {
    return this.#store as Store;
  }

  get supports(): StoreCapabilities {
    return this.store.supports;
  }

  /** As another process would have it, where the store allows for that; otherwise the one at hand. */
  async another(): Promise<Store> {
    return this.supports.multiProcess ? this.#open() : this.store;
  }

  /** The one at hand, and another. */
  async pair(): Promise<[Store, Store]> {
    return [this.store, await this.another()];
  }

  async several(count: number): Promise<Store[]> {
    return [this.store, ...(await together(Array.from({ length: count - 1 }, () => this.another())))];
  }

  /** As the next process would have it, when all others have ended: where `persistent`. */
  async reopen(): Promise<Store> {
    await this.#closeAll();
    this.#store = await this.#open();
    return this.#store;
  }

  /** As the next process would have it after a power cut; what was open is not to be used again. */
  async cutPower(): Promise<Store> {
    await this.world.cutPower?.();
    this.#store = await this.#open();
    return this.#store;
  }

  /** What its id replaces is no longer looked at. */
  upload(plan: Partial<UploadPlan> = {}): TrackedUpload {
    const upload = new TrackedUpload({ length: 5000, ...plan }, this.#writers);
    this.#uploads.set(upload.id, upload);
    return upload;
  }

  uploads(count: number, plan: Partial<UploadPlan> = {}): TrackedUpload[] {
    return Array.from({ length: count }, () => this.upload(plan));
  }

  /** A name in the world's folder that nothing has. */
  target(name = 'target'): string {
    assert.ok(this.world.directory !== undefined, 'a store that links needs a world with a directory');
    return join(this.world.directory, name);
  }

  /** All uploads, byte by byte, by the instance at hand and by another; and that there are no others. */
  async verify(): Promise<void> {
    const uploads = [...this.#uploads.values()];
    const expected = uploads.filter(({ exists }) => exists).map(({ id }) => id);
    for (const store of new Set([this.store, await this.another()])) {
      for (const upload of uploads) await upload.verify(store);
      assert.deepEqual((await idsOf(store.list())).sort(), expected.sort(), 'the ids that list gives');
    }
  }

  async #open(): Promise<Store> {
    const store = await this.world.open();
    this.#instances.add(store);
    return store;
  }

  async #closeAll(): Promise<void> {
    for (const writer of this.#writers) await writer.close();
    this.#writers.clear();
    for (const store of this.#instances) await store.close();
    this.#instances.clear();
  }

  async #leave(): Promise<void> {
    this.world.intercept?.(undefined);
    try {
      await this.#closeAll();
    } finally {
      await this.world.dispose();
    }
  }
}
