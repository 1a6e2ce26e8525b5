import { access, constants, mkdir, stat } from 'node:fs/promises';
import type { S3Store } from '../../stores/s3.ts';
import { systemCode, UploadError } from '../errors.ts';
import type { Store } from '../store.ts';
import { UsageError } from './usage-error.ts';
import { oneOf } from './values.ts';

/** Where uploads are kept. Options of every command that works on them. */
export const storeOptions = {
  dir: { type: 'string', default: './uploads' },
  store: { type: 'string', default: 'fs' },
  bucket: { type: 'string', default: '' },
  prefix: { type: 'string', default: 'uploads/' },
  durability: { type: 'string', default: 'power' },
} as const;

export const storeHelp = (kinds = 'fs|sqlite|s3'): string => `\
  --dir DIRECTORY         where uploads are kept                   (./uploads)
  --store ${kinds}
                          how they are kept                        (fs)
  --bucket BUCKET         of s3: where they are kept; region, endpoint
                          and credentials come from AWS_REGION,
                          AWS_ENDPOINT_URL and the like
  --prefix PREFIX         of s3: how all their keys begin          (uploads/)
`;

export interface Place {
  readonly dir: string;
  readonly store: 'fs' | 'sqlite' | 'memory' | 's3';
  readonly bucket: string;
  readonly prefix: string;
  readonly durability: 'power' | 'process';
}

export const readPlace = (values: Readonly<Record<keyof typeof storeOptions, string>>): Place => {
  if (values.dir === '') throw new UsageError('--dir must name a directory');
  if (values.store === 's3' && values.bucket === '') throw new UsageError('--bucket is missing');
  return {
    dir: values.dir,
    store: oneOf('store', values.store, ['fs', 'sqlite', 'memory', 's3']),
    bucket: values.bucket,
    prefix: values.prefix,
    durability: oneOf('durability', values.durability, ['power', 'process']),
  };
};

/** For a person: `./uploads`, or the bucket. */
export const placeName = ({ store, dir, bucket, prefix }: Place): string =>
  store === 's3' ? `s3://${bucket}/${prefix}` : store === 'memory' ? 'memory, until this ends' : dir;

export const openS3 = async ({ bucket, prefix }: Place): Promise<S3Store> => {
  const { clientFromEnvironment } = await import('../../stores/s3/environment.ts').catch((error: unknown) => {
    if (systemCode(error) !== 'ERR_MODULE_NOT_FOUND' || !String(error).includes('@aws-sdk/')) throw error;
    throw new UploadError(
      'not_supported',
      '--store s3 needs the package @aws-sdk/client-s3: npm install @aws-sdk/client-s3@3',
    );
  });
  const { s3Store } = await import('../../stores/s3.ts');
  return s3Store({ client: clientFromEnvironment(), bucket, prefix });
};

/** Each store is loaded only when it is the one. */
const openStore = async (place: Place): Promise<Store> => {
  const { store, dir, durability } = place;
  if (store === 's3') return openS3(place);
  if (store === 'memory') return (await import('../../stores/memory.ts')).memoryStore();
  if (store === 'sqlite')
    return (await import('../../stores/sqlite.ts')).sqliteStore({ directory: dir, durability });
  return (await import('../../stores/fs.ts')).fsStore(dir, { durability });
};

/** For a server: makes the folder, and finds out now rather than with the first upload that it cannot be written. */
export const makeStore = async (place: Place): Promise<Store> => {
  if (place.store === 'fs' || place.store === 'sqlite') {
    await mkdir(place.dir, { recursive: true });
    await access(place.dir, constants.W_OK);
  }
  return openStore(place);
};

/** For one who looks at what is there: nothing is made. */
export const findStore = async (place: Place): Promise<Store> => {
  if (place.store === 'memory')
    throw new UsageError('--store memory ends with its process: nothing is there');
  if (place.store !== 's3') {
    await stat(place.dir).catch((cause: unknown) => {
      if (systemCode(cause) !== 'ENOENT') throw cause;
      throw new UploadError('not_found', `no folder ${place.dir}: --dir says where uploads are kept`);
    });
  }
  return openStore(place);
};
