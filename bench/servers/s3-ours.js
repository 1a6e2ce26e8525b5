// This library with its S3 store, from the build output: what a user installs. Argument: the store's
// `memoryBudget`, if not its default.
import { S3Client } from '@aws-sdk/client-s3';
import { listen, resumable } from '../../dist/src/index.js';
import { s3Store } from '../../dist/stores/s3.js';
import { bucket, clientOptions, countRequests } from './s3.js';
import { announce } from './support.js';

const [, , memoryBudget] = process.argv;
const client = new S3Client(clientOptions);
const store = s3Store({
  client,
  bucket,
  ...(memoryBudget !== undefined && { memoryBudget: Number(memoryBudget) }),
});

// The others don't read what they have stored either.
const listener = resumable({ store }, (req, res) => res.end(String(req.upload.length)));

const server = await listen(listener, { port: 0, host: '127.0.0.1' });
announce(server, countRequests(client, server));
