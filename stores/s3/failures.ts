// What the answers of a bucket mean that are no success.

interface ServiceError extends Error {
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** The HTTP status a request failed with, if it came so far. */
export const statusOf = (error: unknown): number | undefined =>
  error instanceof Error ? (error as ServiceError).$metadata?.httpStatusCode : undefined;

/** Whether the same request may do better a moment later. */
export const isPassing = (error: unknown): boolean => {
  const status = statusOf(error) ?? 500;
  return status >= 500 || status === 429 || status === 408;
};

/** moto answers some requests about an upload that was aborted with 500. */
export const isNoUpload = (error: unknown): boolean =>
  error instanceof Error && (error.name === 'NoSuchUpload' || statusOf(error) === 404);

/** What no later request would do better. */
export const setupFailures: readonly number[] = [301, 400, 403, 404];

export const unusable = (bucket: string, cause: unknown): string => {
  const status = statusOf(cause);
  if (status === 301 || status === 400)
    return `the bucket ${bucket} is at another endpoint or region than the client's`;
  if (status === 403) return `the credentials are wrong, or do not allow to use the bucket ${bucket}`;
  if (status === 404) return `there is no bucket ${bucket}`;
  return `the bucket ${bucket} cannot be reached`;
};
