import { createServer, type Server } from 'node:http';
import type { ResumableListener } from '../http.ts';

export interface ListenOptions {
  /**
   * 0 picks a free one.
   * @default 0
   */
  readonly port?: number;
  /** @default '127.0.0.1' (this machine only) */
  readonly host?: string;
}

/**
 * An `http.Server` set up for uploads: no bound on the time of a whole request but of its head (60 seconds)
 * (deadlines follow progress instead), and `Expect: 100-continue` answered only when the body is wanted.
 * Resolves when it listens; rejects with the system's error when it cannot.
 */
export const listen = (
  listener: ResumableListener,
  { port = 0, host = '127.0.0.1' }: ListenOptions = {},
): Promise<Server> => {
  // The bound on the head is Node's own default, which would be off together with the other.
  const server = createServer({ requestTimeout: 0, headersTimeout: 60_000 }, listener);
  server.on('checkContinue', listener.checkContinue);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve(server);
    });
  });
};
