import { createHash, type Hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { chunkedDecoder } from './aws-chunked.ts';
import {
  type ChecksumAlgorithm,
  checksumAlgorithms,
  checksumHeader,
  checksumLength,
  type Hasher,
  hasher,
} from './checksums.ts';
import { Content } from './content.ts';
import { S3Error } from './errors.ts';
import type { S3Request } from './request.ts';
import type { ChunkSigner } from './signature.ts';

/** A checksum of the body as the request announces it: its value is in a header, or will be in a trailer. */
export interface StatedChecksum {
  readonly algorithm: ChecksumAlgorithm;
  readonly value: string | undefined;
}

export interface ReceivedBody {
  readonly content: Content;
  readonly md5: Buffer;
  /** Checked, if the request stated one. */
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly value: string };
}

export interface ReceiveOptions {
  readonly signer: ChunkSigner;
  /** That of the multipart upload, for a part that states none. */
  readonly algorithm?: ChecksumAlgorithm | undefined;
  readonly maxSize: number;
  /** Whether the checksum headers are about this body. */
  readonly verify: boolean;
  /** Called with the bytes so far, and waited for, before the next are looked at. */
  readonly onBytes: (total: number) => Promise<void> | undefined;
}

/** Rejects as the stream does when the client goes away before the end. */
export const receiveBody = async (
  incoming: IncomingMessage,
  request: S3Request,
  options: ReceiveOptions,
): Promise<ReceivedBody> => {
  const payload = payloadOf(request);
  const length = lengthOf(request, payload.chunked);
  if (length > options.maxSize) {
    throw new S3Error('EntityTooLarge', 'Your proposed upload exceeds the maximum allowed size', {
      ProposedSize: length,
      MaxSizeAllowed: options.maxSize,
    });
  }
  const stated = options.verify ? statedChecksum(request) : undefined;
  const contentMd5 = options.verify ? contentMd5Of(request) : undefined;
  const algorithm = stated?.algorithm ?? options.algorithm;
  const md5 = createHash('md5');
  const sums: (Hash | Hasher)[] = [md5];
  const sum = algorithm === undefined ? undefined : hasher(algorithm);
  if (sum !== undefined) sums.push(sum);
  const sha256 = payload.sha256 === undefined ? undefined : createHash('sha256');
  if (sha256 !== undefined) sums.push(sha256);

  const chunks: Buffer[] = [];
  let received = 0;
  const take = (bytes: Buffer): void => {
    if (bytes.length === 0) return;
    received += bytes.length;
    if (received > length) throw new S3Error('IncompleteBody');
    for (const each of sums) each.update(bytes);
    // A small piece would keep the whole of what was read from the socket with it.
    chunks.push(bytes.length * 2 < bytes.buffer.byteLength ? Buffer.from(bytes) : bytes);
  };
  const decoder = payload.chunked
    ? chunkedDecoder(take, { ...payload, signer: payload.signed ? options.signer : undefined })
    : { write: take, end: () => new Map<string, string>() };
  // The connection outlives a refusal: the client has yet to be told.
  const pieces: AsyncIterable<Buffer> = incoming.iterator({ destroyOnReturn: false });
  for await (const bytes of pieces) {
    decoder.write(bytes);
    await options.onBytes(received);
  }
  const trailers = decoder.end();
  if (received !== length) throw new S3Error('IncompleteBody');
  if (sha256 !== undefined && sha256.digest('hex') !== payload.sha256) {
    throw new S3Error('XAmzContentSHA256Mismatch');
  }
  const digest = md5.digest();
  if (contentMd5 !== undefined && !digest.equals(contentMd5)) throw new S3Error('BadDigest');
  const body = { content: new Content(chunks), md5: digest };
  if (algorithm === undefined || sum === undefined) return body;
  const value = sum.digest().toString('base64');
  if (stated !== undefined) {
    const expected = stated.value ?? trailers.get(checksumHeader(algorithm));
    if (expected === undefined) throw new S3Error('MalformedTrailerError');
    checkValue(algorithm, expected);
    if (expected !== value) {
      throw new S3Error('BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`);
    }
  }
  return { ...body, checksum: { algorithm, value } };
};

interface Payload {
  /** In pieces with a length before each: `Content-Encoding: aws-chunked`. */
  readonly chunked: boolean;
  readonly signed: boolean;
  readonly trailer: boolean;
  readonly sha256?: string;
}

const payloadOf = ({ headers }: S3Request): Payload => {
  const said = headers.get('x-amz-content-sha256') ?? '';
  const plain = { chunked: false, signed: false, trailer: false };
  if (said === 'UNSIGNED-PAYLOAD') return plain;
  if (/^[0-9a-f]{64}$/.test(said)) return { ...plain, sha256: said };
  if (said === 'STREAMING-UNSIGNED-PAYLOAD-TRAILER') return { chunked: true, signed: false, trailer: true };
  if (said === 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD') return { chunked: true, signed: true, trailer: false };
  if (said === 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER') {
    return { chunked: true, signed: true, trailer: true };
  }
  throw new S3Error(
    'InvalidArgument',
    'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.',
  );
};

/** Of the content. S3 must know it beforehand: a plain body cannot be `Transfer-Encoding: chunked`. */
const lengthOf = ({ method, headers }: S3Request, chunked: boolean): number => {
  if (!chunked && headers.has('transfer-encoding')) {
    throw new S3Error('NotImplemented', undefined, { Header: 'Transfer-Encoding' });
  }
  const stated = headers.get(chunked ? 'x-amz-decoded-content-length' : 'content-length');
  // A client may leave the length out where there is no body at all, but of a PUT it must be said.
  if (stated === undefined && !chunked && method === 'POST') return 0;
  if (stated === undefined || !/^\d{1,15}$/.test(stated)) throw new S3Error('MissingContentLength');
  return Number(stated);
};

const contentMd5Of = ({ headers }: S3Request): Buffer | undefined => {
  const stated = headers.get('content-md5');
  if (stated === undefined) return undefined;
  const digest = Buffer.from(stated, 'base64');
  if (digest.length !== 16 || digest.toString('base64') !== stated) {
    throw new S3Error('InvalidDigest', 'The Content-MD5 you specified was invalid.');
  }
  return digest;
};

const checkValue = (algorithm: ChecksumAlgorithm, value: string): void => {
  const digest = Buffer.from(value, 'base64');
  if (digest.length !== checksumLength[algorithm] || digest.toString('base64') !== value) {
    throw new S3Error('InvalidRequest', `Value for ${checksumHeader(algorithm)} header is invalid.`);
  }
};

/** From the headers alone, so that a request can be refused before its body is read. */
export const statedChecksum = ({ headers }: S3Request): StatedChecksum | undefined => {
  const trailer = headers.get('x-amz-trailer')?.toLowerCase();
  const inHeaders = checksumAlgorithms.filter((algorithm) => headers.has(checksumHeader(algorithm)));
  const inTrailer = checksumAlgorithms.find((algorithm) => checksumHeader(algorithm) === trailer);
  if (trailer !== undefined && inTrailer === undefined) {
    throw new S3Error('InvalidRequest', 'The value specified in the x-amz-trailer header is not supported');
  }
  const [algorithm, ...others] = [...inHeaders, ...(inTrailer === undefined ? [] : [inTrailer])];
  if (others.length > 0) {
    throw new S3Error(
      'InvalidRequest',
      'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
    );
  }
  const named = headers.get('x-amz-sdk-checksum-algorithm')?.toUpperCase();
  if (named !== undefined && algorithm === undefined) {
    throw new S3Error(
      'InvalidRequest',
      'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.',
    );
  }
  if (named !== undefined && named !== algorithm) {
    throw new S3Error('InvalidRequest', 'Value for x-amz-sdk-checksum-algorithm header is invalid.');
  }
  if (algorithm === undefined) return undefined;
  const value = headers.get(checksumHeader(algorithm));
  if (value !== undefined) checkValue(algorithm, value);
  return { algorithm, value };
};
