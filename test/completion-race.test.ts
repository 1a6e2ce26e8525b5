import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seededRandom } from '../bench/lib/random.ts';
import { type How, RaceTrack } from './support/race.ts';
import { closeClients } from './support/raw-client.ts';
import { type S3Double, startS3Double } from './support/s3/double.ts';
import type { NodeSettings } from './support/s3-nodes.ts';

// `npm run test:race` does the same a hundred times.

const settingsOf = ({ clientConfig, bucket }: S3Double): NodeSettings => {
  const partSize = 32 * 1024;
  const provider = { minPart: 16 * 1024 };
  return { client: clientConfig, bucket, prefix: 'uploads/', partSize, provider, spillMs: 500 };
};

describe.each([
  ['memory', 1],
  ['fs', 3],
  ['sqlite', 3],
  ['s3', 3],
] as const)('50 clients complete one upload at the same moment: %s, %i processes', (store, processes) => {
  let directory = '';
  let track: RaceTrack | undefined;
  let double: S3Double | undefined;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'race-'));
    if (store === 's3') double = await startS3Double({ minPartSize: 16 * 1024 });
    const where = double === undefined ? directory : JSON.stringify(settingsOf(double));
    track = await RaceTrack.open(store, where, processes);
  });
  afterAll(async () => {
    closeClients();
    await track?.close();
    await double?.close();
    await rm(directory, { recursive: true, force: true });
  });

  const cases: [How, string][] = [
    ['answer', 'the handler is entered once, and all get its one answer'],
    ['refuse', 'a 4xx is final, and all get it'],
    ['throw', 'a handler that throws runs again for the same bytes, as attempt 2'],
    ['fail', 'so does one that answers 5xx'],
    ['hang', 'so does one whose process is killed inside it'],
  ];
  // What is only in a process's memory ends with it.
  const possible = cases.filter(([how]) => how !== 'hang' || store !== 'memory');
  test.each(possible)('%s: %s', async (how) => {
    for (let seed = 1; seed <= (how === 'answer' && store !== 's3' ? 3 : 1); seed++) {
      expect((await track?.run(how, seededRandom(seed)))?.wrong).toEqual([]);
    }
  });
});
