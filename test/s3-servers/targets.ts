/** An S3 server that tests can use. Address buckets by path: the endpoints are of one host. */
export interface S3Target {
  readonly name: string;
  /** Empty when it is not known. */
  readonly version: string;
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
}

/** What `run.ts` started; none without it. */
export const s3Targets = (): readonly S3Target[] => JSON.parse(process.env.S3_TARGETS ?? '[]') as S3Target[];

/** The server that S3_ENDPOINT names, if it is set. */
export const givenTarget = (): S3Target | undefined => {
  const { S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY, S3_REGION } = process.env;
  if (!S3_ENDPOINT) return undefined;
  if (!S3_ACCESS_KEY || !S3_SECRET_KEY)
    throw new Error('S3_ENDPOINT is set: S3_ACCESS_KEY and S3_SECRET_KEY must be set too');
  return {
    name: new URL(S3_ENDPOINT).host,
    version: '',
    endpoint: S3_ENDPOINT,
    accessKeyId: S3_ACCESS_KEY,
    secretAccessKey: S3_SECRET_KEY,
    region: S3_REGION || 'us-east-1',
  };
};
