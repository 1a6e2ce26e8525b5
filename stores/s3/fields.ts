import type { CreateMultipartUploadCommandInput, PutObjectCommandInput } from '@aws-sdk/client-s3';
import { encodeMetadata } from './metadata.ts';

/**
 * What an object of ours is made with, beside its bytes: `ContentType`, `Metadata`, `ACL`, `StorageClass`, … Values of
 * `Metadata` may be any Unicode text, 2048 bytes (2 KB) in all as they are sent; `decodeMetadata` reads them back.
 */
export type ObjectFields = Pick<CreateMultipartUploadCommandInput & PutObjectCommandInput, FieldName>;

/**
 * Not among them: checksums, which the client makes of what it sends, and what every request about an object would have
 * to repeat (a customer's own key, for one).
 */
type FieldName =
  | 'ACL'
  | 'BucketKeyEnabled'
  | 'CacheControl'
  | 'ContentDisposition'
  | 'ContentEncoding'
  | 'ContentLanguage'
  | 'ContentType'
  | 'Expires'
  | 'GrantFullControl'
  | 'GrantRead'
  | 'GrantReadACP'
  | 'GrantWriteACP'
  | 'Metadata'
  | 'ObjectLockLegalHoldStatus'
  | 'ObjectLockMode'
  | 'ObjectLockRetainUntilDate'
  | 'SSEKMSEncryptionContext'
  | 'SSEKMSKeyId'
  | 'ServerSideEncryption'
  | 'StorageClass'
  | 'Tagging'
  | 'WebsiteRedirectLocation';

/** How everything is encrypted that is written, where the bucket's own default is not enough. */
export type EncryptionFields = Pick<
  ObjectFields,
  'BucketKeyEnabled' | 'SSEKMSEncryptionContext' | 'SSEKMSKeyId' | 'ServerSideEncryption'
>;

/** As they are sent. */
export const encoded = (fields: ObjectFields): ObjectFields =>
  fields.Metadata === undefined ? fields : { ...fields, Metadata: encodeMetadata(fields.Metadata) };
