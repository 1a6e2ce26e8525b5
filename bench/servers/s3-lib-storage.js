// The SDK's own managed upload, without a server before it: the bytes come from a stream in this process, which
// costs next to nothing. Arguments: queueSize, partSize.
import { Readable } from 'node:stream';
import { S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { bucket, clientOptions } from './s3.js';
import { block } from './sending.js';
import { answerHarness, usage } from './support.js';

const [queueSize, partSize] = process.argv.slice(2).map(Number);
const client = new S3Client(clientOptions);
let uploads = 0;

/** The bytes that the client sends to the others. */
const content = (size) => {
  let left = size;
  return new Readable({
    highWaterMark: block.length,
    read() {
      if (left === 0) return void this.push(null);
      const chunk = left < block.length ? block.subarray(0, left) : block;
      left -= chunk.length;
      this.push(chunk);
    },
  });
};

const upload = async ({ size }) => {
  const params = { Bucket: bucket, Key: `lib-storage-${uploads++}`, Body: content(size) };
  const started = performance.now();
  await new Upload({ client, params, queueSize, partSize }).done();
  return { elapsedMs: performance.now() - started };
};

answerHarness({ usage, upload });
