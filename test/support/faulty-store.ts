import type { Store, StoreWriter, UploadRecord } from '../../src/store.ts';

/** What a store is asked to do; `write`, `sync` and `closeWriter` are those of its writers. */
export type StoreOp =
  | 'create'
  | 'load'
  | 'update'
  | 'writer'
  | 'write'
  | 'sync'
  | 'closeWriter'
  | 'discard'
  | 'purge';

export interface StoreCall {
  readonly op: StoreOp;
  /** Counted from 1, for each kind of operation by itself. */
  readonly nth: number;
  /** `after`: the real store has done it already, and a rejection hides that. */
  readonly when: 'before' | 'after';
  /** Of `create` and `update`. */
  readonly record: UploadRecord | undefined;
  /** Bytes of a `write`. */
  readonly bytes: number;
}

/** Called around every operation. A rejection becomes the operation's own; a promise that waits holds it up. */
export type Hook = (call: StoreCall) => void | Promise<void>;

export interface FaultyStore extends Store {
  hook: Hook;
  /** How often each operation was begun. */
  readonly calls: ReadonlyMap<StoreOp, number>;
  /** Writers that were opened and not closed. */
  readonly openWriters: number;
}

export const systemError = (code: string): Error => Object.assign(new Error(`${code}: on purpose`), { code });

/** Fails one call of one operation, before or after its effect. */
export const failNth =
  (op: StoreOp, nth: number, when: StoreCall['when'], code: string): Hook =>
  (call) => {
    if (call.op === op && call.nth === nth && call.when === when) throw systemError(code);
  };

/** A real store whose operations can be counted, held up and made to fail. */
export const faultyStore = (real: Store, hook: Hook = () => undefined): FaultyStore => {
  const calls = new Map<StoreOp, number>();
  const writers = new Set<StoreWriter>();

  const around = async <T>(
    op: StoreOp,
    run: () => Promise<T>,
    facts: { record?: UploadRecord; bytes?: number } = {},
  ): Promise<T> => {
    const nth = (calls.get(op) ?? 0) + 1;
    calls.set(op, nth);
    const call = { op, nth, record: facts.record, bytes: facts.bytes ?? 0 };
    await store.hook({ ...call, when: 'before' });
    const result = await run();
    await store.hook({ ...call, when: 'after' });
    return result;
  };

  const wrap = (writer: StoreWriter): StoreWriter => ({
    write: (buffers, offset) => {
      const bytes = buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0);
      return around('write', () => writer.write(buffers, offset), { bytes });
    },
    sync: () => around('sync', () => writer.sync()),
    close: () =>
      around('closeWriter', async () => {
        await writer.close();
        writers.delete(writer);
      }),
  });

  const store: FaultyStore = {
    hook,
    calls,
    get openWriters() {
      return writers.size;
    },
    name: real.name,
    supports: real.supports,
    create: (record, content) => around('create', () => real.create(record, content), { record }),
    load: (id) => around('load', () => real.load(id)),
    update: (version, record, options) =>
      around('update', () => real.update(version, record, options), { record }),
    writer: async (id) => {
      let opened: StoreWriter | undefined;
      try {
        return await around('writer', async () => {
          opened = await real.writer(id);
          writers.add(opened);
          return wrap(opened);
        });
      } catch (error) {
        // Nobody else can close a writer that the caller never got.
        if (opened !== undefined) {
          writers.delete(opened);
          await opened.close();
        }
        throw error;
      }
    },
    read: (id, start, end) => real.read(id, start, end),
    discard: (id) => around('discard', () => real.discard(id)),
    purge: (id) => around('purge', () => real.purge(id)),
    list: (filters) => real.list(filters),
    close: () => real.close(),
    ...(real.prepare === undefined ? {} : { prepare: real.prepare.bind(real) }),
    ...(real.link === undefined ? {} : { link: real.link.bind(real) }),
  };
  return store;
};
