import { operations, type S3Operation } from './operations.ts';
import type { S3Request } from './request.ts';

/** One request, in the log from the moment its headers have come. */
export interface Call {
  readonly operation: S3Operation;
  readonly method: string;
  readonly url: string;
  readonly bucket: string;
  readonly key: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly uploadId?: string;
  readonly partNumber?: number;
  /** Of the request's content, without the framing of chunks. */
  readonly received: number;
  /** Of the answer's content. */
  readonly sent: number;
  /** `lost`: by a fault, or the client went away. */
  readonly outcome: 'under way' | 'answered' | 'lost';
  readonly status?: number;
  /** Of an error. */
  readonly code?: string;
  /** Whether it changed or read what is stored: false for one that was refused, or hit by a fault before. */
  readonly effective: boolean;
}

/** The log's own view of a call. */
export type OpenCall = { -readonly [Name in keyof Call]: Call[Name] };

export interface Unknown {
  readonly method: string;
  readonly url: string;
  /** The operation, the parameter or the header that the double does not know. */
  readonly what: string;
}

export class CallLog {
  readonly calls = Object.fromEntries(operations.map((operation) => [operation, 0])) as Record<
    S3Operation,
    number
  >;
  readonly log: Call[] = [];
  readonly unknown: Unknown[] = [];

  open(operation: S3Operation, request: S3Request): OpenCall {
    const { method, url, bucket, key, query, headers } = request;
    const uploadId = query.get('uploadId');
    const partNumber = query.get('partNumber');
    const call: OpenCall = {
      operation,
      method,
      url,
      bucket,
      key,
      query: Object.fromEntries(query),
      headers: Object.fromEntries(headers),
      ...(uploadId === undefined ? {} : { uploadId }),
      ...(partNumber === undefined ? {} : { partNumber: Number(partNumber) }),
      received: 0,
      sent: 0,
      outcome: 'under way',
      effective: false,
    };
    this.calls[operation]++;
    this.log.push(call);
    return call;
  }
}
