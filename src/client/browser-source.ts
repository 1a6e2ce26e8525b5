import { UploadError } from '../errors.ts';
import {
  blobSource,
  chunkBytes,
  concatenatedStream,
  concatenation,
  isStream,
  memorySource,
  type OpenStream,
  openStream,
  type Source,
  type StreamLike,
} from './content.ts';

/** Bytes that must not change meanwhile, a Blob or File, or a stream. */
export type SinglePart = Uint8Array | ArrayBuffer | Blob | StreamLike;
/** Several are sent one after the other, as one content. */
export type UploadSource = SinglePart | readonly SinglePart[];

/** Rejects with `invalid_argument`. */
export const openSource = (source: UploadSource): Source | OpenStream => {
  if (!isList(source)) return openPart(source);
  const parts = source.map(openPart);
  const seekable = parts.filter((part) => 'close' in part);
  return seekable.length === parts.length ? concatenation(seekable) : concatenatedStream(parts);
};

const isList = (source: UploadSource): source is readonly SinglePart[] => Array.isArray(source);

const openPart = (part: SinglePart): Source | OpenStream => {
  if (part instanceof Uint8Array) return memorySource(part, chunkBytes);
  if (part instanceof ArrayBuffer) return memorySource(new Uint8Array(part), chunkBytes);
  if (part instanceof Blob) return blobSource(part);
  if (typeof part === 'object' && part !== null && isStream(part)) return openStream(part);
  throw new UploadError('invalid_argument', 'not a source', { actual: typeof part });
};
