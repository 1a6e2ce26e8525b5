import { UploadFailedError } from '../client/index.ts';
import { systemCode, UploadError } from '../errors.ts';
import { Interrupted } from './interrupts.ts';

/** What went wrong, for a person: what it was, and what to do. */
export interface Problem {
  /** Stable, for programs: of an `UploadError`, of the system (`EADDRINUSE`), or `unexpected`. */
  readonly code: string;
  readonly message: string;
  readonly hints: readonly string[];
}

/** What was done when it went wrong. */
export interface Circumstances {
  readonly task?: 'upload' | 'download';
  /** What was asked. */
  readonly url?: string;
  /** The file or folder at hand. */
  readonly path?: string;
  /** How long a server may be gone, in seconds. */
  readonly retryFor?: number;
}

/** Undefined for what nobody has foreseen: an error of the program, whose stack is worth reading. */
export const problemOf = (error: unknown, circumstances: Circumstances = {}): Problem | undefined => {
  if (error instanceof Interrupted) return { code: error.signal, message: error.message, hints: [] };
  if (error instanceof UploadError) return ofUpload(error, circumstances);
  return ofSystem(error, circumstances) ?? ofAnySystem(error) ?? ofService(error);
};

const ofUpload = (error: UploadError, circumstances: Circumstances): Problem => {
  const { code, message, status } = error;
  const { task, url, path, retryFor } = circumstances;
  const known = (text: string, ...hints: string[]): Problem => ({ code, message: text, hints });
  if (code === 'target_exists') {
    return known(
      `${path} exists`,
      '--force overwrites it; or name another: resumable-http download URL FILE',
    );
  }
  if (code === 'interrupted' && url !== undefined && !isAnswered(error)) {
    const why = deepCode(error);
    const text = `no connection to ${originOf(url)} for ${retryFor} s${why === undefined ? '' : ` (${why})`}`;
    return known(text, connectionHints.get(why ?? '') ?? 'is the server running, and the network up?');
  }
  if (code === 'interrupted') return known(`${message} (tried for ${retryFor} s)`);
  if (code === 'too_large' || status === 413) return known(`the server takes nothing so large: ${message}`);
  if (status === 507) return known('the disk of the server is full', 'try again when there is room');
  if (status !== undefined && url !== undefined) {
    const hint = statusHint(status, url, task);
    if (hint !== undefined) return known(`${url}: ${message}`, hint);
  }
  const below = error.cause === undefined ? undefined : ofSystem(error.cause, circumstances);
  if (below !== undefined) return below;
  const says = error.cause instanceof Error && code !== 'not_supported' && error.cause.message !== message;
  const why = says ? `: ${(error.cause as Error).message}` : '';
  return known(`${message}${firstLine(why)}`);
};

/** Whether somebody was there, and said no. */
const isAnswered = ({ cause }: UploadError): boolean =>
  cause instanceof UploadError && cause.status !== undefined;

const statusHint = (status: number, url: string, task: Circumstances['task']): string | undefined => {
  if (status === 401 || status === 403) return "it wants to know who you are: --header 'Authorization: …'";
  if (task === 'download') {
    return status === 404 || status === 410 ? 'is that the URL an upload was answered with?' : undefined;
  }
  if (status === 404 || status === 405 || status === 501) {
    return `is there a resumable-http server? One that "serve" has started takes uploads at ${originOf(url)}/upload`;
  }
  if (status >= 200 && status < 300) return `this server cannot resume; a plain upload: curl -T FILE ${url}`;
  return undefined;
};

const connectionHints = new Map([
  ['ENOTFOUND', 'no such host: is it spelt as it should be?'],
  ['EAI_AGAIN', 'the name cannot be looked up: is the network up?'],
  ['ECONNREFUSED', 'nothing listens there: is the server running, on that port?'],
  ['EPROTO', 'no TLS there: is it http:// rather than https://?'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'no TLS there: is it http:// rather than https://?'],
  ['HPE_INVALID_CONSTANT', 'no HTTP there: is it the right port, or https:// rather than http://?'],
  [
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'its certificate is its own; to trust it: NODE_EXTRA_CA_CERTS=certificate.pem',
  ],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'to trust its authority: NODE_EXTRA_CA_CERTS=authority.pem'],
  ['CERT_HAS_EXPIRED', 'its certificate has expired'],
]);

/** Of the file system, and of listening. */
const ofSystem = (error: unknown, { path: given }: Circumstances): Problem | undefined => {
  const code = systemCode(error);
  if (code === undefined || !(error instanceof Error)) return undefined;
  const {
    path = given,
    port,
    address,
  } = error as NodeJS.ErrnoException & { port?: number; address?: string };
  const known = (message: string, ...hints: string[]): Problem => ({ code, message, hints });
  const where = path ?? 'the file';
  switch (code) {
    case 'EADDRINUSE':
      return known(`port ${port} is in use`, '--port 0 picks a free one');
    case 'EADDRNOTAVAIL':
      return known(`${address} is no address of this machine`, '--host 127.0.0.1 is this machine alone');
    case 'ENOENT':
      return known(`no such file or folder: ${where}`);
    case 'ENOTDIR':
    case 'EEXIST':
      return known(`${where}: a file is where a folder has to be`);
    case 'EISDIR':
      return known(`${where} is a folder, not a file`);
    case 'EACCES':
    case 'EPERM':
      if (port !== undefined)
        return known(`port ${port} is not for everybody`, 'take one above 1023: --port 8080');
      return known(`${where}: permission denied`, 'it has to be readable, or writable, by you');
    case 'EROFS':
      return known(`${where} is on a disk that cannot be written`);
    case 'ENOSPC':
    case 'EDQUOT':
      return known(`the disk is full: ${where}`, 'make room, and run it again');
    case 'EFBIG':
      return known(
        `${where} is larger than files may be here`,
        'see ulimit -f, and the limits of the file system',
      );
    case 'EMFILE':
    case 'ENFILE':
      return known('too many open files', 'see ulimit -n');
  }
  return undefined;
};

/** In the system's own words. */
const ofAnySystem = (error: unknown): Problem | undefined => {
  const code = systemCode(error);
  if (code === undefined || !(error instanceof Error) || !/^E(?!RR_)/.test(code)) return undefined;
  return { code, message: firstLine(error.message), hints: [] };
};

/** What the SDK of a bucket says; its errors are named after the answer's code. */
const ofService = (error: unknown): Problem | undefined => {
  if (!(error instanceof Error) || !('$metadata' in error || /Credentials|Region/i.test(error.message))) {
    return undefined;
  }
  return {
    code: error.name,
    message: `the bucket cannot be used: ${error.name}: ${firstLine(error.message)}`,
    hints: ['see --bucket, AWS_REGION, AWS_ENDPOINT_URL and the credentials'],
  };
};

/** Of the first of its causes that has one of the system. */
const deepCode = (error: unknown): string | undefined => {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const code = cause instanceof UploadError ? undefined : systemCode(cause);
    if (code !== undefined) return code;
  }
  return undefined;
};

const originOf = (url: string): string => new URL(url).origin;

const firstLine = (text: string): string => text.split('\n')[0]?.slice(0, 300) ?? '';

/** Whether the server has to be asked no more: it said what it thinks of this content. */
export const isRefused = (error: unknown): boolean => {
  const status = error instanceof UploadFailedError ? error.response?.status : undefined;
  return (
    status !== undefined && status >= 400 && status < 500 && ![401, 403, 407, 408, 425, 429].includes(status)
  );
};
