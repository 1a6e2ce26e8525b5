import { randomBytes } from 'node:crypto';
import {
  DeleteObjectsCommand,
  ListObjectsV2Command,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { type S3StoreOptions, s3Store } from '../../stores/s3.ts';
import type { StepHook, StoreWorld, WorldFactory } from '../conformance/store.ts';
import { startS3Double } from './s3/double.ts';

/**
 * What a request means: it helps to make some of the bytes of a sync safe, it only looks, or it decides something. A
 * fragment is read to be made part of a part.
 */
const nameOf = (command: string, input: object): string => {
  const isFragment = 'Key' in input && String(input.Key).includes('/fragment/');
  if (command.startsWith('UploadPart') || isFragment) return 'part';
  return /^(Get|Head|List)/.test(command) ? command : 'commit';
};

/** Clients whose every request is a step, and stores over them. */
const worldOver = (
  config: S3ClientConfig,
  options: Omit<S3StoreOptions, 'client'>,
  dispose: () => Promise<void>,
): StoreWorld => {
  let hook: StepHook | undefined;
  const clients: S3Client[] = [];
  return {
    open: () => {
      const client = new S3Client({ ...config, maxAttempts: 1 });
      clients.push(client);
      client.middlewareStack.add(
        (next, { commandName = '' }) =>
          async (request) => {
            const name = nameOf(commandName, request.input);
            hook?.({ name, when: 'before' });
            const response = await next(request);
            if (name === 'commit' || name === 'part') hook?.({ name, when: 'after' });
            return response;
          },
        { step: 'initialize' },
      );
      return s3Store({ ...options, client });
    },
    intercept: (next) => {
      hook = next;
    },
    dispose: async () => {
      for (const client of clients) client.destroy();
      await dispose();
    },
  };
};

/** A bucket of its own for each scenario, with parts small enough for contents of some KiB to have many. */
export const doubleWorld: WorldFactory = async () => {
  const double = await startS3Double({ minPartSize: 1024, pageSize: 7 });
  const options = {
    bucket: double.bucket,
    partSize: 4096,
    memoryBudget: 64 * 1024,
    provider: { minPart: 1024 },
  };
  return worldOver(double.clientConfig, options, async () => {
    const [unknown] = double.unknown;
    await double.close();
    if (unknown !== undefined) throw new Error(`what the double does not know: ${JSON.stringify(unknown)}`);
  });
};

/** A prefix of its own for each scenario, in a bucket of a real server. */
export const bucketWorld =
  (config: S3ClientConfig, bucket: string): WorldFactory =>
  () => {
    const prefix = `${randomBytes(9).toString('base64url')}/`;
    return worldOver(config, { bucket, prefix }, async () => {
      const client = new S3Client(config);
      for (;;) {
        const { Contents = [] } = await client.send(
          new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }),
        );
        if (Contents.length === 0) break;
        const Objects = Contents.map(({ Key }) => ({ Key }));
        await client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects, Quiet: true } }));
      }
      client.destroy();
    });
  };
