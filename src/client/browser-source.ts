import { type BytesPart, joined, type OpenStream, openPart, type Source } from './content.ts';

/** Bytes that must not change meanwhile, a Blob or File, or a stream. */
export type SinglePart = BytesPart;
/** Several are sent one after the other, as one content. */
export type UploadSource = SinglePart | readonly SinglePart[];

/** Throws `invalid_argument`. */
export const openSource = (source: UploadSource): Source | OpenStream =>
  isList(source) ? joined(source.map(openPart)) : openPart(source);

const isList = (source: UploadSource): source is readonly SinglePart[] => Array.isArray(source);
