import { UploadError } from '../errors.ts';
import type { Completion } from './completion.ts';
import type { Follower } from './follower.ts';
import type { Lease } from './lease.ts';
import type { LiveUpload } from './live-upload.ts';

/** A handler at work on an upload that is still coming. */
export interface Streaming {
  readonly completion: Promise<Completion>;
}

export interface StreamParts {
  readonly live: LiveUpload;
  readonly lease: Lease;
  readonly content: Follower;
  /** The handler, under the lease. */
  run(content: Follower): Promise<Completion>;
  /** Ends the requests that are bringing bytes. */
  stop(reason: UploadError): void;
}

/** Runs a handler beside the requests that bring its content, and ends each when the other has. */
export const stream = ({ live: { id }, lease, content, run, stop }: StreamParts): Streaming => {
  content.on('error', () => undefined); // its reader's to report; without one there is nothing to say
  lease.onLost = () => content.destroy(new UploadError('gone', 'the claim on the upload was lost', { id }));
  const end = (reason: UploadError): void => {
    // As with any request, a handler may answer first and go on reading: what is there, and nothing else.
    if (reason.code !== 'complete' || !content.isWhole) content.destroy();
    stop(reason);
  };
  const completion = run(content).then(
    (result) => {
      end(result.kind === 'finished' ? answered(id) : failed(id));
      return result;
    },
    (error: unknown) => {
      end(failed(id));
      throw error;
    },
  );
  return { completion };
};

const answered = (id: string): UploadError => new UploadError('complete', 'the upload was answered', { id });

const failed = (id: string): UploadError => new UploadError('handler_failed', 'the handler failed', { id });
