import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { S3Error } from './errors.ts';
import { decode, type S3Request, uriEncode } from './request.ts';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface SignatureRules {
  readonly credentials: Credentials;
  readonly region: string;
  /** How a signature for another region is refused: by the message about the region, or by sending there. */
  readonly wrongRegion: 'malformed' | 'redirect';
}

/** What the chunks of a signed stream are signed with: each signature goes into the next. */
export interface ChunkSigner {
  /** Throws unless `signature` is that of a chunk whose content has this SHA-256. */
  checkChunk(sha256: string, signature: string | undefined): void;
  checkTrailer(trailer: string, signature: string | undefined): void;
}

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest();
const emptySha256 = sha256('');
const maxSkewMs = 15 * 60_000;

const form =
  /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([a-z0-9;_-]+), ?Signature=([0-9a-f]{64})$/;

/** Throws the refusal AWS would give, and in the order it would find the reason. */
export const verifySignature = (request: S3Request, rules: SignatureRules): ChunkSigner => {
  const { headers } = request;
  const authorization = headers.get('authorization');
  if (authorization === undefined) throw new S3Error('AccessDenied');
  const [, credential = '', signedList = '', signature = ''] = form.exec(authorization) ?? [];
  const [accessKeyId, date, region, service, terminator, ...rest] = credential.split('/');
  if (signature === '' || rest.length > 0 || service !== 's3' || terminator !== 'aws4_request') {
    throw malformed('The authorization header is malformed.');
  }
  const { credentials } = rules;
  if (accessKeyId !== credentials.accessKeyId) {
    throw new S3Error(
      'InvalidAccessKeyId',
      'The AWS Access Key Id you provided does not exist in our records.',
      { AWSAccessKeyId: accessKeyId ?? '' },
    );
  }
  if (headers.get('x-amz-security-token') !== credentials.sessionToken) {
    throw new S3Error('InvalidToken', 'The provided token is malformed or otherwise invalid.');
  }
  if (region !== rules.region) throw wrongRegion(request, region ?? '', rules);

  const longDate = headers.get('x-amz-date') ?? '';
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(longDate) ?? [];
  if (year === undefined || date !== `${year}${month}${day}`) {
    throw new S3Error('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
  }
  const sentAt = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (!(Math.abs(Date.now() - sentAt) <= maxSkewMs)) throw new S3Error('RequestTimeTooSkewed');

  const payload = headers.get('x-amz-content-sha256');
  if (payload === undefined) {
    throw new S3Error('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
  }
  const signed = signedList.split(';');
  const unsigned = [...headers.keys()].filter(
    (name) => (name === 'host' || name.startsWith('x-amz-')) && !signed.includes(name),
  );
  if (unsigned.length > 0 || !signed.includes('host')) {
    throw new S3Error('AccessDenied', 'There were headers present in the request which were not signed', {
      HeadersNotSigned: unsigned.join(', '),
    });
  }

  const canonical = canonicalRequest(request, signed, payload);
  const scope = `${date}/${region}/s3/aws4_request`;
  let key: string | Buffer = `AWS4${credentials.secretAccessKey}`;
  for (const part of scope.split('/')) key = hmac(key, part);
  const signingKey = key;
  const toSign = ['AWS4-HMAC-SHA256', longDate, scope, sha256(canonical)].join('\n');
  const check = (text: string, given: string | undefined): string => {
    const expected = hmac(signingKey, text);
    const actual = Buffer.from(given ?? '', 'hex');
    if (actual.length !== expected.length || !timingSafeEqual(actual, expected)) {
      throw new S3Error('SignatureDoesNotMatch', undefined, {
        AWSAccessKeyId: credentials.accessKeyId,
        StringToSign: text,
        CanonicalRequest: canonical.toString('latin1'),
      });
    }
    return expected.toString('hex');
  };
  let previous = check(toSign, signature);
  return {
    checkChunk(hash, given) {
      const text = ['AWS4-HMAC-SHA256-PAYLOAD', longDate, scope, previous, emptySha256, hash].join('\n');
      previous = check(text, given);
    },
    checkTrailer(trailer, given) {
      previous = check(
        ['AWS4-HMAC-SHA256-TRAILER', longDate, scope, previous, sha256(trailer)].join('\n'),
        given,
      );
    },
  };
};

const malformed = (message: string, details: Readonly<Record<string, string>> = {}): S3Error =>
  new S3Error('AuthorizationHeaderMalformed', message, details);

const wrongRegion = ({ bucket }: S3Request, region: string, rules: SignatureRules): S3Error => {
  if (rules.wrongRegion === 'malformed') {
    return malformed(
      `The authorization header is malformed; the region '${region}' is wrong; expecting '${rules.region}'`,
      { Region: rules.region },
    );
  }
  return new S3Error(
    'PermanentRedirect',
    'The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.',
    { Endpoint: `${bucket}.s3.${rules.region}.amazonaws.com`, Bucket: bucket },
    { 'x-amz-bucket-region': rules.region },
  );
};

/**
 * In bytes, because a header value is bytes: a client that signs the UTF-8 of `é` and then sends it as one byte has
 * signed another request than the one that arrives.
 */
const canonicalRequest = (
  { method, path, query, headers }: S3Request,
  signed: string[],
  payload: string,
): Buffer => {
  const canonicalQuery = [...query]
    .map(([name, value]): [string, string] => [uriEncode(name), uriEncode(value)])
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
  const lines = signed.map((name) => `${name}:${oneSpaced(headers.get(name) ?? '')}\n`);
  const canonicalPath = path.split('/').map((segment) => uriEncode(decode(segment)));
  const parts = [method, canonicalPath.join('/'), canonicalQuery, lines.join(''), signed.join(';'), payload];
  return Buffer.from(parts.join('\n'), 'latin1');
};

/** No `trim`: it would take the last byte of `à` for a space. */
const oneSpaced = (value: string): string => value.replace(/[ \t]+/g, ' ').replace(/^ | $/g, '');
