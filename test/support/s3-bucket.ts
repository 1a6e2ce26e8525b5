import { expect } from 'vitest';
import { type S3Double, type S3DoubleOptions, startS3Double } from './s3/double.ts';
import { afterwards } from './scripted-server.ts';

/** A bucket for one test, in which nothing may be asked for that S3 is not known to have. */
export const startBucket = async (options: S3DoubleOptions = {}): Promise<S3Double> => {
  const double = await startS3Double(options);
  afterwards(async () => {
    await double.close();
    expect(double.unknown).toEqual([]);
  });
  return double;
};
