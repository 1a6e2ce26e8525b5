import { S3Error } from './errors.ts';
import { decode, type S3Request } from './request.ts';

/** What a client says of an object besides its content. */
export interface ObjectProperties {
  readonly contentType: string;
  /** `cache-control`, `content-disposition`, `content-encoding`, `content-language` and `expires`, where given. */
  readonly headers: Readonly<Record<string, string>>;
  /** By lower-case name, without `x-amz-meta-`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The canned one. */
  readonly acl?: string;
  /** By permission: `read`, `read-acp`, `write-acp`, `full-control`. */
  readonly grants: Readonly<Record<string, string>>;
  readonly storageClass: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly encryption: Encryption;
}

export interface Encryption {
  readonly algorithm: string;
  readonly keyId?: string;
  readonly context?: string;
  readonly bucketKey?: boolean;
}

const plainHeaders = [
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
];
const permissions = ['full-control', 'read', 'read-acp', 'write-acp'];
const cannedAcls = [
  'private',
  'public-read',
  'public-read-write',
  'authenticated-read',
  'aws-exec-read',
  'bucket-owner-read',
  'bucket-owner-full-control',
];
const storageClasses = [
  'STANDARD',
  'REDUCED_REDUNDANCY',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER',
  'DEEP_ARCHIVE',
  'GLACIER_IR',
];
const maxMetadata = 2048;

export const propertiesOf = (request: S3Request, rules: { readonly acls: boolean }): ObjectProperties => {
  const { headers } = request;
  const acl = headers.get('x-amz-acl');
  if (acl !== undefined && !cannedAcls.includes(acl)) {
    throw new S3Error('InvalidArgument', '', { ArgumentName: 'x-amz-acl', ArgumentValue: acl });
  }
  const grants = Object.fromEntries(
    permissions.flatMap((permission) => {
      const grant = headers.get(`x-amz-grant-${permission}`);
      return grant === undefined ? [] : [[permission, grant]];
    }),
  );
  const owned = acl === undefined || acl === 'bucket-owner-full-control';
  if (!rules.acls && (!owned || Object.keys(grants).length > 0)) {
    throw new S3Error('AccessControlListNotSupported', 'The bucket does not allow ACLs');
  }
  const storageClass = headers.get('x-amz-storage-class') ?? 'STANDARD';
  if (!storageClasses.includes(storageClass)) {
    throw new S3Error('InvalidStorageClass', 'The storage class you specified is not valid');
  }
  return {
    // What S3 assumes when nothing is said.
    contentType: headers.get('content-type') ?? 'binary/octet-stream',
    headers: plainHeadersOf(request),
    metadata: metadataOf(request),
    ...(acl === undefined ? {} : { acl }),
    grants,
    storageClass,
    tags: tagsOf(request),
    encryption: encryptionOf(request),
  };
};

const plainHeadersOf = ({ headers }: S3Request): Record<string, string> => {
  const plain: Record<string, string> = {};
  for (const name of plainHeaders) {
    let value = headers.get(name);
    // How the body was sent is no property of the object.
    if (name === 'content-encoding')
      value = value?.replace(/(^|,)\s*aws-chunked\s*(?=,|$)/, '').replace(/^,/, '');
    if (value !== undefined && value !== '') plain[name] = value.trim();
  }
  return plain;
};

const metadataOf = ({ headers }: S3Request): Record<string, string> => {
  const metadata: Record<string, string> = {};
  let size = 0;
  for (const [header, value] of headers) {
    if (!header.startsWith('x-amz-meta-')) continue;
    const name = header.slice('x-amz-meta-'.length);
    if (/[^\x20-\x7e]/.test(value)) {
      throw new S3Error('InvalidArgument', 'Non US-ASCII characters are not supported in user metadata', {
        ArgumentName: header,
      });
    }
    metadata[name] = value;
    size += name.length + value.length;
  }
  if (size > maxMetadata) {
    throw new S3Error('MetadataTooLarge', 'Your metadata headers exceed the maximum allowed metadata size', {
      Size: size,
      MaxSizeAllowed: maxMetadata,
    });
  }
  return metadata;
};

export const tagsOf = ({ headers }: S3Request): Record<string, string> => {
  const text = headers.get('x-amz-tagging') ?? '';
  const tags: Record<string, string> = {};
  for (const pair of text.split('&').filter((each) => each !== '')) {
    const [name = '', value = '', ...rest] = pair.split('=').map((part) => decode(part.replaceAll('+', ' ')));
    if (
      name === '' ||
      name.length > 128 ||
      value.length > 256 ||
      rest.length > 0 ||
      Object.hasOwn(tags, name)
    ) {
      throw new S3Error('InvalidTag', 'The tag provided was not a valid tag');
    }
    tags[name] = value;
  }
  if (Object.keys(tags).length > 10) throw new S3Error('InvalidTag', 'Object tags cannot be greater than 10');
  return tags;
};

const encryptionOf = ({ headers }: S3Request): Encryption => {
  const prefix = 'x-amz-server-side-encryption';
  // Since January 2023 every object is encrypted, with S3's own keys unless the client says otherwise.
  const algorithm = headers.get(prefix) ?? 'AES256';
  if (!['AES256', 'aws:kms', 'aws:kms:dsse'].includes(algorithm)) {
    throw new S3Error('InvalidEncryptionAlgorithmError', 'The encryption method specified is not supported');
  }
  const keyId = headers.get(`${prefix}-aws-kms-key-id`);
  const context = headers.get(`${prefix}-context`);
  if (algorithm === 'AES256' && (keyId !== undefined || context !== undefined)) {
    throw new S3Error(
      'InvalidArgument',
      'Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms',
    );
  }
  const bucketKey = headers.get(`${prefix}-bucket-key-enabled`);
  return {
    algorithm,
    ...(keyId === undefined ? {} : { keyId }),
    ...(context === undefined ? {} : { context }),
    ...(bucketKey === undefined ? {} : { bucketKey: bucketKey === 'true' }),
  };
};

export const encryptionHeaders = ({ algorithm, keyId, bucketKey }: Encryption): Record<string, string> => ({
  'x-amz-server-side-encryption': algorithm,
  ...(keyId === undefined ? {} : { 'x-amz-server-side-encryption-aws-kms-key-id': keyId }),
  ...(bucketKey ? { 'x-amz-server-side-encryption-bucket-key-enabled': 'true' } : {}),
});
