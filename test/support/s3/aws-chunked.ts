import { createHash } from 'node:crypto';
import { S3Error } from './errors.ts';
import type { ChunkSigner } from './signature.ts';

export interface ChunkedDecoder {
  write(bytes: Buffer): void;
  /** The trailers; throws when the end did not come. */
  end(): ReadonlyMap<string, string>;
}

const minChunk = 8192;
const maxLine = 8192;

/** Passes the content on in the pieces it arrives in, without joining any. */
export const chunkedDecoder = (
  take: (bytes: Buffer) => void,
  { signer, trailer }: { readonly signer: ChunkSigner | undefined; readonly trailer: boolean },
): ChunkedDecoder => {
  let state: 'size' | 'data' | 'after data' | 'trailers' | 'done' = 'size';
  let line = '';
  let left = 0;
  let chunk = 0;
  let short: number | undefined;
  let signature: string | undefined;
  let hash = createHash('sha256');
  const trailers = new Map<string, string>();

  const startChunk = (text: string): void => {
    const [, size = '', signed] =
      /^([0-9a-fA-F]{1,10})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(text) ?? [];
    if (size === '' || (signer === undefined) !== (signed === undefined)) throw new S3Error('IncompleteBody');
    left = Number.parseInt(size, 16);
    signature = signed;
    hash = createHash('sha256');
    chunk++;
    if (left === 0) {
      signer?.checkChunk(hash.digest('hex'), signature);
      state = 'trailers';
      return;
    }
    // S3 says so of every chunk but the last that has any content.
    if (short !== undefined) {
      throw new S3Error(
        'InvalidChunkSizeError',
        `Only the last chunk is allowed to have a size less than ${minChunk} bytes`,
        { Chunk: chunk, BadChunkSize: short },
      );
    }
    if (left < minChunk) short = left;
    state = 'data';
  };

  const endTrailers = (): void => {
    state = 'done';
    const given = trailers.get('x-amz-trailer-signature');
    trailers.delete('x-amz-trailer-signature');
    if (trailers.size > 0 && !trailer) throw new S3Error('MalformedTrailerError');
    if (signer === undefined || !trailer) return;
    const text = [...trailers].map(([name, value]) => `${name}:${value}\n`).join('');
    signer.checkTrailer(text, given);
  };

  const takeLine = (text: string): void => {
    if (state === 'size') return startChunk(text);
    if (state === 'after data') {
      if (text !== '') throw new S3Error('IncompleteBody');
      state = 'size';
      return;
    }
    if (text === '') return endTrailers();
    const colon = text.indexOf(':');
    const name = text.slice(0, colon).toLowerCase();
    if (colon < 1 || trailers.has(name)) throw new S3Error('MalformedTrailerError');
    trailers.set(name, text.slice(colon + 1).trim());
  };

  return {
    write(bytes) {
      let position = 0;
      while (position < bytes.length) {
        if (state === 'data') {
          const piece = bytes.subarray(position, position + left);
          position += piece.length;
          left -= piece.length;
          if (signer !== undefined) hash.update(piece);
          take(piece);
          if (left > 0) continue;
          signer?.checkChunk(hash.digest('hex'), signature);
          state = 'after data';
          continue;
        }
        if (state === 'done') {
          // Some clients put an empty line more than they need after the trailers.
          if (bytes.subarray(position).some((byte) => byte !== 13 && byte !== 10)) {
            throw new S3Error('IncompleteBody');
          }
          return;
        }
        const newline = bytes.indexOf(10, position);
        line += bytes.toString('latin1', position, newline === -1 ? bytes.length : newline);
        if (line.length > maxLine) throw new S3Error('IncompleteBody');
        position = newline === -1 ? bytes.length : newline + 1;
        if (newline === -1) return;
        const text = line.endsWith('\r') ? line.slice(0, -1) : line;
        line = '';
        takeLine(text);
      }
    },
    end() {
      if (state !== 'done') throw new S3Error('IncompleteBody');
      return trailers;
    },
  };
};
