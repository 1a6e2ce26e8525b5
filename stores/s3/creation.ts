import type { Bucket } from './bucket.ts';
import { statusOf } from './failures.ts';
import type { Keys } from './keys.ts';

// Every record version is an object that is made once: `PutObject` with `If-None-Match: *`. Not every provider takes
// that, and some say yes and do not mean it, which is found out before anything depends on it.

/** What a provider makes of a conditional write. */
type Conditions = 'honoured' | 'ignored' | 'missing';

const warningCode = 'RESUMABLE_HTTP_S3_CONDITIONAL_WRITES';

/** Makes objects where there are none, in the best way the bucket has. All stores of this process share it. */
export class Creation {
  readonly #conditions: Conditions;
  readonly #turns = new Map<string, Promise<string | undefined>>();

  constructor(conditions: Conditions) {
    this.#conditions = conditions;
  }

  /** As `Bucket.putNew`. */
  async make(bucket: Bucket, key: string, body: Uint8Array): Promise<string | undefined> {
    if (this.#conditions === 'honoured') return bucket.putNew(key, body);
    // One after another, so that at least within this process nobody writes between another's look and write.
    const before = this.#turns.get(key);
    const turn = (async () => {
      await before?.catch(() => undefined);
      if ((await bucket.sizeOf(key)) !== undefined) return undefined;
      return this.#conditions === 'ignored' ? bucket.putNew(key, body) : bucket.put(key, body);
    })();
    this.#turns.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    }
  }
}

const known = new Map<string, Promise<Creation>>();

/**
 * Asked once per process and bucket, with three requests. Warns (RESUMABLE_HTTP_S3_CONDITIONAL_WRITES) of a bucket
 * without conditional writes. Rejects with `store_failed` where nothing may be written at all.
 */
export const creationIn = async (bucket: Bucket, keys: Keys): Promise<Creation> => {
  const address = await bucket.address();
  const asked = known.get(address) ?? probe(bucket, keys);
  known.set(address, asked);
  try {
    return await asked;
  } catch (error) {
    if (known.get(address) === asked) known.delete(address); // another time it may go well
    throw error;
  }
};

const probe = async (bucket: Bucket, keys: Keys): Promise<Creation> => {
  const key = keys.probe();
  // Both at once: who decides before it has the body tells both yes.
  const puts = [1, 2].map(() => bucket.putIfNew(key, new Uint8Array()));
  const statuses = (await Promise.allSettled(puts)).map((put) => {
    if (put.status === 'fulfilled') return 200;
    const status = statusOf(put.reason);
    if (status === 412 || status === 409 || status === 501) return status;
    throw bucket.explained(put.reason);
  });
  if (!statuses.every((status) => status === 501)) {
    // What stays is empty, and the janitor's.
    await bucket.delete([key]).catch(() => undefined);
  }
  if (statuses.includes(501)) return warned(bucket, 'missing');
  return statuses.every((status) => status === 200) ? warned(bucket, 'ignored') : new Creation('honoured');
};

const warned = (bucket: Bucket, conditions: 'ignored' | 'missing'): Creation => {
  const what = conditions === 'missing' ? 'does not know' : 'does not honour';
  process.emitWarning(
    `the bucket ${bucket.name} ${what} conditional writes (PutObject with If-None-Match: *). As long as one process ` +
      'uses it nothing changes; between several it is not promised that an upload is created once, nor that it is ' +
      'completed once',
    { type: 'ResumableHttpWarning', code: warningCode },
  );
  return new Creation(conditions);
};
