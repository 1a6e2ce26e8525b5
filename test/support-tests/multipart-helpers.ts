import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  type CompleteMultipartUploadCommandInput,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { S3Double, S3DoubleOptions } from '../support/s3/double.ts';
import { clientOf, startDouble } from './s3-helpers.ts';

export interface Multipart {
  readonly double: S3Double;
  readonly client: S3Client;
  readonly id: { readonly Bucket: string; readonly Key: string; readonly UploadId: string };
  part(PartNumber: number, Body: string | Buffer, more?: object): Promise<CompletedPart>;
  complete(Parts: CompletedPart[], more?: Partial<CompleteMultipartUploadCommandInput>): Promise<string>;
  abort(): Promise<unknown>;
  content(): string | undefined;
  /** Another one, for the same key. */
  again(): Promise<Multipart>;
}

const begin = async (
  double: S3Double,
  client: S3Client,
  input: Partial<CreateMultipartUploadCommandInput>,
): Promise<Multipart> => {
  const target = { Bucket: double.bucket, Key: 'the/key' };
  const { UploadId = '' } = await client.send(new CreateMultipartUploadCommand({ ...target, ...input }));
  const id = { ...target, UploadId };
  return {
    double,
    client,
    id,
    async part(PartNumber, Body, more = {}) {
      const { ETag } = await client.send(new UploadPartCommand({ ...id, PartNumber, Body, ...more }));
      return { PartNumber, ETag };
    },
    async complete(Parts, more = {}) {
      const input = { ...id, MultipartUpload: { Parts }, ...more };
      return (await client.send(new CompleteMultipartUploadCommand(input))).ETag ?? '';
    },
    abort: () => client.send(new AbortMultipartUploadCommand(id)),
    content: () => double.object(id.Key)?.content.toBuffer().toString(),
    again: () => begin(double, client, input),
  };
};

export const startMultipart = async (
  options: S3DoubleOptions = {},
  input: Partial<CreateMultipartUploadCommandInput> = {},
): Promise<Multipart> => {
  const double = await startDouble({ minPartSize: 1, ...options });
  return begin(double, clientOf(double), input);
};
