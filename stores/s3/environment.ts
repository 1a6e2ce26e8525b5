import { S3Client } from '@aws-sdk/client-s3';

/** Region, endpoint and credentials are where the SDK looks for them: environment, shared files, instance. */
export const clientFromEnvironment = (): S3Client => new S3Client({});
