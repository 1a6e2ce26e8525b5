import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { describe, expect, test } from 'vitest';
import { storeSuite } from '../conformance/store.ts';
import { s3Targets } from '../s3-servers/targets.ts';
import { bucketWorld } from './s3-world.ts';

/** Two random schedules, where the double runs ten: each request is a matter of milliseconds here. */
const schedules = 2;

/** The conformance suite on one of the real servers, by its place in the list: each has a file, so that they run at once. */
export const conformanceOn = async (place: number): Promise<void> => {
  const target = s3Targets()[place];
  if (target === undefined) {
    if (place > 0) test.skip('there is no further server', () => undefined);
    else test('there is a server to be tested against', () => expect(s3Targets()).not.toEqual([]));
    return;
  }
  const { name, version, endpoint, region, accessKeyId, secretAccessKey } = target;
  const config = { endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } };
  const bucket = `conformance-${Date.now()}`;
  const client = new S3Client(config);
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
  const skip = (what: string, reason: string): void => test.skip(`${what} (${reason})`);
  describe(`s3, on ${name} ${version}`, () =>
    storeSuite({ test, skip, factory: bucketWorld(config, bucket), schedules }));
};
