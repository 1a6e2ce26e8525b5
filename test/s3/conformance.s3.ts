import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { describe, expect, test } from 'vitest';
import { storeSuite } from '../conformance/store.ts';
import { s3Targets } from '../s3-servers/targets.ts';
import { bucketWorld } from '../support/s3-world.ts';

const skip = (name: string, reason: string): void => test.skip(`${name} (${reason})`);
const bucket = `conformance-${Date.now()}`;

test('there is a server to be tested against', () => {
  expect(s3Targets()).not.toEqual([]);
});

for (const { name, version, endpoint, region, accessKeyId, secretAccessKey } of s3Targets()) {
  const config = { endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } };
  const client = new S3Client(config);
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
  // Each request is a matter of milliseconds here: two random schedules, where the double runs ten.
  describe(`s3, on ${name} ${version}`, () =>
    storeSuite({ test, skip, factory: bucketWorld(config, bucket), schedules: 2 }));
}
